"""The parts of the report's page: what is said in words, and where lines, strips and cells lie."""

import pytest
from evaluations import evaluation

from liquidvision.report.charts import around, axis_ticks, share_axis
from liquidvision.report.figures import robustness, training
from liquidvision.report.formats import compact_number, decimal, duration, percent, points, signed
from liquidvision.report.mistakes import MOST_CLASSES, commonest_mistakes, confusion_matrices
from liquidvision.report.report import render
from liquidvision.report.timelines import video_timelines
from liquidvision.report.verdict import by_video, draw_conclusion, standing, worth_of_time

ACTIONS = ("background", "pour", "stir")


@pytest.mark.parametrize(
    ("memory", "frame", "videos", "stance"),
    [
        (0.90, 0.60, 200, "helps"),
        (0.60, 0.90, 200, "harms"),
        (0.80, 0.75, 20, "may help"),
        (0.75, 0.80, 20, "does not help"),
        (0.75, 0.75, 20, "same"),
        (1.0, 0.95, 20, "may help"),
    ],
)
def test_the_answer_is_honest(memory, frame, videos, stance):
    """Memory is said to help, or to harm, only where the difference is more than chance; else that is said."""
    made = evaluation(full=False, videos=videos)
    made["memory"]["clip_accuracy"], made["frame"]["clip_accuracy"] = memory, frame
    made["data"]["videos"] = videos
    for number, video in enumerate(made["videos"]):
        truth = video["truth"][0]
        video |= {
            "group": video["name"],
            "clip_prediction": truth if number < round(memory * videos) else 1 - truth,
            "frame_clip_prediction": truth if number < round(frame * videos) else 1 - truth,
        }
    said = draw_conclusion(made)
    assert said.stance == stance
    assert said.headline in render(made)
    net = abs(round((memory - frame) * videos))
    assert stance == "same" or f"{net} {'more' if memory > frame else 'fewer'} of {videos} clips" in said.sentences[0]


def test_clips_are_compared_pairwise():
    """The interval is over videos of which both sides' clip predictions are known, whole groups at a time."""
    videos = [
        {"name": f"{i}", "group": f"g{i // 2}", "times": [0.0], "truth": [1], "clip_prediction": 1} for i in range(40)
    ]
    for i, video in enumerate(videos):
        video["frame_clip_prediction"] = int(i % 4 > 0)
    low, high = by_video(videos, clips=True)
    assert 0.1 < low < 0.25 < high < 0.4
    assert by_video([*videos, {"name": "x", "times": [0.0], "truth": [0], "clip_prediction": 1}], clips=True) == (
        low,
        high,
    )
    assert by_video(videos[:2], clips=True) is None


def test_changing_labels_are_judged_by_frames_and_whole_groups():
    """Where labels change, the answer is about frames, with an interval over groups, and none of a single group."""
    made = evaluation(ACTIONS, videos=12, whole_clip=False, skill=(4.0, 0.2), full=False)
    said = draw_conclusion(made)
    assert (said.unit, said.stance) == ("frames", "helps")
    for video in made["videos"]:
        video["group"] = "one"
    alone = draw_conclusion(made)
    assert alone.stance == "may help"
    assert "cannot be said of so few videos" in " ".join(alone.sentences)


@pytest.mark.parametrize("whole", [True, False])
def test_few_groups_make_a_rough_interval(whole):
    """Of videos in few groups it is said that the interval is rough; of videos in many it is not."""
    made = evaluation(ACTIONS, videos=24, whole_clip=whole, full=False)
    assert "The videos are of 6 groups only: the interval is rough." in draw_conclusion(made).sentences
    for video in made["videos"]:
        video["group"] = video["name"]
    assert "rough" not in " ".join(draw_conclusion(made).sentences)


def test_what_is_no_better_than_the_commonest_class_is_told():
    """A model that does no better than always the same answer is said not to."""
    made = evaluation(full=False)
    for side in ("memory", "frame"):
        made[side]["clip_accuracy"] = 0.5
    assert "Neither does better than this: always answering “calm”" in " ".join(draw_conclusion(made).sentences)


def test_how_the_reference_stands_is_counted():
    """Rivals are better or worse only where their interval leaves out zero."""
    intervals = ((0.01, 0.2), (-0.2, -0.01), (-0.1, 0.1), (0.0, 0.1))
    rows = [{"minus_reference": None}]
    rows += [{"minus_reference": {"mean": 0.0, "low": low, "high": high}} for low, high in intervals]
    said = standing(rows)
    assert said.startswith("Of 4 alternatives, 1 is clearly worse than the reference, 1 is clearly better, and 2 ")
    assert standing(rows[:1]) is None


def test_curves_lie_where_their_figures_are():
    """A better accuracy lies higher, a worse level further right, and what was not tried is not drawn."""
    made = evaluation()
    charts = robustness(made["robustness"], "clip_accuracy")
    assert len({(chart.y.first, chart.y.last) for chart in charts}) == 1
    for chart, rows in zip(charts, made["robustness"].values(), strict=True):
        for line in chart.drawn:
            xs = [x for x, _, _ in line.marks]
            assert xs == sorted(xs) and len(xs) == len(rows)
        (memory, *_, frame) = chart.drawn
        assert all(a[1] < b[1] for a, b in zip(memory.marks, frame.marks, strict=True))
        assert memory.marks[-1][2] == f"with memory, {rows[-1]['text']}: {percent(rows[-1]['memory'])}"
    assert [len(chart.drawn) for chart in charts] == [3, 3, 2, 2, 2, 2]
    assert "75% of frames dropped" in worth_of_time(made["robustness"])
    assert robustness({}, "clip_accuracy") == [] and robustness({"drop": [{"level": 0, "memory": None}]}, "") == []


def test_axes_are_round_and_hold_their_values():
    """Ticks are round and few; a range ends on ticks and holds every value, also a single one."""
    assert axis_ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert axis_ticks(3, 3) == [3]
    for values in ([0.5], [0.98, 1.0], [0.0], [0.331, 0.874], [1.0, 1.0]):
        axis = share_axis("", values)
        assert 0 <= axis.first <= min(values) and max(values) <= axis.last <= 1
        assert axis.last - axis.first >= 0.2 - 1e-9 and 2 <= len(axis.ticks) <= 6
    for values in ([2.0, 2.0], [1e-6, 3.7], [120.0, 4000.0]):
        low, high = around(values, least=0.01)
        assert low <= min(values) and max(values) <= high
        marks = axis_ticks(low, high)
        assert marks[0] == pytest.approx(low) and marks[-1] == pytest.approx(high)


def test_training_with_another_metric_has_a_chart_of_its_own():
    """Losses share a chart; another metric has its own; epochs without a figure are passed over."""
    course = {"epochs": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "validation": [None, 0.5, 0.6], "metric": "loss"}
    (together,) = training(course)
    assert [len(line.points) for line in together.lines] == [3, 2]
    assert [chart.y.title for chart in training(course | {"metric": "accuracy"})] == [
        "training loss",
        "validation accuracy",
    ]
    assert len(training(course | {"validation": None})) == 1
    assert len(training({"epochs": [1], "loss": [2.0], "validation": [2.0], "metric": "loss"})) == 1


def test_strips_follow_the_seconds_that_passed():
    """A run is as wide as it lasted, however many frames it has; a video of one frame fills its strip."""
    made = evaluation(full=False, videos=2)
    made["videos"][0] |= {"times": [0.0, 1.0, 2.0, 8.0, 9.0], "truth": [0, 0, 0, 1, 1], "score": [0.5] * 5}
    made["videos"][0] |= {"memory": [0, 0, 0, 0, 0], "frame": [0, 1, 0, 1, 1], "right": True}
    made["videos"][1] |= {"times": [3.0], "truth": [1], "memory": [1], "frame": [0], "score": [0.9], "right": True}
    changing, single = video_timelines(made)
    truth, frame, memory = (strip.paths for strip in changing.strips)
    assert truth == [("k0", "calm", "M0 8h800"), ("k1", "fight", "M800 8h200")]
    assert frame == [("k0", "calm", "M0 28h100m100 0h600"), ("k1", "fight", "M100 28h100m600 0h200")]
    assert memory == [("k0", "calm", "M0 48h1000")]
    assert (changing.memory, changing.frame) == (0.6, 0.8)
    assert [strip.paths[0][2] for strip in single.strips] == ["M0 8h1000", "M0 28h1000", "M0 48h1000"]


def test_wrong_videos_come_first_and_colours_are_enough():
    """What went wrong comes first; of many classes a video shows its own, and the rest share a colour."""
    made = evaluation(tuple(f"class {i}" for i in range(30)), videos=60, skill=(0.6, 0.1), full=False)
    rows = video_timelines(made)
    assert [row.right for row in rows] == sorted(row.right for row in rows) and {row.right for row in rows} == {0, 1}
    for row in rows:
        assert row.legend[0] == ("k0", row.truth) and row.legend[-1] == ("ko", "other classes")
        assert {color for strip in row.strips for color, _, _ in strip.paths} == {color for color, _ in row.legend}
        assert len(row.legend) == 8


def test_a_matrix_of_many_classes_keeps_every_count():
    """Of many classes those with most mistakes are shown, the others together, and no count is lost."""
    made = evaluation(tuple(f"class {i}" for i in range(50)), videos=100, skill=(0.8, 0.3), full=False)
    counts = made["memory"]["clip_confusion"]
    matrix = confusion_matrices(made)[0]
    assert len(matrix.labels) == len(matrix.rows) == MOST_CLASSES and matrix.others == 50 - MOST_CLASSES + 1
    assert sum(cell.number for row in matrix.rows for cell in row) == 100
    worst = commonest_mistakes(made)[0]
    assert worst[2] == max(n for i, row in enumerate(counts) for j, n in enumerate(row) if i != j)
    assert {worst[0], worst[1]} <= set(matrix.labels)
    hits = [row[i].number for i, row in enumerate(matrix.rows)][:-1]
    assert hits == [counts[int(label.split()[1])][int(label.split()[1])] for label in matrix.labels[:-1]]


def test_numbers_are_written_for_reading():
    """Signs, units and lengths of time are written in one way, zero without a sign."""
    assert [decimal(-0.04), signed(0.04), signed(-1.25, 2), points(0.123, "points")] == [
        "0.0",
        "0.0",
        "−1.25",
        "+12.3\u00a0points",
    ]
    assert [compact_number(n) for n in (0, 999, 1000, 12345, 999_960, 3e9)] == [
        "0",
        "999",
        "1.0k",
        "12k",
        "1.0M",
        "3.0G",
    ]
    assert [duration(s) for s in (3.21, 59.99, 61, 3725)] == [
        "3.2\u00a0s",
        "60.0\u00a0s",
        "1\u00a0min 01\u00a0s",
        "1\u00a0h 02\u00a0min",
    ]
