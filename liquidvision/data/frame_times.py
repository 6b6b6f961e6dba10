"""When the frames of a video are shown, and for how long."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from liquidvision.data.content import clip_exists
from liquidvision.data.looks import Look, LookSampler
from liquidvision.errors import SourceError
from liquidvision.video.frame import Frame
from liquidvision.video.read.file_options import FileOptions


@dataclass(frozen=True, slots=True, eq=False)
class FrameTimes:
    """The times of a video's frames.

    Attributes:
        times: (n,) seconds from the file's beginning.
        durations: (n,) seconds for which each frame is shown.
        damaged: number of packets that could not be decoded.
        stride: these are every Nth frame of the video.
        look: what the video looks like; None if that is not known.
    """

    times: np.ndarray
    durations: np.ndarray
    damaged: int
    stride: int = 1
    look: Look | None = None

    @property
    def end(self) -> float:
        """When the last frame ends, in seconds from the file's beginning."""
        return float((self.times + self.durations).max())

    def start_of(self, number: int) -> float:
        """Return when a frame begins, in seconds from the file's beginning, by its number in the file, from 0.

        Beyond the last frame the clock goes on at the pace of the frames before.
        """
        index = -(-number // self.stride)  # of the first of these frames that is not before
        if index < len(self.times):
            return float(self.times[index])
        pace = max(float(np.median(self.durations)) / self.stride, 0.001)
        return self.end + max(0, number - len(self.times) * self.stride) * pace


def read_frame_times(path: Path, files: FileOptions | None = None) -> FrameTimes:
    """Decode a file to its end and return the times of its frames, and what it looks like.

    Args:
        path: a video, or a folder or pattern of pictures.
        files: how it is read; None: by the defaults.

    Raises:
        SourceError: the file is missing or cannot be read.
        OSError: the system refuses access.
    """
    if not clip_exists(path):
        raise SourceError(f"no such file: {path}")
    with (files or FileOptions()).open(path) as reader:
        times: list[Fraction] = []
        last: Fraction | None = None
        sampler = LookSampler()
        for picture in reader.pictures():
            if not times:
                # Check that its colours can be converted; doing so for every frame would take most of the time.
                _ = Frame(picture.frame_pixels(), 0, picture.pts, picture.time_base).image
            times.append(picture.pts * picture.time_base - reader.start_time)
            sampler.see(picture, float(times[-1] - times[0]))
            last = None if picture.duration is None else picture.duration * picture.time_base
        if not times:
            raise SourceError(f"{path.name} holds no frame that can be decoded")
        seconds = np.array([float(time) for time in times])
        steps = np.maximum(np.diff(seconds), 0.0)
        final = float(last) if last is not None else float(np.median(steps)) if len(steps) else 0.0
        durations = np.append(steps, final)
        look = sampler.finish(float((seconds + durations).max() - seconds[0]))
        return FrameTimes(seconds, durations, reader.counts.damaged, look=look)


def read_look(path: Path, files: FileOptions, seconds: float) -> Look:
    """Return what the first seconds of a file look like.

    Raises:
        SourceError: the file cannot be read.
    """
    with files.open(path) as reader:
        sampler, begin, shown = LookSampler(), None, 0.0
        for picture in reader.pictures():
            time = picture.pts * picture.time_base
            begin = time if begin is None else begin
            shown = float(time - begin)
            sampler.see(picture, min(shown, seconds))
            if shown >= seconds:
                break
            shown += float((picture.duration or 0) * picture.time_base)
        if begin is None:
            raise SourceError(f"{path.name} holds no frame that can be decoded")
        return sampler.finish(min(shown, seconds))
