"""The overlay: what it draws, where, and what it remembers."""

from dataclasses import replace

import numpy as np
import pytest

from liquidvision.errors import UsageError
from liquidvision.prediction import Prediction
from liquidvision.rendering.overlay import ALONE_NAMES, MEMORY_NAMES, Overlay, StreamOverlay
from liquidvision.rendering.panels import NEGATIVE_COLOR, POSITIVE_COLOR, TimelineStrip, place_charts, place_strip
from liquidvision.rendering.primitives import Box, Scale, class_color, shorten, text_width
from liquidvision.rendering.timeline import MAX_RUNS

LABELS = ("walking", "running", "jumping")
SIZES = [(160, 120), (426, 240), (240, 426), (1280, 720), (1080, 1920), (3840, 2160), (321, 243)]


def drawer(*arguments, **options) -> StreamOverlay:
    """Return a drawer for one stream."""
    return Overlay(*arguments, **options).stream()


def predict(
    time: float, top: int, alone: int | None = None, labels: tuple[str, ...] = LABELS, best: float = 0.8, units: int = 0
) -> Prediction:
    def scores(index: int) -> np.ndarray:
        out = np.full(len(labels), (1 - best) / max(len(labels) - 1, 1), np.float32)
        out[index] = best
        return out

    tau = np.geomspace(0.01, 100, units).astype(np.float32) if units else None
    state = np.linspace(-1, 1, units).astype(np.float32) if units else None
    return Prediction(0, time, 0.1, labels, scores(top), scores(top if alone is None else alone), tau, state)


def grey(width: int, height: int, level: int = 128) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def strip_of(image: np.ndarray, compare: bool = False) -> TimelineStrip:
    height, width = image.shape[:2]
    strip = place_strip(height, width, Scale.for_picture(height, width), (ALONE_NAMES, MEMORY_NAMES) if compare else ())
    assert strip is not None
    return strip


def pixel(out: np.ndarray, strip: TimelineStrip, time: float, now: float, seconds: float = 8.0, lane: int = 0) -> tuple:
    """Return the timeline's colour at a time, near the lower edge of the lane, below its text."""
    return tuple(out[strip.lanes[lane].y1 - 2, strip.x(time, now, seconds)].tolist())


def test_input_is_not_modified() -> None:
    """Drawing writes to a new array and does not modify the input."""
    image = grey(426, 240)
    before = image.copy()
    out = drawer().draw(image, predict(0, 1))
    assert not np.shares_memory(out, image)
    np.testing.assert_array_equal(image, before)


def test_read_only_and_strided_input_is_drawn() -> None:
    """A read-only or strided picture gives the same result as its copy."""
    image = np.ascontiguousarray(np.random.default_rng(0).integers(0, 255, (240, 852, 3), np.uint8))[:, ::2]
    image.flags.writeable = False
    np.testing.assert_array_equal(drawer().draw(image, predict(0, 1)), drawer().draw(image.copy(), predict(0, 1)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("compare", [False, True])
def test_every_size_is_drawn(size: tuple[int, int], compare: bool) -> None:
    """Pictures from 160x120 to 4K, landscape and portrait, are drawn on, and keep their shape and type."""
    overlay = drawer(("label", "bars", "timeline", "tau", "state"), compare=compare)
    image = grey(*size)
    for i in range(3):
        out = overlay.draw(image, predict(i * 0.5, i, units=200))
    assert out.shape == image.shape and out.dtype == np.uint8
    assert (out != image).any(axis=2).mean() > 0.05


def test_tiny_pictures_are_returned_unchanged() -> None:
    """A picture of a few pixels is returned unchanged, whatever its shape."""
    for size in [(1, 1), (3, 200), (200, 3), (30, 30), (64, 48), (48, 300), (300, 40)]:
        for compare in (False, True):
            overlay = drawer(("label", "bars", "timeline", "tau", "state"), compare=compare)
            assert overlay.draw(grey(*size), predict(0, 1, units=8)).shape == (size[1], size[0], 3)


def test_timeline_has_the_class_colour_at_each_time() -> None:
    """Each time on the timeline has the colour of the most probable label at that time."""
    overlay, image = drawer(("timeline",)), grey(1280, 720)
    for i in range(61):
        out = overlay.draw(image, predict(i / 10, 0 if i < 20 else 1 if i < 50 else 2))
    strip = strip_of(image)
    assert pixel(out, strip, 1.0, 6.0) == class_color(0)
    assert pixel(out, strip, 3.5, 6.0) == class_color(1)
    assert pixel(out, strip, 5.5, 6.0) == class_color(2)


def test_timeline_follows_time_not_frame_count() -> None:
    """With a variable frame rate, a label's length on the timeline is proportional to its duration."""
    overlay, image = drawer(("timeline",)), grey(1280, 720)
    times = [0.0, 0.9, 1.8, 2.7, 3.6, *np.arange(4.0, 6.0, 0.01), 6.0]
    for time in times:
        out = overlay.draw(image, predict(time, 0 if time < 4 else 1))
    strip = strip_of(image)
    lane = strip.lanes[0]
    colors = out[lane.y1 - 2, lane.x0 : lane.x1]
    share = [(colors == class_color(c)).all(axis=1).mean() * 8.0 for c in (0, 1)]
    assert share == pytest.approx([4.0, 2.0], abs=0.06)


def test_gap_is_empty() -> None:
    """More than a second without frames is empty on the timeline; a shorter pause is not."""
    overlay, image = drawer(("timeline",)), grey(1280, 720)
    for time in (0.0, 0.9, 1.0, 3.0, 3.5, 4.0):
        out = overlay.draw(image, predict(time, 1))
    strip = strip_of(image)
    assert pixel(out, strip, 0.5, 4.0) == class_color(1)
    assert pixel(out, strip, 3.6, 4.0) == class_color(1)
    empty = out[strip.lanes[0].y1 - 2, strip.x(1.1, 4.0, 8.0) : strip.x(2.9, 4.0, 8.0)]
    assert len(np.unique(empty.reshape(-1, 3), axis=0)) == 1
    assert tuple(empty[0].tolist()) != class_color(1)


def test_comparison_has_two_lanes() -> None:
    """With `compare`, the upper lane shows each frame alone and the lower lane the labels with memory."""
    overlay, image = drawer(("timeline",), compare=True), grey(1280, 720)
    for i in range(21):
        out = overlay.draw(image, predict(i / 10, 1, alone=2))
    strip = strip_of(image, compare=True)
    assert pixel(out, strip, 1.0, 2.0, lane=0) == class_color(2)
    assert pixel(out, strip, 1.0, 2.0, lane=1) == class_color(1)


def test_flips_are_counted_for_both_sides() -> None:
    """Changes of the most probable label are counted with memory and from each frame alone."""
    overlay, image = drawer(()), grey(160, 120)
    for i in range(10):
        overlay.draw(image, predict(i / 10, i // 5, alone=i % 2))
    assert (overlay.flips, overlay.frame_flips) == (1, 9)


def test_repeated_frame_does_not_count_twice() -> None:
    """A repeated frame changes neither the flips nor the timeline."""
    overlay, image = drawer(), grey(426, 240)
    first = overlay.draw(image, predict(1.0, 0))
    overlay.draw(image, predict(1.0, 1))
    np.testing.assert_array_equal(overlay.draw(image, predict(1.0, 0)), first)
    assert overlay.flips == 0 and overlay.frame_flips == 0


def test_a_clock_that_steps_back_clears_the_timeline() -> None:
    """When the clock steps back, the timeline starts empty, and the jump is not a flip."""
    overlay, image = drawer(), grey(426, 240)
    for i in range(20):
        overlay.draw(image, predict(5 + i / 10, 0))
    again = overlay.draw(image, predict(0.0, 1))
    np.testing.assert_array_equal(again, drawer().draw(image, predict(0.0, 1)))
    assert overlay.flips == 0


@pytest.mark.parametrize("step", [1 / 30, 1e-6])
def test_history_is_bounded(step: float) -> None:
    """The history stays small in a long stream in which every frame flips."""
    overlay, image = drawer(()), grey(8, 8)
    predictions = [predict(0, 0), predict(0, 1)]
    for i in range(100_000):
        old = predictions[i % 2]
        overlay.draw(image, Prediction(i, i * step, step, old.labels, old.scores, old.frame_scores))
    assert len(overlay._timeline.memory.shown.runs) <= MAX_RUNS
    assert overlay._timeline.memory.shown.runs[0].end >= overlay._timeline.memory.shown.runs[-1].end - 8.0
    assert overlay.flips == 99_999


def test_below_conf_the_label_is_not_shown() -> None:
    """Below `conf` no label and no class colour is drawn, so two unsure predictions look alike."""
    image = grey(1280, 720)
    unsure = [drawer(("label",), conf=0.9).draw(image, predict(0, top)) for top in (0, 1)]
    sure = [drawer(("label",), conf=0.5).draw(image, predict(0, top)) for top in (0, 1)]
    np.testing.assert_array_equal(*unsure)
    assert (sure[0] != sure[1]).any()
    assert not (unsure[0] == class_color(0)).all(axis=2).any()
    assert (sure[0] == class_color(0)).all(axis=2).any()


def test_bars_are_as_long_as_the_scores() -> None:
    """The length of each bar is proportional to its score."""
    prediction = Prediction(0, 0.0, 0.0, LABELS, np.float32([0.5, 0.3, 0.2]), np.float32([1, 0, 0]))
    out = drawer(("bars",)).draw(grey(1280, 720), prediction)
    lengths = [(out == class_color(i)).all(axis=2).sum(axis=1).max() for i in range(3)]
    assert lengths[1] / lengths[0] == pytest.approx(0.6, abs=0.02)
    assert lengths[2] / lengths[0] == pytest.approx(0.4, abs=0.02)
    full = drawer(("bars",)).draw(grey(1280, 720), predict(0, 0, best=1.0))
    length = (full == class_color(0)).all(axis=2).sum(axis=1).max()
    scale = Scale.for_picture(720, 1280)
    assert length == pytest.approx(13.5 * scale.unit - 2 * scale.pad, abs=2)
    assert length / lengths[0] == pytest.approx(2.0, abs=0.02)


def test_rows_keep_their_place() -> None:
    """A class keeps its row while it is in the top k, and a new class takes the row that became free."""
    labels = tuple(f"class {i}" for i in range(10))
    overlay, image = drawer(("bars",), top_k=3), grey(1280, 720)

    def rows(*best: int) -> list[int]:
        scores = np.full(10, 0.01, np.float32)
        scores[list(best)] = (0.4, 0.3, 0.2)
        out = overlay.draw(image, Prediction(0, 0.0, 0.0, labels, scores, scores))
        places = {i: np.flatnonzero((out == class_color(i)).all(axis=2).sum(axis=1) > 20) for i in best}
        return sorted(best, key=lambda i: places[i][0])

    assert rows(4, 2, 6) == [4, 2, 6]
    assert rows(6, 4, 2) == [4, 2, 6]
    assert rows(5, 6, 4) == [4, 5, 6]


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_any_number_of_classes(count: int) -> None:
    """One, two or a thousand classes are drawn with any top_k."""
    labels = tuple(f"class {i}" for i in range(count))
    out = drawer(top_k=20, compare=True).draw(grey(426, 240), predict(0, count - 1, labels=labels))
    assert (out == class_color(count - 1)).all(axis=2).any()


def test_long_and_foreign_labels_stay_in_their_card() -> None:
    """Very long labels, other scripts and line breaks do not draw beyond the card."""
    labels = ("a very long label " * 200, "走る\nrunning", "прыжок")
    for top in range(3):
        image = grey(1280, 720)
        out = drawer(("label", "bars")).draw(image, predict(0, top, labels=labels))
        np.testing.assert_array_equal(out[:, 640:], image[:, 640:])


def test_shorten_keeps_within_the_width() -> None:
    """A label is shortened to the longest text with an ellipsis that fits; a short label is unchanged."""
    label = "standing-on-one-leg"
    for width in (30, 50, 100):
        cut = shorten(label, width, 20)
        assert text_width(cut, 20) <= width < text_width(label[: len(cut)] + "…", 20) and cut.endswith("…")
    assert shorten("run", 100, 20) == "run"
    assert shorten("running", 2, 20) == ""


def test_time_constants_are_drawn_only_where_known() -> None:
    """Time constants are drawn for any number of units; without time constants there is no chart."""
    image = grey(1280, 720)
    np.testing.assert_array_equal(drawer(("tau",)).draw(image, predict(0, 0)), image)
    for units in (1, 64, 500):
        out = drawer(("tau",)).draw(image, predict(0, 0, units=units))
        assert (out[:300, 800:] != 128).any()
        np.testing.assert_array_equal(out[:, :640], image[:, :640])


def test_time_constants_that_are_not_finite_are_drawn() -> None:
    """Infinite, zero and NaN time constants are drawn at the ends of the axis."""
    odd = Prediction(0, 0.0, 0.0, LABELS, np.float32([1, 0, 0]), np.float32([1, 0, 0]), np.float32([0, np.inf, np.nan]))
    assert (drawer(("tau",)).draw(grey(426, 240), odd) != 128).any()


def test_hidden_state_bars_start_at_zero() -> None:
    """Each unit is a bar up or down from zero, as long as its value, clipped at 1."""
    image = grey(1280, 720)
    np.testing.assert_array_equal(drawer(("state",)).draw(image, predict(0, 0)), image)

    def lengths(*state: float) -> tuple[int, int]:
        prediction = replace(predict(0, 0), hidden_state=np.float32(state))
        out = drawer(("state",)).draw(image, prediction)
        up, down = ((out == color).all(axis=2) for color in (POSITIVE_COLOR, NEGATIVE_COLOR))
        if up.any() and down.any():
            assert np.flatnonzero(up.any(1)).max() <= np.flatnonzero(down.any(1)).min()
        return up.any(1).sum(), down.any(1).sum()

    up, down = lengths(1.0, -0.5)
    assert up > 50 and down / up == pytest.approx(0.5, abs=0.02)
    assert lengths(7.0, -0.5) == (up, down)
    assert lengths(*[0.1, -1.0] * 500, 1.5) == pytest.approx((up, up), abs=1)
    assert lengths(float("nan")) == (1, 0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("compare", [False, True])
def test_charts_do_not_overlap(size: tuple[int, int], compare: bool) -> None:
    """The charts overlap neither each other nor the cards, and lie inside the picture."""
    width, height = size
    scale = Scale.for_picture(height, width)
    wide = round((10 if compare else 13.5) * scale.unit)
    tops = [Box(scale.margin, scale.margin, min(scale.margin + wide, width), scale.margin + round(9 * scale.unit))]
    if compare:
        tops.append(tops[0]._replace(x0=width - scale.margin - wide, x1=width - scale.margin))
    for cards in ([], tops):
        boxes = [*cards, *place_charts(2, width, height - scale.margin, scale, cards)]
        assert len(boxes) == len(cards) + 2 or min(size) < 250 or width / height < 1.4
        assert all(box.x0 >= 0 and box.x1 <= width and box.y1 <= height for box in boxes[len(cards) :])
        for i, a in enumerate(boxes):
            for b in boxes[max(i + 1, len(cards)) :]:
                assert a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0, (a, b)


def test_class_colours_are_distinct() -> None:
    """The colours of the first classes are clearly distinct, and every colour is valid."""
    colors = np.array([class_color(i) for i in range(1000)])
    assert colors.min() >= 0 and colors.max() <= 255
    first = colors[:10].astype(float)
    apart = np.linalg.norm(first[:, None] - first[None], axis=2)[~np.eye(10, dtype=bool)]
    assert apart.min() > 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parts": ("label", "speed")}, "'speed'"),
        ({"top_k": 0}, "top_k is 0"),
        ({"conf": 1.5}, "conf is 1.5"),
        ({"conf": float("nan")}, "conf is nan"),
        ({"seconds": 0}, "seconds is 0"),
        ({"seconds": float("inf")}, "seconds is inf"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments: dict, message: str) -> None:
    """An impossible argument raises UsageError with the value and what was expected, in one line."""
    with pytest.raises(UsageError, match="expected") as caught:
        Overlay(**arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_bad_image_is_refused() -> None:
    """A picture that is not (h, w, 3) uint8 raises UsageError with its shape and type."""
    with pytest.raises(UsageError, match="float32"):
        drawer().draw(np.zeros((240, 320, 3), np.float32), predict(0, 0))
