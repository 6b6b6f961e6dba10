"""The overlay as timed events of subtitles: ASS with shapes, or plain text."""

from collections.abc import Iterator
from typing import NamedTuple

from liquidvision.prediction import Prediction
from liquidvision.rendering.ass_page import AssPage
from liquidvision.rendering.overlay import Overlay
from liquidvision.rendering.primitives import format_percent

# Seconds. A change of the label is shown at its frame; bars and the timeline move at most this often.
REFRESH, TEXT_REFRESH = 0.2, 0.5
MAX_EVENT = 5.0  # seconds; longer events are cut, so that they can be put in order with a bounded buffer


class SubtitleEvent(NamedTuple):
    """A part of the overlay, and when it is shown.

    Attributes:
        start, end: seconds from the beginning of the video.
        layer: parts with a higher number are drawn over those with a lower one.
        text: the text of an ASS event, or plain text.
    """

    start: float
    end: float
    layer: int
    text: str


class SubtitleOverlay:
    """Turn the predictions of one stream into events of subtitles.

    An event begins where a part of the picture appears and ends where it changes, so that what stays costs nothing.

    Args:
        style: what to draw.
        height, width: of the picture, in pixels.
        drawn: ASS with shapes; otherwise plain text, a line for each side.
    """

    def __init__(self, style: Overlay, height: int, width: int, *, drawn: bool) -> None:
        self._style, self._size, self._drawn = style, (height, width), drawn
        self._stream = style.stream()
        self._shown: dict[tuple[int, str], float] = {}  # layer and text → when it began
        self._decisions: tuple[int, ...] = ()
        self._last = float("-inf")  # when the picture was last drawn
        self._time, self._step = 0.0, 0.0

    def see(self, prediction: Prediction, time: float) -> Iterator[SubtitleEvent]:
        """Add the prediction of the next frame; yield the events that have ended.

        Args:
            prediction: the prediction.
            time: when the frame is shown, in seconds from the beginning of the video. A frame that is not later than
                the one before is not drawn.
        """
        self._stream.see(prediction)
        if self._shown and time <= self._time:
            return
        self._time, self._step = time, prediction.dt
        decisions = self._find_decisions(prediction)
        if decisions == self._decisions and time - self._last < (REFRESH if self._drawn else TEXT_REFRESH):
            return
        self._decisions, self._last = decisions, time
        texts = self._draw(prediction)
        kept = {key for key, start in self._shown.items() if key in texts and time - start < MAX_EVENT}
        yield from self._end(time, set(self._shown) - kept)
        self._shown |= {key: time for key in texts if key not in kept}

    def finish(self) -> Iterator[SubtitleEvent]:
        """Yield the events that are shown with the last frame."""
        yield from self._end(self._time + (self._step or REFRESH), set(self._shown))

    def _end(self, time: float, keys: set[tuple[int, str]]) -> Iterator[SubtitleEvent]:
        for layer, text in sorted(keys, key=lambda key: (self._shown[key], key)):  # in order, see `in_order`
            yield SubtitleEvent(self._shown.pop((layer, text)), time, layer, text)

    def _find_decisions(self, prediction: Prediction) -> tuple[int, ...]:
        """Return what must be shown at its frame: the label, whether it is sure, and in a comparison the other side."""
        other, own = self._stream.sides(prediction)
        sure = int(prediction.score >= self._style.conf)
        return (own.top, sure, other.top) if self._style.compare else (own.top, sure)

    def _draw(self, prediction: Prediction) -> list[tuple[int, str]]:
        """Return layer and text of each part of the picture."""
        if self._drawn:
            page = AssPage(*self._size)
            self._stream.draw_page(page, prediction)
            return list(enumerate(page.items))
        sides = self._stream.sides(prediction)
        lines = []
        for side in sides if self._style.compare else sides[1:]:
            score = float(side.scores[side.top])
            shown = f"{prediction.labels[side.top]} {format_percent(score)}" if score >= self._style.conf else "–"
            lines.append(f"{side.names[0]}: {shown}" if self._style.compare else shown)
        return [(0, "\n".join(lines))]
