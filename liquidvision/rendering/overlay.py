"""The overlay: draw the predictions of a stream onto its frames."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import NamedTuple

import numpy as np

from liquidvision.errors import UsageError
from liquidvision.prediction import Prediction, most_probable
from liquidvision.rendering.canvas import Canvas
from liquidvision.rendering.panels import (
    TimelineStrip,
    draw_lane,
    draw_state,
    draw_tau,
    draw_time,
    place_charts,
    place_strip,
)
from liquidvision.rendering.primitives import (
    DIM_TEXT_COLOR,
    TEXT_COLOR,
    UNSURE_COLOR,
    Box,
    Scale,
    Surface,
    VectorPage,
    class_color,
    draw_bar,
    draw_card,
    draw_text,
    draw_text_right,
    format_percent,
    shorten,
    strip_width,
    text_width,
)
from liquidvision.rendering.timeline import StreamTimeline, TimelineSide
from liquidvision.video.frame import Frame
from liquidvision.video.pixels import Pixels

PARTS = ("label", "bars", "timeline", "tau", "state")
# Names of the two sides of a comparison, and short names for narrow pictures.
ALONE_NAMES = ("each frame alone", "frame")
MEMORY_NAMES = ("with memory", "memory")
AHEAD_NAMES = ("looking ahead", "ahead")


class Side(NamedTuple):
    """One side of a comparison.

    Attributes:
        names: the long and the short name.
        timeline: its recent labels.
        scores: (classes,) of the current frame.
        top: the number of the current label.
    """

    names: tuple[str, str]
    timeline: TimelineSide
    scores: np.ndarray
    top: int


@dataclass(frozen=True)
class Overlay:
    """The style in which predictions are drawn onto frames. Any number of streams can share one.

    Pass it to `infer`, or call `stream` in a loop of your own:

    Example:
        >>> model = Model.from_pretrained("actions")
        >>> drawer = Overlay(compare=True).stream()
        >>> for frame, prediction in predict("clip.mp4", model):
        ...     image = drawer.annotate(frame, prediction).image

    Args:
        parts: what to draw: any of "label" (the most probable label), "bars" (the best scores), "timeline" (recent
            labels), "tau" (the cell's effective time constants) and "state" (its hidden state).
        top_k: number of classes with a bar, 1 or more.
        conf: below this probability, 0 to 1, the drawn label is a dash, and the timeline is grey. (Records take a
            `conf` of their own, below which they omit labels.)
        compare: also draw the predictions from each frame alone, beside those with memory; or, where predictions look
            ahead (see `predict`), those that do not beside those that do.
        seconds: length of the timeline, above 0.

    Raises:
        UsageError: a part is unknown, or a number is out of range.
    """

    parts: Sequence[str] = ("label", "bars", "timeline")
    _: KW_ONLY
    top_k: int = 5
    conf: float = 0.0
    compare: bool = False
    seconds: float = 8.0

    def __post_init__(self) -> None:
        for part in self.parts:
            if part not in PARTS:
                raise UsageError(f"unknown overlay part {part!r}: expected any of {', '.join(PARTS)}")
        if self.top_k < 1:
            raise UsageError(f"top_k is {self.top_k}: expected 1 or more")
        if not 0.0 <= self.conf <= 1.0:
            raise UsageError(f"conf is {self.conf}: expected a probability from 0 to 1")
        if not 0.0 < self.seconds < float("inf"):
            raise UsageError(f"seconds is {self.seconds}: expected seconds above 0")

    def stream(self) -> "StreamOverlay":
        """Return a drawer for one stream."""
        return StreamOverlay(self)


class StreamOverlay:
    """Draw the predictions of one stream, and remember its last seconds for the timeline. Use one per stream.

    Args:
        style: what to draw. The attribute of this name may be replaced between frames.
    """

    def __init__(self, style: Overlay) -> None:
        self.style = style
        self._timeline = StreamTimeline()
        self._canvas = Canvas()
        self._boxes: list[Box] = []  # drawn into the last picture, which had `_size`
        self._size: tuple[int, ...] = ()

    @property
    def flips(self) -> int:
        """Changes of the most probable label with memory so far."""
        return self._timeline.memory.flips

    @property
    def frame_flips(self) -> int:
        """Changes of the most probable label from each frame alone so far."""
        return self._timeline.alone.flips

    def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray:
        """Return a copy of an image with its prediction and the recent labels drawn onto it.

        Call it once for each frame, in order.

        Args:
            image: (h, w, 3) uint8 RGB.
            prediction: the prediction of this frame.

        Raises:
            UsageError: the image has another shape or type.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise UsageError(f"image is {image.dtype} of shape {image.shape}: expected uint8 of shape (h, w, 3)")
        self.see(prediction)
        out = image.copy()
        self._draw_on(out, prediction)
        return out

    def annotate(self, frame: Frame, prediction: Prediction) -> Frame:
        """Return the frame with its prediction and the recent labels drawn onto it; see `draw`.

        Decoded video is drawn on in its own pixel format: pixels outside the cards stay bit for bit the same.
        """
        planes = frame.pixels.planes() if isinstance(frame.pixels, Pixels) else None
        if planes is None:
            return replace(frame, pixels=self.draw(frame.image, prediction))
        self.see(prediction)
        if planes.y.shape != self._size:  # a broadcast may change it; the boxes may then lie outside
            self._boxes, self._size = [], planes.y.shape
        boxes = self._draw_on(self._canvas.load(planes, self._boxes), prediction)
        if not set(boxes) <= set(self._boxes):  # a card is new or larger: load its pixels and draw again
            self._draw_on(self._canvas.load(planes, boxes), prediction)
        self._boxes = boxes
        return replace(frame, pixels=self._canvas.merge(planes, boxes))

    def draw_page(self, page: VectorPage, prediction: Prediction) -> None:
        """Draw the prediction and the recent labels as shapes; call `see` for each frame, in order, before."""
        self._draw_on(page, prediction)

    def _draw_on(self, out: Surface, prediction: Prediction) -> list[Box]:
        """Draw into the picture, and return the boxes that were drawn."""
        height, width = out.shape[:2]
        scale = Scale.for_picture(height, width)
        floor = height - scale.margin
        boxes: list[Box] = []
        if "timeline" in self.style.parts:
            names = [side.names for side in self.sides(prediction)] if self.style.compare else []
            strip = place_strip(height, width, scale, names)
            if strip is not None:
                self._draw_timeline(out, strip, scale, prediction)
                floor = strip.card.y0 - scale.margin
                boxes.append(strip.card)
        cards = self._draw_cards(out, floor, scale, prediction)
        charts = (("tau", draw_tau, prediction.time_constants), ("state", draw_state, prediction.hidden_state))
        wanted = [(draw, units) for part, draw, units in charts if part in self.style.parts and units is not None]
        for box, (draw, units) in zip(place_charts(len(wanted), width, floor, scale, cards), wanted, strict=False):
            draw(out, box, scale, units)
            boxes.append(box)
        return boxes + cards

    def see(self, prediction: Prediction) -> None:
        """Add the prediction of the next frame to the timeline without drawing."""
        self._timeline.see(prediction, self.style.conf, self.style.seconds)

    def sides(self, prediction: Prediction) -> tuple[Side, Side]:
        """Return the two sides of a comparison; the second one is the prediction."""
        causal = prediction.causal_scores
        own = self._timeline.memory, prediction.scores, prediction.label_index
        if causal is not None:
            before = Side(MEMORY_NAMES, self._timeline.causal, causal, int(most_probable(causal)))
            return before, Side(AHEAD_NAMES, *own)
        alone = Side(ALONE_NAMES, self._timeline.alone, prediction.frame_scores, prediction.frame_label_index)
        return alone, Side(MEMORY_NAMES, *own)

    def _draw_timeline(self, out: Surface, strip: TimelineStrip, scale: Scale, prediction: Prediction) -> None:
        draw_card(out, strip.card, scale)
        sides = self.sides(prediction)
        rows = [side[:2] for side in sides] if self.style.compare else [(("", ""), sides[1].timeline)]
        for (names, side), lane in zip(rows, strip.lanes, strict=True):
            gutter = lane.x0 - strip.card.x0 - scale.pad
            name = names[0] if text_width(names[0], scale.small) <= gutter else names[1]
            baseline = (lane.y0 + lane.y1) // 2 + round(scale.small * 0.36)
            draw_text(out, name, strip.card.x0 + scale.pad, baseline, scale.small, DIM_TEXT_COLOR)
            draw_lane(out, strip, lane, scale, side.shown.runs, prediction.labels, self.style.seconds)
        draw_time(out, strip, scale, prediction.time, self.style.seconds)

    def _draw_cards(self, out: Surface, floor: int, scale: Scale, prediction: Prediction) -> list[Box]:
        """Draw one card, or the two of a comparison, and return their boxes."""
        width, margin, labels = out.shape[1], scale.margin, prediction.labels
        before, after = self.sides(prediction)
        if not self.style.compare:
            if "label" not in self.style.parts and "bars" not in self.style.parts:
                return []
            box = Box(margin, margin, min(margin + round(13.5 * scale.unit), width - margin), floor)
            drawn = [self._draw_card(out, box, scale, labels, after, None)]
        else:
            card_width = min(round(13.5 * scale.unit), (width - 3 * margin) // 2)
            left = Box(margin, margin, margin + card_width, floor)
            right = Box(width - margin - card_width, margin, width - margin, floor)
            drawn = [
                self._draw_card(out, left, scale, labels, before, before.names),
                self._draw_card(out, right, scale, labels, after, after.names),
            ]
        return [box for box in drawn if box is not None]

    def _draw_card(
        self,
        out: Surface,
        room: Box,
        scale: Scale,
        labels: Sequence[str],
        drawn: Side,
        title: tuple[str, str] | None,
    ) -> Box | None:
        """Draw title, label and as many bars as fit into the upper part of `room`; return the box used, if any."""
        side, scores, top = drawn.timeline, drawn.scores, drawn.top
        head, body, small, pad = scale.head, scale.body, scale.small, scale.pad
        inset = round(pad * 0.7)
        title_height = round(small * 1.4) if title else 0
        head_height = round(head * 1.3) if "label" in self.style.parts else 0
        row_height = round(body * 1.78)
        gap = round(body * 0.45) if head_height and "bars" in self.style.parts else 0
        left = room.height - 2 * inset - title_height - head_height - gap
        count = max(0, min(self.style.top_k, len(scores), left // row_height)) if "bars" in self.style.parts else 0
        if left < 0 or room.width < 5 * scale.unit or not (title or head_height or count):
            return None
        rows = side.arrange_rows(scores, count) if count else []
        gap = gap if rows else 0
        box = room._replace(y1=room.y0 + 2 * inset + title_height + head_height + gap + len(rows) * row_height)
        sure = scores[top] >= self.style.conf
        draw_card(out, box, scale, (class_color(top) if sure else UNSURE_COLOR) if head_height else None)
        x0, x1 = box.x0 + pad + (strip_width(scale) if head_height else 0), box.x1 - pad
        y = box.y0 + inset
        if title:
            self._draw_title(out, x0, x1, y + small, scale, title, side.flips)
            y += title_height
        if head_height:
            # In a narrow card the label needs the room, and the bars show the score too.
            score = format_percent(float(scores[top])) if sure and not (rows and x1 - x0 < 7 * head) else ""
            room_for_label = x1 - x0 - (text_width("100%", head) + pad // 2 if score else 0)
            text = labels[top] if sure else "–"
            # A long label gets a smaller font before it is cut.
            size = head if shorten(text, room_for_label, head, True) == text else max(body, round(head * 0.75))
            draw_text(
                out,
                shorten(text, room_for_label, size, True),
                x0,
                y + head,
                size,
                TEXT_COLOR if sure else DIM_TEXT_COLOR,
                True,
            )
            draw_text_right(out, score, x1, y + head, head, TEXT_COLOR, False)
            y += head_height + gap
        thick = max(3, round(body * 0.3))
        for index in rows:
            best = sure and index == top
            base = y + round(body * 0.98)
            number = format_percent(float(scores[index]))
            label = shorten(labels[index], x1 - x0 - text_width("100%", body) - pad // 2, body, best)
            draw_text(out, label, x0, base, body, TEXT_COLOR if best else DIM_TEXT_COLOR, best)
            draw_text_right(out, number, x1, base, body, TEXT_COLOR if best else DIM_TEXT_COLOR, best)
            bar_top = base + round(body * 0.3)
            draw_bar(out, Box(x0, bar_top, x1, bar_top + thick), float(scores[index]), class_color(index))
            y += row_height
        return box

    def _draw_title(
        self, out: Surface, x0: int, x1: int, base: int, scale: Scale, title: tuple[str, str], flips: int
    ) -> None:
        """Draw the name of the side and its flips so far, in the longest form that fits."""
        count = f"{flips} flip" if flips == 1 else f"{flips} flips"
        for name, number in ((title[0], count), (title[1], count), (title[0], ""), (title[1], "")):
            gap = scale.pad // 2 if number else 0
            if text_width(name, scale.small) + gap + text_width(number, scale.small) <= x1 - x0:
                draw_text(out, name, x0, base, scale.small, DIM_TEXT_COLOR)
                draw_text_right(out, number, x1, base, scale.small, TEXT_COLOR, True)
                return
