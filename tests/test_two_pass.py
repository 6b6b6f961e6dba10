"""Two passes over recordings, and bounded look-ahead: the same numbers however they are computed, nothing lost."""

import json
import os
import signal
import struct
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import build_model, picture, picture_frames
from web import encode_jpeg

from liquidvision import ArrayReader, Frame, LiquidHead, Model, Overlay, RecordSink, Session, infer, open_video, predict
from liquidvision.errors import SinkError, SourceError, UsageError
from liquidvision.inference import recording as module
from liquidvision.inference.batching import batched_model
from liquidvision.inference.look_ahead import MAX_WAITING, LookAhead
from liquidvision.inference.recording import Recording, predict_embeddings
from liquidvision.models.model import share_tensors
from liquidvision.rendering.history import StreamHistory
from liquidvision.web.connection import Connection
from liquidvision.web.shared_model import SharedModel

TICK = Fraction(1, 1000)


def two_sided(*, seed: int = 0) -> Model:
    """A small model with a backward head of random weights, whose labels change from picture to picture."""
    model = build_model(seed=seed)
    torch.manual_seed(seed + 1)
    backward = LiquidHead(model.head.config)
    backward.readout.weight.data *= 20
    share_tensors(model.head, backward)
    return Model(model.backbone, model.head, model.labels, name="two-sided", backward_head=backward)


@pytest.fixture(scope="module")
def model() -> Model:
    return two_sided()


def frames_at(times: list[float]) -> list[Frame]:
    """Frames without pictures at these seconds."""
    return [Frame(np.zeros((0, 0, 3), np.uint8), i, round(t * 1000), TICK) for i, t in enumerate(times)]


def embeddings(count: int, model: Model, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, model.backbone.dim, generator=torch.Generator().manual_seed(seed))


def by_hand(model: Model, times: list[float], xs: torch.Tensor) -> np.ndarray:
    """The mixed scores, computed whole, with the formula."""
    steps = torch.tensor([1.0, *np.diff(times)], dtype=torch.float32)
    back = torch.tensor([1.0, *np.diff(times)[::-1].copy()], dtype=torch.float32)
    with torch.inference_mode():
        forward = model.head(xs[None], steps[None]).logits[0].log_softmax(-1)
        backward = model.backward_head(xs.flip(0)[None], back[None]).logits[0].flip(0).log_softmax(-1)
        return ((forward + backward) / 2).softmax(-1).numpy()


def scores_of(predictions) -> np.ndarray:
    return np.stack([prediction.scores for prediction in predictions])


IRREGULAR = np.random.default_rng(5).choice([0.01, 0.04, 0.3, 1.2], 70).cumsum().round(3).tolist()


@pytest.mark.parametrize("chunk", [1, 7, 256])
def test_chunks_from_the_end_equal_the_whole(model, monkeypatch, chunk):
    """The second pass gives the same scores in chunks of any size as in one piece, by the formula."""
    monkeypatch.setattr(module, "CHUNK_FRAMES", chunk)
    xs = embeddings(70, model)
    predictions = list(predict_embeddings(Session(model), frames_at(IRREGULAR), xs, shortest=0))
    np.testing.assert_allclose(scores_of(predictions), by_hand(model, IRREGULAR, xs), atol=1e-5)
    causal = Session(model).push_embeddings(frames_at(IRREGULAR), xs)
    np.testing.assert_allclose(np.stack([p.causal_scores for p in predictions]), scores_of(causal), atol=1e-6)
    assert not any(p.causal for p in predictions) and all(p.causal for p in causal)
    for two, one in zip(predictions, causal, strict=True):
        assert (two.index, two.time, two.dt) == (one.index, one.time, one.dt)
        np.testing.assert_allclose(two.hidden_state, one.hidden_state, atol=1e-6)
        np.testing.assert_allclose(two.time_constants, one.time_constants, atol=1e-6)


def test_an_infinite_look_ahead_equals_two_passes(model):
    """A look-ahead that never ends gives the scores of two passes, whatever pieces the frames come in."""
    xs, frames = embeddings(70, model), frames_at(IRREGULAR)
    two = scores_of(predict_embeddings(Session(model), frames, xs, shortest=0))
    for size in (1, 9, 70):
        waiting, pairs = LookAhead(Session(model), float("inf")), []
        for start in range(0, 70, size):
            pairs += waiting.push(frames[start : start + size], xs[start : start + size])
        assert not pairs
        pairs = waiting.finish()
        assert [frame for frame, _ in pairs] == frames
        np.testing.assert_allclose(scores_of(p for _, p in pairs), two, atol=1e-5)


def test_a_look_ahead_knows_its_seconds_and_no_more(model):
    """Each frame is predicted from the frames until its time plus the seconds, and comes as soon as these are seen."""
    xs, frames = embeddings(70, model), frames_at(IRREGULAR)
    expected = []
    for i, time in enumerate(IRREGULAR):
        stop = sum(other <= time + 0.5 + 1e-6 for other in IRREGULAR)
        expected.append(scores_of(predict_embeddings(Session(model), frames[:stop], xs[:stop], shortest=0))[i])
    for size in (1, 9):
        waiting, scores = LookAhead(Session(model), 0.5), []
        for start in range(0, 70, size):
            pairs = waiting.push(frames[start : start + size], xs[start : start + size])
            scores += [prediction.scores for _, prediction in pairs]
            newest = IRREGULAR[min(start + size, 70) - 1]
            assert len(scores) == sum(time + 0.5 - 1e-6 <= newest for time in IRREGULAR[: start + size])
            assert all(prediction.look_ahead == 0.5 and not prediction.causal for _, prediction in pairs)
        scores += [prediction.scores for _, prediction in waiting.finish()]
        np.testing.assert_allclose(np.stack(scores), np.stack(expected), atol=1e-5)


def test_frames_that_wait_are_bounded(model):
    """Where the clock stands still, frames are predicted all the same when too many wait."""
    waiting, done = LookAhead(Session(model), 0.5), 0
    xs = embeddings(50, model)
    for _ in range(0, MAX_WAITING + 100, 50):
        done += len(waiting.push(frames_at([1.0] * 50), xs))
    assert done == 100


def test_resets_of_the_clock_are_resets_of_both_sides(model):
    """With the gap policy `reset`, the parts before and after a gap do not know of each other."""
    times = [i * 0.04 for i in range(20)] + [60 + i * 0.04 for i in range(20)]
    xs, frames = embeddings(40, model), frames_at(times)
    whole = scores_of(predict_embeddings(Session(model, gap_policy="reset"), frames, xs, shortest=0))
    parts = [scores_of(predict_embeddings(Session(model), frames[a : a + 20], xs[a : a + 20])) for a in (0, 20)]
    np.testing.assert_allclose(whole, np.concatenate(parts), atol=1e-5)
    waiting = LookAhead(Session(model, gap_policy="reset"), float("inf"))
    first = waiting.push(frames, xs)
    assert len(first) == 20
    ahead = scores_of(p for _, p in [*first, *waiting.finish()])
    np.testing.assert_allclose(ahead, whole, atol=1e-5)


def test_the_calm_timeline_does_not_cross_gaps_or_steps_back(model):
    """Short runs beside a gap or a step back of the clock go to the side that they belong to."""
    times = [0.0, 0.04, 0.08, 60.0, 60.04, 60.08, 5.0, 5.04, 5.08]
    frames, xs = frames_at(times), embeddings(9, model, 3)
    with Recording(model, keep_embeddings=False) as recording:
        recording.append(frames, xs, *Session(model).run(frames, xs))
        recording.dissolve_runs(10.0, 5.0)
        labels = [prediction.label for prediction in recording.predictions()]
    causal = [prediction.label for prediction in Session(model).push_embeddings(frames, xs)]
    for part in (slice(0, 3), slice(3, 6), slice(6, 9)):
        assert len(set(labels[part])) == 1 and labels[part][0] in causal[part]


def test_a_decided_label_comes_first(model):
    """The label of a dissolved run is the prediction's label and first in `top`, with its own probability."""
    xs, frames = embeddings(70, model), frames_at([i * 0.04 for i in range(70)])
    calm = list(predict_embeddings(Session(model), frames, xs))
    changed = [p for p in calm if p.label_index != p.scores.argmax()]
    assert changed
    for p in changed:
        assert p.top(3)[0] == (p.label, p.score) and p.score == p.scores[p.label_index] < p.scores.max()
        assert sorted(p.top(3)) == sorted(zip(p.labels, p.scores.tolist(), strict=True))


def test_predict_gives_the_same_from_files_in_any_batch(model, make_video):
    """`predict` with two passes, and with a look-ahead, yields every frame of a file, whatever the batch is."""
    clip = make_video(pts=[0, 512, 1024, 3000, 3001, 9000, *range(12000, 40000, 700)])
    with open_video(clip) as video:
        frames = list(video)
    for options in ({"two_pass": True}, {"look_ahead": 0.2}, {"shortest_run": 0.1}):
        results = [list(predict(clip, model, batch=batch, **options)) for batch in (1, 5, None)]
        for pairs in results:
            assert [frame.pts for frame, _ in pairs] == [frame.pts for frame in frames]
            np.testing.assert_array_equal(pairs[3][0].image, frames[3].image)
            assert [p.label for _, p in pairs] == [p.label for _, p in results[0]]
            np.testing.assert_allclose(scores_of(p for _, p in pairs), scores_of(p for _, p in results[0]), atol=1e-5)


def test_causal_numbers_do_not_change(model, make_video):
    """A backward head changes nothing of causal predictions, bit for bit."""
    clip = make_video()
    without = Model(model.backbone, model.head, model.labels, name="one-sided")
    for (_, one), (_, other) in zip(predict(clip, model), predict(clip, without), strict=True):
        assert one.scores.tobytes() == other.scores.tobytes() and one.causal_scores is None and one.decided is None


def test_a_model_folder_keeps_its_backward_head(model, tmp_path):
    """A saved model has the same backward head; what it shares is stored once; states of the model without it fit."""
    model.save_pretrained(tmp_path / "a")
    loaded = Model.from_pretrained(tmp_path / "a")
    assert loaded.backward_head is not None and loaded.fingerprint() == model.fingerprint()
    for name, value in model.backward_head.state_dict().items():
        assert torch.equal(loaded.backward_head.state_dict()[name], value), name
    assert not any("backward_head.whitening" in name for name in model.tensors())
    without = Model(model.backbone, model.head, model.labels, name="two-sided")
    assert without.fingerprint() == model.fingerprint()
    xs = embeddings(10, model)
    frames = frames_at([i * 0.04 for i in range(10)])
    one, other = (scores_of(predict_embeddings(Session(each), frames, xs)) for each in (model, loaded))
    np.testing.assert_array_equal(one, other)


def test_what_cannot_look_ahead_says_so(model, make_video):
    """No backward head, a source that is read once, impossible seconds, and contradictions are refused in one line."""
    clip, without = make_video(), build_model()
    for options in ({"two_pass": True}, {"look_ahead": 0.5}):
        with pytest.raises(UsageError, match=r"has no backward head.*--two-pass"):
            next(predict(clip, without, **options))
    with pytest.raises(UsageError, match="can be read only once"):
        next(predict(picture_frames(3), model, two_pass=True))
    with pytest.raises(UsageError, match="expected seconds above 0"):
        next(predict(clip, model, look_ahead=0.0))
    with pytest.raises(UsageError, match="expected seconds, 0 or more"):
        next(predict(clip, model, shortest_run=-1.0))
    with pytest.raises(UsageError, match="give one of them"):
        next(predict(clip, model, look_ahead=0.5, two_pass=True))
    assert len(list(predict(clip, without, shortest_run=0.3))) == 20  # needs no second head


def test_streams_that_share_a_model_look_ahead_too(model, make_video):
    """Two sources at once get the numbers that each gets alone."""
    clips = [make_video("a.mp4"), make_video("b.mp4", first=9)]
    for options in ({"two_pass": True}, {"look_ahead": 0.2}):
        alone = [scores_of(p for _, p in predict(clip, model, **options)) for clip in clips]
        together: list[np.ndarray] = [np.zeros(0), np.zeros(0)]
        with batched_model(model) as shared:

            def work(i: int, shared=shared, options=options, together=together) -> None:
                together[i] = scores_of(p for _, p in predict(clips[i], shared, **options))

            threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_infer_writes_what_two_passes_say(model, make_video, tmp_path):
    """Video and records hold every frame; the records say that they are not causal; nothing else is left."""
    clip, out = make_video(sound=True), tmp_path / "out"
    out.mkdir()
    sinks = [RecordSink(out / "a.jsonl"), RecordSink(out / "a.csv")]
    summary = infer(clip, model, video=out / "a.mp4", records=sinks, two_pass=True, overlay=Overlay(compare=True))
    expected = [prediction for _, prediction in predict(clip, model, two_pass=True)]
    lines = records(out / "a.jsonl")
    assert [line["top"][0]["label"] for line in lines] == [p.label for p in expected]
    assert all(line["causal"] is False and "look_ahead" not in line for line in lines)
    assert (out / "a.csv").read_text().splitlines()[0].startswith("index,time,dt,causal,label_1")
    assert summary.frames == 20 and not summary.interrupted
    with open_video(out / "a.mp4") as video:
        assert video.info.has_audio and len(list(video)) == 20
    assert sorted(path.name for path in out.iterdir()) == ["a.csv", "a.jsonl", "a.mp4"]
    infer(clip, model, records=[RecordSink(out / "b.jsonl")], look_ahead=0.2)
    assert all((line["causal"], line["look_ahead"]) == (False, 0.2) for line in records(out / "b.jsonl"))
    infer(clip, model, records=[RecordSink(out / "c.jsonl")])
    assert not any("causal" in line for line in records(out / "c.jsonl"))


def test_records_alone_need_no_second_reading(model, tmp_path):
    """Frames that can be read once give records of two passes, and no video."""
    frames = picture_frames(12)
    infer(iter(frames), model, records=[RecordSink(tmp_path / "a.jsonl")], two_pass=True)
    assert len(records(tmp_path / "a.jsonl")) == 12
    with pytest.raises(UsageError, match="can be read only once"):
        infer(iter(frames), model, video=tmp_path / "a.mp4", two_pass=True)
    assert not (tmp_path / "a.mp4").exists()


@pytest.mark.parametrize("options", [{"two_pass": True}, {"look_ahead": 0.2}])
def test_max_frames_counts_all_frames(model, make_video, tmp_path, options):
    """`max_frames` ends the source there: no frame after it is known of or written."""
    clip = make_video()
    summary = infer(clip, model, records=[RecordSink(tmp_path / "a.jsonl")], max_frames=7, **options)
    assert summary.frames == 7 and len(records(tmp_path / "a.jsonl")) == 7
    xs, frames = [], []
    with open_video(clip) as video:
        for frame in list(video)[:7]:
            frames.append(frame)
            xs.append(model.embed([frame.pixels])[0])
    if "two_pass" in options:
        expected = predict_embeddings(Session(model), frames, torch.stack(xs))
        labels = [line["top"][0]["label"] for line in records(tmp_path / "a.jsonl")]
        assert labels == [p.label for p in expected]


def broken(count: int):
    """A reader that can be read again, and breaks off after some pictures."""

    def pictures():
        for i in range(count):
            yield i * 0.04, picture(i)
        raise SourceError("the cable was pulled")

    reader = ArrayReader(pictures())
    reader.reopen = lambda: broken(count)
    return reader


@pytest.mark.parametrize("options", [{"two_pass": True}, {"look_ahead": 0.2}, {"shortest_run": 0.1}])
def test_a_source_that_breaks_off_loses_no_frame(model, tmp_path, options):
    """Frames before the break are written, and the files stay under their temporary names; the error is raised."""
    with pytest.raises(SourceError, match="cable"):
        infer(broken(9), model, video=tmp_path / "a.mp4", records=[RecordSink(tmp_path / "a.jsonl")], **options)
    part = tmp_path / "a.part.jsonl"
    assert len(records(part)) == 9 and not (tmp_path / "a.jsonl").exists()
    pairs = predict(broken(9), model, **options)
    seen = []
    with pytest.raises(SourceError, match="cable"):
        seen.extend(frame.index for frame, _ in pairs)
    assert len(seen) <= 9


def test_a_file_that_changes_between_the_passes_is_noticed(model, make_video, tmp_path):
    """If the second reading gives other frames, that is an error and not wrong labels."""
    clip, other = make_video("a.mp4"), make_video("b.mp4", pts=range(0, 7 * 600, 600))
    reader = open_video(clip)
    reader.reopen = lambda: open_video(other)
    with pytest.raises(SourceError, match="gave other frames"):
        infer(reader, model, video=tmp_path / "out.mp4", two_pass=True)
    assert not (tmp_path / "out.mp4").exists()


def test_a_full_disk_is_one_line(model, make_video, monkeypatch, tmp_path):
    """No room for the first pass is an error that says where room is needed."""

    def full(self, start, rows):
        raise self._error(OSError(28, "No space left on device"))

    monkeypatch.setattr(module.Rows, "write", full)
    with pytest.raises(SinkError, match=f"cannot keep the first pass in {tmp_path}.*need room there"):
        infer(make_video(), model, records=[RecordSink(tmp_path / "a.jsonl")], two_pass=True)


def ctrl_c_after(count: int):
    """What presses Ctrl-C once after some calls."""
    calls = 0

    def press(prediction) -> None:
        nonlocal calls
        calls += 1
        if calls == count:
            os.kill(os.getpid(), signal.SIGINT)

    return press


def test_ctrl_c_in_the_first_pass_writes_what_was_read(model, make_video, tmp_path, caplog):
    """Ctrl-C while the source is read gives complete files of the frames until then."""
    clip = make_video(pts=range(0, 64 * 512, 512))
    summary = infer(
        clip,
        model,
        video=tmp_path / "a.mp4",
        records=[RecordSink(tmp_path / "a.jsonl")],
        two_pass=True,
        on_first_look=ctrl_c_after(10),
    )
    assert summary.interrupted and 10 <= summary.frames < 64
    assert "stopped reading" in caplog.text
    with open_video(tmp_path / "a.mp4") as video:
        assert len(list(video)) == summary.frames == len(records(tmp_path / "a.jsonl"))


def test_ctrl_c_in_the_second_pass_finishes_the_files(model, make_video, tmp_path):
    """Ctrl-C while files are written finishes them with the frames until then, also after one in the first pass."""
    clip = make_video(pts=range(0, 64 * 512, 512))
    for name, first in (("a", None), ("b", ctrl_c_after(20))):
        summary = infer(
            clip,
            model,
            video=tmp_path / f"{name}.mp4",
            records=[RecordSink(tmp_path / f"{name}.jsonl")],
            two_pass=True,
            on_first_look=first,
            on_frame=ctrl_c_after(5),
        )
        assert summary.interrupted and summary.frames == 5
        with open_video(tmp_path / f"{name}.mp4") as video:
            assert len(list(video)) == 5 == len(records(tmp_path / f"{name}.jsonl"))


def test_ctrl_c_in_the_first_pass_of_a_batch_leaves_nothing(model, make_video, tmp_path):
    """Where only complete files count, Ctrl-C in the first pass ends at once and leaves no file."""
    with pytest.raises(KeyboardInterrupt):
        infer(
            make_video(),
            model,
            records=[RecordSink(tmp_path / "a.jsonl")],
            two_pass=True,
            complete_only=True,
            on_first_look=ctrl_c_after(3),
        )
    assert not list(tmp_path.glob("*a.jsonl*"))


def test_the_command_looks_twice(run, make_video, model, tmp_path):
    """`infer --two-pass` and its sisters work on several sources, resume, and refuse what cannot be."""
    model.save_pretrained(tmp_path / "m")
    clips = [make_video("a.mp4"), make_video("b.mp4", first=9)]
    ran = run("infer", *clips, "-m", tmp_path / "m", "--two-pass", "-o", "out", "--save-json", "records", "--compare")
    assert ran.code == 0, ran.err
    assert sorted(path.name for path in Path("out").glob("*.mp4")) == ["a.mp4", "b.mp4"]
    again = run("infer", *clips, "-m", tmp_path / "m", "--two-pass", "-o", "out", "--save-json", "records", "--resume")
    assert again.code == 0 and "2 of 2 sources are already complete" in again.err
    ran = run("infer", clips[0], "-m", tmp_path / "m", "--look-ahead", "0.2", "--no-save", "--save-csv", "x.csv")
    assert ran.code == 0 and ",0.2," in Path("x.csv").read_text().splitlines()[1]
    for wrong in ("11", "0"):
        ran = run("infer", clips[0], "-m", tmp_path / "m", "--no-save", "--look-ahead", wrong)
        assert ran.code == 2 and "expected seconds above 0" in ran.err
    build_model().save_pretrained(tmp_path / "one")
    ran = run("infer", clips[0], "-m", tmp_path / "one", "--two-pass", "--no-save")
    assert ran.code == 2 and ran.err.count("\n") == 1 and "no backward head" in ran.err


@pytest.mark.parametrize("more", [("--vid-stride", "3"), ("--adaptive",), ("--start", "0.2", "--end", "0.6")])
def test_two_passes_go_with_other_options(run, make_video, model, tmp_path, more):
    """Strides, adaptive embedding and cuts write the frames that one pass writes."""
    model.save_pretrained(tmp_path / "m")
    clip = make_video()
    for name, option in (("one", ()), ("two", ("--two-pass",))):
        ran = run(
            "infer", clip, "-m", tmp_path / "m", "-o", f"{name}.mp4", "--save-json", f"{name}.jsonl", *more, *option
        )
        assert ran.code == 0, ran.err
    one, two = (records(Path(f"{name}.jsonl")) for name in ("one", "two"))
    assert [(r["index"], r["time"], r["dt"]) for r in one] == [(r["index"], r["time"], r["dt"]) for r in two]


def test_memory_of_a_long_recording_is_bounded(tmp_path):
    """The memory of a recording grows by some bytes a frame, far less than an embedding."""
    program = """
import resource, sys, torch
from fractions import Fraction
import numpy as np
from conftest import build_model
from test_two_pass import two_sided, frames_at
from liquidvision import Session
from liquidvision.inference.recording import Recording
torch.set_num_threads(1)
model = two_sided()
session = Session(model)
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with Recording(model, keep_embeddings=True, folder=sys.argv[1]) as recording:
    xs = torch.randn(500, model.backbone.dim)
    for part in range(40):
        frames = frames_at([part * 20 + i * 0.04 for i in range(500)])
        recording.append(frames, xs, *session.run(frames, xs))
        if part == 4:
            recording_so_far = len(recording)
            before = peak()
    recording.add_second_pass()
    recording.dissolve_runs(0.3, 5.0)
    for prediction in recording.predictions():
        pass
    print((peak() - before) * 1024 / (len(recording) - recording_so_far), 4 * model.backbone.dim)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, env=environment, check=False
    )
    assert ran.returncode == 0, ran.stderr
    grown, embedding = map(float, ran.stdout.split())
    assert grown < embedding


def test_explain_draws_what_two_passes_say(run, make_video, model, tmp_path):
    """`explain` draws recordings with two passes and calm timelines, of the given number of frames."""
    model.save_pretrained(tmp_path / "m")
    clip = make_video()
    for number, options in enumerate((("--two-pass",), ("--shortest-run", "0.1"), ("--two-pass", "--max-frames", "7"))):
        ran = run("explain", clip, "-m", tmp_path / "m", "-o", f"{number}.png", *options)
        assert ran.code == 0 and f"{7 if number == 2 else 20} frames" in ran.out, ran.err
        assert Path(f"{number}.png").stat().st_size > 1000
    history = StreamHistory()
    for frame, prediction in predict(clip, model, two_pass=True):
        history.add(frame, prediction)
    assert history.lane_names[1:] == ("with memory", "looking ahead") and history.label_indices.shape == (3, 20)
    causal = [prediction.label_index for _, prediction in predict(clip, model)]
    assert history.label_indices[1].tolist() == causal


def test_the_page_gets_both_answers(model):
    """A client of the page gets the causal answer at once, and the one that looks ahead when it is known."""
    connection = Connection(SharedModel(model, look_ahead=0.2))
    assert connection.hello_message()["look_ahead"] == 0.2
    frames = picture_frames(12)
    answers = [connection.handle_frame(struct.pack("<d", f.time) + encode_jpeg(f.image)) for f in frames]
    assert all(each[0]["type"] == "prediction" for each in answers)
    ahead = [message for each in answers for message in each[1:]]
    assert [message["index"] for message in ahead] == list(range(7))
    assert {(message["type"], message["look_ahead"]) for message in ahead} == {("ahead", 0.2)}
    connection.restart_stream()
    assert len(connection.handle_frame(struct.pack("<d", 9.0) + encode_jpeg(frames[0].image))) == 1


def test_webcam_refuses_a_look_ahead_that_cannot_be(run, tmp_path):
    """`webcam --look-ahead` is checked before a window or a page is opened."""
    model_folder = tmp_path / "one"
    build_model().save_pretrained(model_folder)
    ran = run("webcam", "--web", "--no-browser", "-m", model_folder, "--look-ahead", "60")
    assert ran.code == 2 and "expected seconds above 0, up to 10" in ran.err
    ran = run("webcam", "--web", "--no-browser", "-m", model_folder, "--look-ahead", "0.5")
    assert ran.code == 2 and "no backward head" in ran.err
