"""A compact record of a whole stream, to draw it afterwards."""

from array import array
from typing import NamedTuple

import numpy as np

from liquidvision.inference.runs import RunTracker
from liquidvision.prediction import Prediction, most_probable
from liquidvision.video.frame import Frame

MAX_ROWS = 20_000  # frames whose scores, norms and time constants are kept; a picture has fewer columns
MAX_THUMBNAILS = 128
HATCH_SECONDS = 1.0  # shortest time without a frame that the picture hatches; longer if frames are usually far apart
MIN_THUMBNAIL_HEIGHT = 135  # pixels, unless the frame is smaller


class HistoryRow(NamedTuple):
    """The data kept for some frames, beside their time and labels.

    Attributes:
        frame: the frame's number in the history, from 0.
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
    """Collect what a picture of the whole stream needs from frames and their predictions.

    The time and the two labels of every frame are kept: 16 bytes, 40 MB for a day. Larger data is thinned in a long
    stream: beyond `MAX_ROWS` rows every other one is dropped, and from then on every second frame gets a row, then
    every fourth, and so on. Thumbnails are thinned in the same way, by time.

    Attributes:
        labels: the names of the classes.
        repeats: times of frames with the same time as the frame before, in seconds on the picture's clock.
        backwards: how often the source's clock stepped back; the picture's clock then continues from the last instant.
        rows: see `HistoryRow`.
        thumbnails: pairs of seconds on the picture's clock and (h, w, 3) uint8 RGB.
    """

    def __init__(self) -> None:
        self.labels: tuple[str, ...] = ()
        self.backwards = 0
        self._with_memory, self._frame_alone = RunTracker(), RunTracker()
        self.repeats = array("d")
        self.rows: list[HistoryRow] = []
        self.thumbnails: list[tuple[float, np.ndarray]] = []
        self._times, self._label_indices, self._frame_label_indices = array("d"), array("i"), array("i")
        self._causal_label_indices = array("i")  # empty where predictions do not look ahead
        self._frames_per_row = 1
        self._spacing = 0.0  # seconds between thumbnails
        self._offset = 0.0  # seconds added to the source's clock, so that the picture's clock never steps back
        self._last_time: float | None = None  # of the last instant, on the picture's clock
        self._last_seconds: float | None = None

    def add(self, frame: Frame, prediction: Prediction) -> None:
        """Add the next frame and its prediction."""
        self.labels = prediction.labels
        top, alone = prediction.label_index, prediction.frame_label_index
        self._with_memory.see(prediction.time, top)
        self._frame_alone.see(prediction.time, alone)
        time = prediction.time + self._offset
        number = len(self._times)
        self._times.append(time)
        self._label_indices.append(top)
        self._frame_label_indices.append(alone)
        if prediction.causal_scores is not None:
            self._causal_label_indices.append(int(most_probable(prediction.causal_scores)))
        before = time if self._last_time is None else self._last_time
        if time < before:
            self.backwards += 1
            self._offset += before - time
            self._times[-1] = time = before
        elif time == before and number:
            self.repeats.append(time)
        self._last_time = time
        self._last_seconds = frame.duration_seconds
        if number % self._frames_per_row == 0:
            hidden = prediction.hidden_state
            norm = None if hidden is None else float(np.linalg.norm(hidden))
            self.rows.append(
                HistoryRow(number, prediction.scores, prediction.frame_scores, prediction.time_constants, norm)
            )
            if len(self.rows) > MAX_ROWS:
                self.rows, self._frames_per_row = self.rows[::2], 2 * self._frames_per_row
        # Strictly later, so that any number of repeated frames is one thumbnail.
        if not self.thumbnails or time > self.thumbnails[-1][0] + self._spacing:
            self.thumbnails.append((time, make_thumbnail(frame.image)))
            if len(self.thumbnails) > MAX_THUMBNAILS:
                self._spacing = max(2 * self._spacing, 2 * (time - self.thumbnails[0][0]) / MAX_THUMBNAILS)
                self._thin_thumbnails()

    @property
    def flips(self) -> int:
        """Changes of the label with memory; of predictions that look ahead, where they do."""
        return self._with_memory.flips

    @property
    def frame_flips(self) -> int:
        """Changes of the most probable label from each frame alone."""
        return self._frame_alone.flips

    def _thin_thumbnails(self) -> None:
        kept = self.thumbnails[:1]
        for thumbnail in self.thumbnails[1:]:
            if thumbnail[0] > kept[-1][0] + self._spacing:
                kept.append(thumbnail)
        self.thumbnails = kept

    @property
    def times(self) -> np.ndarray:
        """(frames,) float64 seconds on the picture's clock, never decreasing."""
        return np.array(self._times)

    @property
    def label_indices(self) -> np.ndarray:
        """(lanes, frames) numbers of the labels, a row for each of `lane_names`."""
        rows = [self._frame_label_indices, self._causal_label_indices, self._label_indices]
        return np.array([row for row in rows if len(row)])

    @property
    def lane_names(self) -> tuple[str, ...]:
        """The names of the rows of `label_indices`; the last one is of the predictions."""
        lanes = "each frame alone", "with memory"
        return (*lanes, "looking ahead") if self._causal_label_indices else lanes

    @property
    def usual_step(self) -> float:
        """The median seconds between frames; the last frame's duration if all frames have one time."""
        steps = np.diff(self.times)
        return float(np.median(steps[steps > 0])) if (steps > 0).any() else self._last_seconds or 1.0

    @property
    def end(self) -> float:
        """The estimated time at which the last frame ends, in seconds; later than the first frame's time."""
        return self._times[-1] + (self._last_seconds or self.usual_step)

    @property
    def gaps(self) -> list[tuple[float, float]]:
        """(start, end) of each hatched gap, in seconds. The frame before is taken to be visible for the usual time."""
        times, usual = self.times, self.usual_step
        before = np.flatnonzero(np.diff(times) > max(HATCH_SECONDS, 5 * usual))
        return [(float(times[i]) + usual, float(times[i + 1])) for i in before]


def make_thumbnail(image: np.ndarray) -> np.ndarray:
    """Return a small copy of a picture (h, w, 3) uint8: the means of squares of pixels, which do not flicker."""
    side = max(1, min(image.shape[:2]) // MIN_THUMBNAIL_HEIGHT)
    height, width = (n // side * side for n in image.shape[:2])
    squares = image[:height, :width].reshape(height // side, side, width // side, side, 3)
    return squares.mean((1, 3), dtype=np.float32).round().astype(np.uint8)
