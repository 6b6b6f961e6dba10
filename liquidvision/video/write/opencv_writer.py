"""Writes video files with OpenCV: constant rate, no sound. For machines where PyAV does not work."""

from pathlib import Path

import cv2

from liquidvision.errors import SinkError, UsageError
from liquidvision.video.frame import Frame, VideoInfo
from liquidvision.video.write.sink import VideoSink

FOURCC = {".mp4": "mp4v", ".avi": "MJPG", ".webm": "VP90"}


class OpenCVVideoSink(VideoSink):
    """Writes MPEG-4, MJPEG or VP9, chosen by the file's suffix, at the source's mean rate.

    Raises:
        UsageError: a suffix that OpenCV's encoders do not support.
        SinkError: the file cannot be written.
    """

    def __init__(self, path: str | Path, info: VideoInfo) -> None:
        suffix = check_opencv_suffix(Path(path))
        super().__init__(path)
        self._rate = float(info.rate or 30)
        self._fourcc = cv2.VideoWriter.fourcc(*FOURCC[suffix])
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self.notes = [f"written with OpenCV: no sound, and a constant rate of {self._rate:.3g} frames per second"]

    def write(self, frame: Frame) -> None:
        if self._writer is None:
            self._size = frame.image.shape[1], frame.image.shape[0]
            self._writer = cv2.VideoWriter(str(self.part), self._fourcc, self._rate, self._size)
            if not self._writer.isOpened():
                raise SinkError(f"cannot write {self.path}: OpenCV has no encoder for it, or the folder is read-only")
        image = frame.image
        if (image.shape[1], image.shape[0]) != self._size:  # OpenCV drops such frames silently
            image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def _finish(self) -> None:
        if self._writer is None:
            raise SinkError(f"{self.path} was not written: there was no frame")
        self._writer.release()

    def _release(self) -> None:
        if self._writer is not None:
            self._writer.release()


def check_opencv_suffix(path: Path) -> str:
    """Return the file's suffix; raise UsageError if OpenCV's encoders do not support it."""
    suffix = path.suffix.lower()
    if suffix not in FOURCC:
        raise UsageError(f"{path.name}: the OpenCV writer writes {', '.join(FOURCC)}")
    return suffix
