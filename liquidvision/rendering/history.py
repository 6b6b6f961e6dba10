"""What is remembered of a stream to draw it afterwards: little for each frame, and a few thumbnails."""

from array import array
from typing import NamedTuple

import numpy as np

from liquidvision.inference.runs import RunTracker
from liquidvision.prediction import Prediction
from liquidvision.video.frame import Frame

MAX_ROWS = 20_000  # frames whose scores, norms and time constants are held; a picture has fewer columns
MAX_THUMBNAILS = 128
GAP_SECONDS = 1.0  # seconds without a frame that are a gap, where frames do not usually lie as far apart
MIN_THUMBNAIL_HEIGHT = 135  # least height in pixels, where the frame has as much


class HistoryRow(NamedTuple):
    """What is held of a frame beside its time and labels.

    Attributes:
        frame: its number among all frames written.
        scores, frame_scores: (classes,) float32.
        time_constants: (units,) float32 seconds, or None.
        norm: the Euclidean norm of the hidden state, or None.
    """

    frame: int
    scores: np.ndarray
    frame_scores: np.ndarray
    time_constants: np.ndarray | None
    norm: float | None


class StreamHistory:
    """Takes in frames with their predictions, and holds what a picture of the whole stream needs.

    Of every frame its time and its two labels are held: 16 bytes, 40 MB for a day. What is larger is
    thinned in a long stream: past `MAX_ROWS` rows every other one is dropped, and from then on every
    second frame is held, then every fourth, and so on. Thumbnails are thinned likewise, by time.

    Attributes:
        labels: the names of the classes.
        repeats: when a frame came with the time of the one before, in seconds on the picture's clock.
        backwards: times that ran backwards; the picture's clock then goes on from the last instant.
        rows: see `HistoryRow`.
        thumbnails: seconds on the picture's clock and (h, w, 3) uint8 RGB.
    """

    def __init__(self) -> None:
        self.labels: tuple[str, ...] = ()
        self.backwards = 0
        self._with_memory, self._frame_alone = RunTracker(), RunTracker()
        self.repeats = array("d")
        self.rows: list[HistoryRow] = []
        self.thumbnails: list[tuple[float, np.ndarray]] = []
        self._times, self._tops, self._alone = array("d"), array("i"), array("i")
        self._every = 1  # frame is held
        self._spacing = 0.0  # seconds between thumbnails
        self._offset = 0.0  # what is added to the source's clock, so that the picture's never runs backwards
        self._last_time: float | None = None  # of the last instant, on the picture's clock
        self._last_seconds: float | None = None

    def add(self, frame: Frame, prediction: Prediction) -> None:
        """Take in the next frame and what the model makes of it."""
        self.labels = prediction.labels
        top, alone = prediction.label_index, prediction.frame_label_index
        self._with_memory.see(prediction.time, top)
        self._frame_alone.see(prediction.time, alone)
        time = prediction.time + self._offset
        number = len(self._times)
        self._times.append(time)
        self._tops.append(top)
        self._alone.append(alone)
        before = time if self._last_time is None else self._last_time
        if time < before:
            self.backwards += 1
            self._offset += before - time
            self._times[-1] = time = before
        elif time == before and number:
            self.repeats.append(time)
        self._last_time = time
        self._last_seconds = frame.duration_seconds
        if number % self._every == 0:
            hidden = prediction.hidden_state
            norm = None if hidden is None else float(np.linalg.norm(hidden))
            self.rows.append(
                HistoryRow(number, prediction.scores, prediction.frame_scores, prediction.time_constants, norm)
            )
            if len(self.rows) > MAX_ROWS:
                self.rows, self._every = self.rows[::2], 2 * self._every
        # Strictly later, so that any number of repeated frames is one thumbnail.
        if not self.thumbnails or time > self.thumbnails[-1][0] + self._spacing:
            self.thumbnails.append((time, make_thumbnail(frame.image)))
            if len(self.thumbnails) > MAX_THUMBNAILS:
                self._spacing = max(2 * self._spacing, 2 * (time - self.thumbnails[0][0]) / MAX_THUMBNAILS)
                self._thin_thumbnails()

    @property
    def flips(self) -> int:
        """Changes of the most probable label with memory."""
        return self._with_memory.flips

    @property
    def frame_flips(self) -> int:
        """Changes of the most probable label by each frame alone."""
        return self._frame_alone.flips

    def _thin_thumbnails(self) -> None:
        kept = self.thumbnails[:1]
        for one in self.thumbnails[1:]:
            if one[0] > kept[-1][0] + self._spacing:
                kept.append(one)
        self.thumbnails = kept

    @property
    def times(self) -> np.ndarray:
        """(frames,) float64 seconds on the picture's clock, never falling."""
        return np.array(self._times)

    @property
    def tops(self) -> np.ndarray:
        """(2, frames) the number of the top label by each frame alone, and with memory."""
        return np.array([self._alone, self._tops])

    @property
    def usual(self) -> float:
        """The usual seconds from one frame to the next: the median; where there is none, what the last frame says."""
        steps = np.diff(self.times)
        return float(np.median(steps[steps > 0])) if (steps > 0).any() else self._last_seconds or 1.0

    @property
    def end(self) -> float:
        """Seconds at which the last frame ends, as far as is known; above the first frame's time."""
        return self._times[-1] + (self._last_seconds or self.usual)

    @property
    def gaps(self) -> list[tuple[float, float]]:
        """From and to when nothing was shown; a frame before a gap is taken to be shown as long as is usual."""
        times, usual = self.times, self.usual
        before = np.flatnonzero(np.diff(times) > max(GAP_SECONDS, 5 * usual))
        return [(float(times[i]) + usual, float(times[i + 1])) for i in before]


def make_thumbnail(image: np.ndarray) -> np.ndarray:
    """A small copy of a picture (h, w, 3): the means of whole squares of pixels, so that nothing flickers."""
    side = max(1, min(image.shape[:2]) // MIN_THUMBNAIL_HEIGHT)
    height, width = (n // side * side for n in image.shape[:2])
    squares = image[:height, :width].reshape(height // side, side, width // side, side, 3)
    return squares.mean((1, 3), dtype=np.float32).round().astype(np.uint8)
