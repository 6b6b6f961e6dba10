"""The overlay: draws the predictions of a stream onto its frames."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace

import numpy as np

from liquidvision.errors import UsageError
from liquidvision.prediction import Prediction
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
    DIM,
    INK,
    UNSURE,
    Box,
    Scale,
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
# The two sides of a comparison: their names, and short ones for narrow pictures.
ALONE = ("each frame alone", "frame")
MEMORY = ("with memory", "memory")


@dataclass(frozen=True)
class Overlay:
    """What to draw on the frames of a stream: a style, which any number of streams can share.

    `infer` takes it as it is. In a loop of your own, `stream()` returns what draws the frames of one stream:

        drawer = Overlay(compare=True).stream()
        for frame, prediction in predict("clip.mp4", model):
            show(drawer.annotate(frame, prediction).image)

    Args:
        parts: what to draw, any of label, bars, timeline, tau and state.
        top_k: how many classes get a bar.
        conf: below this best score, 0 to 1, the model is shown as unsure: a dash for the label, grey on the timeline.
        compare: draw each frame's own answer beside the answer with memory.
        seconds: how much of the past the timeline shows.

    Raises:
        UsageError: an unknown part, or a number out of range.
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
            raise UsageError(f"seconds is {self.seconds}: expected a length of time above 0")

    def stream(self) -> "StreamOverlay":
        """Return a drawer for one stream."""
        return StreamOverlay(self)


class StreamOverlay:
    """Draws the predictions of one stream, and remembers its last seconds for the timeline. Use one per stream.

    Args:
        style: what to draw; it may be replaced between frames.
    """

    def __init__(self, style: Overlay) -> None:
        self.style = style
        self._timeline = StreamTimeline()
        self._canvas = Canvas()
        self._boxes: list[Box] = []  # that the last picture was drawn in

    @property
    def flips(self) -> int:
        """Changes of the most probable label with memory."""
        return self._timeline.memory.flips

    @property
    def frame_flips(self) -> int:
        """Changes of the most probable label by each frame alone."""
        return self._timeline.alone.flips

    def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray:
        """A copy of `image`, (h, w, 3) uint8 RGB, with `prediction` and the past drawn onto it."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise UsageError(f"image is {image.dtype} of shape {image.shape}: expected uint8 of shape (h, w, 3)")
        self.see(prediction)
        out = image.copy()
        self._draw_on(out, prediction)
        return out

    def annotate(self, frame: Frame, prediction: Prediction) -> Frame:
        """The frame with `prediction` and the past drawn onto it.

        Decoded video is drawn on as it is: what lies beside the cards stays bit by bit the same.
        """
        planes = frame.pixels.planes() if isinstance(frame.pixels, Pixels) else None
        if planes is None:
            return replace(frame, pixels=self.draw(frame.image, prediction))
        self.see(prediction)
        boxes = self._draw_on(self._canvas.lay(planes, self._boxes), prediction)
        if not set(boxes) <= set(self._boxes):  # a card came, went or changed its size: now it is known where they lie
            self._draw_on(self._canvas.lay(planes, boxes), prediction)
        self._boxes = boxes
        return replace(frame, pixels=self._canvas.lift(planes, boxes))

    def _draw_on(self, out: np.ndarray, prediction: Prediction) -> list[Box]:
        """Draw into the picture; returns the boxes that were drawn in."""
        height, width = out.shape[:2]
        scale = Scale.of(height, width)
        floor = height - scale.margin
        boxes: list[Box] = []
        if "timeline" in self.style.parts:
            strip = place_strip(height, width, scale, (ALONE, MEMORY) if self.style.compare else ())
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
        """Take in `prediction` as `draw` does, without drawing."""
        self._timeline.see(prediction, self.style.conf, self.style.seconds)

    def _draw_timeline(self, out: np.ndarray, strip: TimelineStrip, scale: Scale, prediction: Prediction) -> None:
        draw_card(out, strip.card, scale)
        rows = (
            ((ALONE, self._timeline.alone), (MEMORY, self._timeline.memory))
            if self.style.compare
            else ((("", ""), self._timeline.memory),)
        )
        for (names, side), lane in zip(rows, strip.lanes, strict=True):
            gutter = lane.x0 - strip.card.x0 - scale.pad
            name = names[0] if text_width(names[0], scale.small) <= gutter else names[1]
            baseline = (lane.y0 + lane.y1) // 2 + round(scale.small * 0.36)
            draw_text(out, name, strip.card.x0 + scale.pad, baseline, scale.small, DIM)
            draw_lane(out, strip, lane, scale, side.shown.runs, prediction.labels, self.style.seconds)
        draw_time(out, strip, scale, prediction.time, self.style.seconds)

    def _draw_cards(self, out: np.ndarray, floor: int, scale: Scale, prediction: Prediction) -> list[Box]:
        """Draw the card, or the two of a comparison; returns the boxes they take."""
        width, margin, labels = out.shape[1], scale.margin, prediction.labels
        memory, alone = self._timeline.memory, self._timeline.alone
        if not self.style.compare:
            if "label" not in self.style.parts and "bars" not in self.style.parts:
                return []
            box = Box(margin, margin, min(margin + round(13.5 * scale.unit), width - margin), floor)
            drawn = [self._draw_card(out, box, scale, labels, prediction.scores, memory, None)]
        else:
            wide = min(round(13.5 * scale.unit), (width - 3 * margin) // 2)
            left = Box(margin, margin, margin + wide, floor)
            right = Box(width - margin - wide, margin, width - margin, floor)
            drawn = [
                self._draw_card(out, left, scale, labels, prediction.frame_scores, alone, ALONE),
                self._draw_card(out, right, scale, labels, prediction.scores, memory, MEMORY),
            ]
        return [box for box in drawn if box is not None]

    def _draw_card(
        self,
        out: np.ndarray,
        room: Box,
        scale: Scale,
        labels: Sequence[str],
        scores: np.ndarray,
        side: TimelineSide,
        title: tuple[str, str] | None,
    ) -> Box | None:
        """Title, label and bars in the upper part of `room`, as many as fit; returns the box taken, if any."""
        head, body, small, pad = scale.head, scale.body, scale.small, scale.pad
        inset = round(pad * 0.7)
        title_tall = round(small * 1.4) if title else 0
        head_tall = round(head * 1.3) if "label" in self.style.parts else 0
        row_tall = round(body * 1.78)
        gap = round(body * 0.45) if head_tall and "bars" in self.style.parts else 0
        left = room.height - 2 * inset - title_tall - head_tall - gap
        count = max(0, min(self.style.top_k, len(scores), left // row_tall)) if "bars" in self.style.parts else 0
        if left < 0 or room.width < 5 * scale.unit or not (title or head_tall or count):
            return None
        rows = side.arrange_rows(scores, count) if count else []
        gap = gap if rows else 0
        box = room._replace(y1=room.y0 + 2 * inset + title_tall + head_tall + gap + len(rows) * row_tall)
        top = int(scores.argmax())
        sure = scores[top] >= self.style.conf
        draw_card(out, box, scale, (class_color(top) if sure else UNSURE) if head_tall else None)
        x0, x1 = box.x0 + pad + (strip_width(scale) if head_tall else 0), box.x1 - pad
        y = box.y0 + inset
        if title:
            self._draw_title(out, x0, x1, y + small, scale, title, side.flips)
            y += title_tall
        if head_tall:
            # Where the card is narrow the label needs the room, and the bars give the number too.
            score = format_percent(float(scores[top])) if sure and not (rows and x1 - x0 < 7 * head) else ""
            room_for_label = x1 - x0 - (text_width("100%", head) + pad // 2 if score else 0)
            text = labels[top] if sure else "–"
            # A long label is set smaller before it is cut.
            size = head if shorten(text, room_for_label, head, True) == text else max(body, round(head * 0.75))
            draw_text(out, shorten(text, room_for_label, size, True), x0, y + head, size, INK if sure else DIM, True)
            draw_text_right(out, score, x1, y + head, head, INK, False)
            y += head_tall + gap
        thick = max(3, round(body * 0.3))
        for index in rows:
            best = sure and index == top
            base = y + round(body * 0.98)
            number = format_percent(float(scores[index]))
            label = shorten(labels[index], x1 - x0 - text_width("100%", body) - pad // 2, body, best)
            draw_text(out, label, x0, base, body, INK if best else DIM, best)
            draw_text_right(out, number, x1, base, body, INK if best else DIM, best)
            bar_top = base + round(body * 0.3)
            draw_bar(out, Box(x0, bar_top, x1, bar_top + thick), float(scores[index]), class_color(index))
            y += row_tall
        return box

    def _draw_title(
        self, out: np.ndarray, x0: int, x1: int, base: int, scale: Scale, title: tuple[str, str], flips: int
    ) -> None:
        """The side's name and its flips so far, in the longest form that fits."""
        count = f"{flips} flip" if flips == 1 else f"{flips} flips"
        for name, number in ((title[0], count), (title[1], count), (title[0], ""), (title[1], "")):
            gap = scale.pad // 2 if number else 0
            if text_width(name, scale.small) + gap + text_width(number, scale.small) <= x1 - x0:
                draw_text(out, name, x0, base, scale.small, DIM)
                draw_text_right(out, number, x1, base, scale.small, INK, True)
                return
