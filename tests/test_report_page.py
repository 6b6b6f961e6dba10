"""Parts of the report: sentences, charts, strips, matrices and number formats."""

import pytest
from evaluations import evaluation

from liquidvision.report.charts import axis_ticks, percent_axis, round_range
from liquidvision.report.conclusion import describe_dt_gain, difference_interval, draw_conclusion
from liquidvision.report.confusion import MAX_MATRIX_CLASSES, confusion_matrices, most_common_mistakes
from liquidvision.report.curves import robustness_charts, training_charts
from liquidvision.report.number_formats import compact_number, decimal, duration, percent, points, signed
from liquidvision.report.ranking import describe_ranking
from liquidvision.report.report import render_report
from liquidvision.report.timelines import video_timelines

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
def test_the_conclusion_needs_significance(memory, frame, videos, stance):
    """Memory helps or hurts only if the difference is larger than chance; otherwise the page says so."""
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
    conclusion = draw_conclusion(made)
    assert conclusion.stance == stance
    assert conclusion.headline in render_report(made)
    net = abs(round((memory - frame) * videos))
    assert (
        stance == "same"
        or f"{net} {'more' if memory > frame else 'fewer'} of {videos} clips" in conclusion.sentences[0]
    )


def test_clips_are_compared_pairwise():
    """The interval covers videos with clip predictions of both sides, in whole groups."""
    videos = [
        {"name": f"{i}", "group": f"g{i // 2}", "times": [0.0], "truth": [1], "clip_prediction": 1} for i in range(40)
    ]
    for i, video in enumerate(videos):
        video["frame_clip_prediction"] = int(i % 4 > 0)
    low, high = difference_interval(videos, of_clips=True)
    assert 0.1 < low < 0.25 < high < 0.4
    assert difference_interval(
        [*videos, {"name": "x", "times": [0.0], "truth": [0], "clip_prediction": 1}], of_clips=True
    ) == (
        low,
        high,
    )
    assert difference_interval(videos[:2], of_clips=True) is None


def test_changing_labels_are_judged_by_frames_and_whole_groups():
    """If labels change within videos, frames count, with an interval over groups and none for a single group."""
    made = evaluation(ACTIONS, videos=12, whole_clip=False, skill=(4.0, 0.2), full=False)
    conclusion = draw_conclusion(made)
    assert (conclusion.unit, conclusion.stance) == ("frame", "helps")
    for video in made["videos"]:
        video["group"] = "one"
    one_group = draw_conclusion(made)
    assert one_group.stance == "may help"
    assert "too few videos to tell" in " ".join(one_group.sentences)


@pytest.mark.parametrize("whole", [True, False])
def test_few_groups_make_a_rough_interval(whole):
    """The page says that the interval is rough if the videos form few groups."""
    made = evaluation(ACTIONS, videos=24, whole_clip=whole, full=False)
    assert "The interval is rough: the videos form only 6 groups." in draw_conclusion(made).sentences
    for video in made["videos"]:
        video["group"] = video["name"]
    assert "rough" not in " ".join(draw_conclusion(made).sentences)


def test_accuracy_no_better_than_the_most_common_class_is_reported():
    """A model that does not beat the most common class is reported as such."""
    made = evaluation(full=False)
    for side in ("memory", "frame"):
        made[side]["clip_accuracy"] = 0.5
    assert "Neither beats this baseline: always predicting “calm”" in " ".join(draw_conclusion(made).sentences)


def test_the_ranking_counts_clear_differences():
    """An alternative is better or worse only if its interval excludes zero."""
    intervals = ((0.01, 0.2), (-0.2, -0.01), (-0.1, 0.1), (0.0, 0.1))
    rows = [{"minus_reference": None}]
    rows += [{"minus_reference": {"mean": 0.0, "low": low, "high": high}} for low, high in intervals]
    conclusion = describe_ranking(rows)
    assert conclusion.startswith(
        "Of 4 alternatives, 1 is clearly worse than the reference and 1 is clearly better; 2 show no"
    )
    assert describe_ranking(rows[:1]) is None


def test_curves_follow_the_values():
    """Higher accuracy is drawn higher, a worse level further right, and missing values are not drawn."""
    made = evaluation()
    charts = robustness_charts(made["robustness"], "clip_accuracy")
    assert len({(chart.y.first, chart.y.last) for chart in charts}) == 1
    for chart, rows in zip(charts, made["robustness"].values(), strict=True):
        for line in chart.drawn:
            xs = [x for x, _, _ in line.marks]
            assert xs == sorted(xs) and len(xs) == len(rows)
        (memory, *_, frame) = chart.drawn
        assert all(a[1] < b[1] for a, b in zip(memory.marks, frame.marks, strict=True))
        assert memory.marks[-1][2] == f"with memory, {rows[-1]['text']}: {percent(rows[-1]['memory'])}"
    assert [len(chart.drawn) for chart in charts] == [3, 3, 2, 2, 2, 2]
    assert "75% of frames dropped" in describe_dt_gain(made["robustness"])
    assert (
        robustness_charts({}, "clip_accuracy") == []
        and robustness_charts({"drop": [{"level": 0, "memory": None}]}, "") == []
    )


def test_axes_are_round_and_contain_their_values():
    """Ticks are few and round; a range ends on ticks and contains every value, also a single one."""
    assert axis_ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert axis_ticks(3, 3) == [3]
    for values in ([0.5], [0.98, 1.0], [0.0], [0.331, 0.874], [1.0, 1.0]):
        axis = percent_axis("", values)
        assert 0 <= axis.first <= min(values) and max(values) <= axis.last <= 1
        assert axis.last - axis.first >= 0.2 - 1e-9 and 2 <= len(axis.ticks) <= 6
    for values in ([2.0, 2.0], [1e-6, 3.7], [120.0, 4000.0]):
        low, high = round_range(values, min_span=0.01)
        assert low <= min(values) and max(values) <= high
        marks = axis_ticks(low, high)
        assert marks[0] == pytest.approx(low) and marks[-1] == pytest.approx(high)


def test_another_training_metric_has_its_own_chart():
    """Losses share a chart, another metric has its own, and epochs without a value are skipped."""
    course = {"epochs": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "validation": [None, 0.5, 0.6], "metric": "loss"}
    (together,) = training_charts(course)
    assert [len(line.points) for line in together.lines] == [3, 2]
    assert [chart.y.title for chart in training_charts(course | {"metric": "accuracy"})] == [
        "training loss",
        "validation accuracy",
    ]
    assert len(training_charts(course | {"validation": None})) == 1
    assert len(training_charts({"epochs": [1], "loss": [2.0], "validation": [2.0], "metric": "loss"})) == 1


def test_strip_widths_follow_seconds():
    """A run is as wide as its duration; a video of one frame fills its strip."""
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


def test_misclassified_videos_come_first_and_colours_suffice():
    """Misclassified videos come first; with many classes each video has its own colours, and the rest share one."""
    made = evaluation(tuple(f"class {i}" for i in range(30)), videos=60, skill=(0.6, 0.1), full=False)
    rows = video_timelines(made)
    assert [row.right for row in rows] == sorted(row.right for row in rows) and {row.right for row in rows} == {0, 1}
    for row in rows:
        assert row.legend[0] == ("k0", row.truth) and row.legend[-1] == ("ko", "other classes")
        assert {color for strip in row.strips for color, _, _ in strip.paths} == {color for color, _ in row.legend}
        assert len(row.legend) == 8


def test_a_matrix_of_many_classes_keeps_every_count():
    """A large matrix shows the classes with the most mistakes, sums the others, and loses no count."""
    made = evaluation(tuple(f"class {i}" for i in range(50)), videos=100, skill=(0.8, 0.3), full=False)
    counts = made["memory"]["clip_confusion"]
    matrix = confusion_matrices(made)[0]
    assert len(matrix.labels) == len(matrix.rows) == MAX_MATRIX_CLASSES and matrix.others == 50 - MAX_MATRIX_CLASSES + 1
    assert sum(cell.number for row in matrix.rows for cell in row) == 100
    worst = most_common_mistakes(made)[0]
    assert worst[2] == max(n for i, row in enumerate(counts) for j, n in enumerate(row) if i != j)
    assert {worst[0], worst[1]} <= set(matrix.labels)
    hits = [row[i].number for i, row in enumerate(matrix.rows)][:-1]
    assert hits == [counts[int(label.split()[1])][int(label.split()[1])] for label in matrix.labels[:-1]]


def test_number_formats():
    """Signs, units and durations have one format, and zero has no sign."""
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
