"""Writes annotated frames as images into a folder, one file per frame."""

from pathlib import Path

from liquidvision.errors import SinkError, UsageError
from liquidvision.video.frame import Frame
from liquidvision.video.write.images import encode_image

IMAGE_FORMATS = ("png", "jpg")


class FrameFolder:
    """Writes each frame as an image such as `0000012_0.480s.png`, named by the frame's index and its time in seconds.

    The index is that of the records, and names sort in the order of the frames.

    Args:
        path: the folder; it is created if it does not exist.
        form: png or jpg.

    Raises:
        UsageError: an unknown format.
        SinkError: the folder cannot be created.
    """

    def __init__(self, path: str | Path, form: str = "png") -> None:
        check_image_format(form)
        self.path, self._form = Path(path), form
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"cannot create the folder {self.path}: {error.strerror}") from error

    def write(self, frame: Frame) -> None:
        """Write one image; it gets its final name only when it is complete.

        Raises:
            SinkError: the image cannot be written.
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
    """Raise UsageError if `form` is not one of `IMAGE_FORMATS`."""
    if form not in IMAGE_FORMATS:
        raise UsageError(f"the frames' format is {form!r}; expected one of {', '.join(IMAGE_FORMATS)}")
