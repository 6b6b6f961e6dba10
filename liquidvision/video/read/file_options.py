"""How the files of a data set are read, the same way wherever they are: while they are checked, embedded and shown."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liquidvision.video.read.names import exact_rate, names_pictures
from liquidvision.video.read.open import check_deinterlace, open_video
from liquidvision.video.read.reader import VideoReader


@dataclass(frozen=True, slots=True)
class FileOptions:
    """How files are read that may be videos, folders of pictures, or patterns of numbered pictures.

    Attributes:
        rate: pictures per second of folders and patterns of pictures; videos have times of their own.
        deinterlace: see `open_video`.

    Raises:
        UsageError: a rate that is not positive, or another word for `deinterlace`.
    """

    rate: float | None = None
    deinterlace: str = "auto"

    def __post_init__(self) -> None:
        check_deinterlace(self.deinterlace)
        if self.rate is not None:
            exact_rate(self.rate)

    def open(self, path: str | Path, **window: Any) -> VideoReader:
        """Open a file; `window` are further arguments of `open_video`."""
        rate = self.rate if names_pictures(path) else None
        return open_video(path, rate=rate, deinterlace=self.deinterlace, **window)

    def identity(self, path: Path | None = None) -> dict[str, str]:
        """Return what a file's frames depend on besides its content, by name; defaults are left out.

        Args:
            path: the file. None: what the frames of any file may depend on.
        """
        found = {} if self.deinterlace == "auto" else {"deinterlace": self.deinterlace}
        if self.rate is not None and (path is None or names_pictures(path)):
            found["rate"] = str(exact_rate(self.rate))
        return found
