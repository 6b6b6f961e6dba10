"""Annotated frames as pictures in a folder, one file each."""

from pathlib import Path

from liquidvision.errors import SinkError, UsageError
from liquidvision.video.frame import Frame
from liquidvision.video.write.images import encode_image

IMAGE_FORMATS = ("png", "jpg")


class FrameFolder:
    """Writes each frame as a picture `0000012_0.480s.png`: the frame's number and its time in seconds.

    The numbers are those of the records, and the names sort in the order of the frames.

    Args:
        path: the folder; it is made where it is not there.
        form: one of `IMAGE_FORMATS`.

    Raises:
        UsageError: an unknown format.
        SinkError: the folder cannot be made.
    """

    def __init__(self, path: str | Path, form: str = "png") -> None:
        check_image_format(form)
        self.path, self._form = Path(path), form
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"cannot make the folder {self.path}: {error.strerror}") from error

    def write(self, frame: Frame) -> None:
        """Write one picture; it has its name only when it is whole.

        Raises:
            SinkError: it cannot be written.
        """
        target = self.path / f"{frame.index:07d}_{frame.time:.3f}s.{self._form}"
        part = target.with_suffix(".part")
        try:
            part.write_bytes(encode_image(frame.image, f".{self._form}"))
            part.replace(target)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise SinkError(f"cannot write {target}: {error.strerror}") from error


def check_image_format(form: str) -> None:
    """Raise UsageError where `form` is none of `IMAGE_FORMATS`."""
    if form not in IMAGE_FORMATS:
        raise UsageError(f"the frames' format is {form!r}; expected one of {', '.join(IMAGE_FORMATS)}")
