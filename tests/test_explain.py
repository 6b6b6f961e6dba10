"""`explain`: the history that it keeps of a stream, the picture, and the command."""

import re
import signal
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import picture
from live import segment, station

from liquidvision import Frame, Prediction
from liquidvision.cli.main import main
from liquidvision.errors import SinkError, SourceError, UsageError
from liquidvision.rendering import history as history_room
from liquidvision.rendering.chart import LEFT, RIGHT, WIDTH, ChartSink
from liquidvision.rendering.history import MAX_THUMBNAILS, MIN_THUMBNAIL_HEIGHT, StreamHistory, make_thumbnail
from liquidvision.rendering.primitives import class_color

LABELS = ("red", "green", "blue")


def step(time: float, top: int = 0, alone: int = 0, units: int = 4, index: int = 0) -> tuple[Frame, Prediction]:
    """Return a frame at `time` and a prediction for it."""
    scores, frame_scores = np.full(3, 0.1, np.float32), np.full(3, 0.1, np.float32)
    scores[top] = frame_scores[alone] = 0.8
    taus = np.geomspace(0.1, 10, units).astype(np.float32) if units else None
    state = np.full(units, 0.5, np.float32) if units else None
    frame = Frame(np.full((36, 64, 3), 90, np.uint8), index, round(time * 1000), Fraction(1, 1000), duration=40)
    return frame, Prediction(index, time, 0.04, LABELS, scores, frame_scores, taus, state)


def history_of(times, tops=None) -> StreamHistory:
    history = StreamHistory()
    for i, seconds in enumerate(times):
        history.add(*step(seconds, tops[i] if tops else 0, i % 2))
    return history


def draw(path: Path, steps) -> np.ndarray:
    """The picture of a stream, (h, w, 3) RGB."""
    with ChartSink(path, title="clip.mp4 · model tiny") as chart:
        for frame, prediction in steps:
            chart.write(frame, prediction)
    return cv2.imread(str(path))[..., ::-1]


def test_flips_and_repeats_are_counted_as_everywhere():
    """Flips are counted from instant to instant; a repeated frame counts as repeated, not as a flip."""
    history = history_of((0.0, 0.04, 0.04, 0.08, 0.12), tops=(0, 0, 1, 0, 2))
    assert (history.flips, history.frame_flips, list(history.repeats)) == (1, 2, [0.04])


def test_a_clock_that_runs_backwards_goes_on_in_the_picture():
    """When the clock steps back, the time axis continues from the last instant, with the same distances."""
    history = history_of((5.0, 5.1, 1.0, 1.1, 0.0, 0.5))
    np.testing.assert_allclose(history.times, [5.0, 5.1, 5.1, 5.2, 5.2, 5.7])
    assert history.backwards == 2 and not history.repeats
    assert history.end == pytest.approx(5.74)


def test_gaps_are_pauses_longer_than_usual():
    """A pause above a second is a gap if frames are close together, and none if they always are that far apart."""
    history = history_of((0.0, 0.1, 0.2, 3.0, 3.1))
    assert history.gaps == [(pytest.approx(0.3), 3.0)]
    assert history_of(range(0, 20, 2)).gaps == []


def test_memory_is_bounded(monkeypatch):
    """In a long stream, rows are thinned evenly, every frame keeps its labels, and thumbnails stay few."""
    monkeypatch.setattr(history_room, "MAX_ROWS", 100)
    count = 3000
    history = history_of([0.04 * i for i in range(count)])
    rows = np.array([row.frame for row in history.rows])
    assert 50 <= len(rows) <= 101 and rows[0] == 0
    assert len(set(np.diff(rows))) == 1 and count - rows[-1] <= rows[1]
    assert history.label_indices.shape == (2, count) and history.frame_flips == count - 1
    times = np.array([time for time, _ in history.thumbnails])
    assert MAX_THUMBNAILS / 4 < len(times) <= MAX_THUMBNAILS
    assert np.diff(times).max() < 0.04 * count / 25


def test_frames_of_one_instant_are_one_thumbnail():
    """Frames at the same time share one thumbnail."""
    assert len(history_of([1.0] * 1000).thumbnails) == 1


def test_thumbnails_are_means():
    """A thumbnail is about 135 pixels high, has the mean colour of the picture, and is not larger than it."""
    image = picture(3, 1280, 720)
    small = make_thumbnail(image)
    assert MIN_THUMBNAIL_HEIGHT <= small.shape[0] < 2 * MIN_THUMBNAIL_HEIGHT and small.shape[1] / small.shape[
        0
    ] == pytest.approx(16 / 9, 0.02)
    np.testing.assert_allclose(small.mean((0, 1)), image.mean((0, 1)), atol=1)
    for size in ((1, 1), (7, 300), (300, 7)):
        assert make_thumbnail(picture(0, *size)).shape == (size[1], size[0], 3)


def test_the_picture_shows_the_labels_where_they_were(tmp_path):
    """The strips have the colour of each label while it was the most probable, and are empty in a gap."""
    steps = [step(0.04 * i, top=int(i >= 50), alone=2) for i in range(100)]
    steps += [step(12 + 0.04 * i, top=1, alone=2) for i in range(100)]
    image = draw(tmp_path / "out.png", steps)
    across = image.shape[1] * (WIDTH - LEFT - RIGHT) / WIDTH

    def longest(color: int, least: float) -> int:
        """Return the number of pixel rows with at least this share of the axis in the colour of a class."""
        return ((image == class_color(color)).all(2).sum(1) > least * across).sum()

    assert longest(2, 0.45) > 15  # each frame alone, 8 of 16 s
    assert longest(1, 0.35) > 15  # with memory, 6 of 16 s
    assert longest(0, 0.12) > 15 and longest(0, 0.2) < 5  # 2 of 16 s
    assert longest(2, 0.6) < 5  # the gap is empty


def test_panels_without_data_are_left_out(tmp_path):
    """Without time constants, and without a hidden state, the picture is smaller by their panels."""
    full = [step(0.04 * i) for i in range(5)]
    without = [(frame, replace(p, time_constants=None)) for frame, p in full]
    neither = [(frame, replace(p, hidden_state=None)) for frame, p in without]
    heights = [draw(tmp_path / f"{i}.png", steps).shape[0] for i, steps in enumerate((full, without, neither))]
    assert heights[0] > heights[1] > heights[2] > 100


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".PNG"])
def test_formats(tmp_path, suffix):
    """The suffix selects the format, and the final name appears only when the picture is complete."""
    path = tmp_path / f"out{suffix}"
    with ChartSink(path) as chart:
        chart.write(*step(0))
        assert not path.exists()
    starts = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    assert path.read_bytes().startswith(starts[suffix.lower()])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_odd_streams_are_drawn(tmp_path):
    """One frame, frames at one instant, odd labels, and time constants that are not finite are drawn."""
    frame, prediction = step(3)
    odd = np.array([0, np.inf, np.nan, 1], np.float32)
    strange = replace(prediction, labels=("走る", "$x_1$\n" * 30, ""), time_constants=odd)
    streams = [[step(3)], [step(3), step(3)], [(frame, strange)], [step(-2), step(-1.96)], [step(0), step(1e6)]]
    for i, steps in enumerate(streams):
        assert draw(tmp_path / f"{i}.png", steps).std() > 1


def test_without_a_frame_nothing_is_drawn(tmp_path):
    """Without a frame, one line says so and no file is left; another suffix is refused at once."""
    with pytest.raises(SinkError, match="no frame"), ChartSink(tmp_path / "out.png"):
        pass
    with pytest.raises(UsageError, match=r"\.png, \.svg, \.pdf"):
        ChartSink(tmp_path / "out.gif")
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_breaks_off_leaves_a_part(tmp_path):
    """After a source that broke off, the frames so far are drawn under the temporary name."""
    with pytest.raises(SourceError), ChartSink(tmp_path / "out.png") as chart:
        chart.write(*step(0))
        raise SourceError("broken off")
    assert [path.name for path in tmp_path.iterdir()] == ["out.part.png"]


@pytest.fixture
def run(monkeypatch, capsys, tmp_path, model_folder):
    """Run `explain` with the tiny model in an empty folder; return the exit code, the output and the errors."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    terminate = signal.getsignal(signal.SIGTERM)

    def run(*arguments) -> tuple[int, str, str]:
        command = ["liquidvision", "explain", *map(str, arguments), "-m", str(model_folder)]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    yield run
    signal.signal(signal.SIGTERM, terminate)


def test_the_command(run, make_video):
    """A clip is drawn into runs/explain, the next one into runs/explain-2; -q prints nothing."""
    clip = make_video("clip.mp4")
    code, out, err = run(clip)
    assert (code, err) == (0, "") and "20 frames" in out and "runs/explain/clip.png" in out
    assert run(clip, "-q", "--max-frames", 5) == (0, "", "")
    assert sorted(str(p) for p in Path().rglob("*.*")) == ["runs/explain-2/clip.png", "runs/explain/clip.png"]
    assert "5 frames" in run(clip, "-o", "a.svg", "--start", 0.2, "--end", 0.6, "--vid-stride", 2)[1]
    assert Path("a.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_the_command_refuses_and_fails_in_one_line(run, make_video, tmp_path):
    """Impossible options exit with 2, unreadable sources with 1; each prints one line, and no file is left."""
    clip, text = make_video("clip.mp4"), tmp_path / "text.mp4"
    text.write_text("no video")
    for arguments, code, expected in (
        ([clip, "-o", "out.gif"], 2, ".png or .svg or .pdf"),
        ([clip, "--max-frames", 0], 2, "--max-frames"),
        ([clip, "--start", 2, "--end", 1], 2, "end"),
        ([clip, "--reader", "vlc"], 2, "vlc"),
        ([clip, "--device", "abacus"], 2, "abacus"),
        ([text], 1, "text.mp4"),
        (["none.mp4"], 1, "none.mp4"),
        ([tmp_path], 1, str(tmp_path)),
        ([clip, "--start", 99], 1, "no frame"),
    ):
        got, out, err = run(*arguments)
        assert (got, out) == (code, "") and expected in err and err.count("\n") == 1, (arguments, got, err)
        assert "unexpected" not in err and not [p for p in Path().rglob("*") if p.is_file()], arguments


def test_an_existing_picture_is_kept(run, make_video):
    """A picture that already exists is replaced with --exist-ok only."""
    clip = make_video("clip.mp4")
    Path("out.png").write_text("mine")
    code, _, err = run(clip, "-o", "out.png")
    assert code == 2 and "--exist-ok" in err and Path("out.png").read_text(encoding="utf-8") == "mine"
    assert run(clip, "-o", "out.png", "--exist-ok")[0] == 0
    assert Path("out.png").read_bytes().startswith(b"\x89PNG")


def test_interrupted(run, make_video, monkeypatch):
    """Ctrl-C draws the frames so far; the exit code is 130."""
    write = ChartSink.write

    def interrupted(chart: ChartSink, frame: Frame, prediction: Prediction) -> None:
        write(chart, frame, prediction)
        if prediction.index == 6:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(ChartSink, "write", interrupted)
    code, out, err = run(make_video("clip.mp4"), "-o", "out.png")
    assert (code, err) == (130, "") and "7 frames" in out and "interrupted" in out
    assert [path.name for path in Path().iterdir()] == ["out.png"]


def test_dropped_frames_are_reported(run, monkeypatch):
    """Frames of a live source that are dropped because drawing is slower are counted in the summary, as by `infer`."""
    write = ChartSink.write

    def slow(chart: ChartSink, frame: Frame, prediction: Prediction) -> None:
        time.sleep(0.1)
        write(chart, frame, prediction)

    monkeypatch.setattr(ChartSink, "write", slow)
    with station() as server:
        server.pieces = segment(500, (64, 48))
        code, out, err = run(server.url, "-o", "out.png", "--max-frames", 25)
    assert (code, err) == (0, "") and "25 frames" in out
    assert re.search(r"[1-9]\d* frames dropped", out), out
