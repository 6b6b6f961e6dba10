"""`infer --on`: rules over a source, and their events in a log, at a web address, and after a kill."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from alternating import alternating_model
from conftest import picture_frames
from receivers import HttpReceiver, wait_until

import liquidvision as lv
from liquidvision.triggers.dispatch import EventSink
from liquidvision.triggers.engine import EventEngine
from liquidvision.triggers.rules import parse_rule

OPTIONS = ("--on", "red: red > .45 or red > .4 within 1 s", "--on", "green > .5 or blue > .7", "--no-save", "-q")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> Path:
    """A tiny model whose labels alternate."""
    folder = tmp_path_factory.mktemp("model") / "alternating"
    alternating_model().save_pretrained(folder)
    return folder


@pytest.fixture
def clip(make_video) -> Path:
    """A video of 200 frames, a second apart."""
    return make_video("clip.mp4", pts=range(0, 200 * 12800, 12800))


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def whats(found: list[dict]) -> list[tuple]:
    """What happened, without what depends on the run."""
    return [(row["id"], row["phase"], row["rule"], row["start"], row["time"]) for row in found]


@pytest.fixture
def whole(run, clip, model_folder, tmp_path) -> list[tuple]:
    """The events of the clip, from a run that nothing disturbed."""
    ran = run("infer", clip, "-m", model_folder, *OPTIONS, "--event-log", tmp_path / "whole.jsonl")
    assert ran.code == 0, ran.err
    return whats(lines(tmp_path / "whole.jsonl"))


def test_the_log_has_the_events_of_the_predictions(run, clip, model_folder, tmp_path, whole):
    """Times and rules are those of `lv.events`; the summary counts them; a second run has the same ids."""
    model = lv.Model.from_pretrained(model_folder)
    rules = ["red: red > .45 or red > .4 within 1 s", "green > .5 or blue > .7"]
    found = lv.events(lv.predict(clip, model), rules)
    assert [each[1:] for each in whole] == [(each.phase, each.rule, each.start, each.time) for each in found]
    assert {rule for _, _, rule, _, _ in whole} == {"red", rules[1]} and len(whole) > 8
    log = tmp_path / "events.jsonl"
    ran = run("infer", clip, "-m", model_folder, *OPTIONS[:-1], "--event-log", log)
    assert f"events: red {sum(each[1:3] == ('start', 'red') for each in whole)}" in ran.out
    assert whats(lines(log)) == whole


def test_a_log_is_not_replaced_by_accident(run, clip, model_folder, tmp_path, whole):
    """An existing log is refused, continued with --resume (twice the same adds nothing), or replaced."""
    log = tmp_path / "whole.jsonl"
    arguments = ("infer", clip, "-m", model_folder, *OPTIONS, "--event-log", log)
    assert "already exists" in run(*arguments).err
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:5]))
    assert run(*arguments, "--resume").code == 0 and whats(lines(log)) == whole
    assert run(*arguments, "--exist-ok").code == 0 and whats(lines(log)) == whole
    assert run(*arguments, "--exist-ok", "--save-csv", log).code == 2


def test_events_can_go_to_standard_output(clip, model_folder, whole):
    """`--event-log -` prints each event, and nothing else."""
    command = [sys.executable, "-m", "liquidvision", "infer", clip, "-m", model_folder, *OPTIONS[:-1]]
    ran = subprocess.run([*command, "--event-log", "-", "--device", "cpu"], capture_output=True, text=True, check=True)
    assert whats([json.loads(line) for line in ran.stdout.splitlines()]) == whole


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--on", "red >"), "the rule 'red >', column 6: it ends here; expected a number"),
        (("--on", "red > .5"), "go nowhere"),
        (("--event-log", "x.jsonl"), "there is no rule"),
        (("--on", "red", "--on", "red", "--event-log", "x.jsonl"), "two rules are named 'red'"),
        (("--on", "pink", "--event-log", "x.jsonl"), "column 1: there is no label 'pink'; expected one of"),
        (("--on", "red", "--webhook", "host"), "--webhook expects http://HOST"),
        (("--on", "red", "--exec", "no-such-program"), "there is no program 'no-such-program'"),
        (("--on", "red", "--event-log", "x.jsonl", "--cooldown", "-1"), "cooldown is -1"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_source_is_read(run, clip, model_folder, options, message):
    """One line says what is wrong, and nothing is written."""
    ran = run("infer", clip, "-m", model_folder, "--no-save", *options)
    assert ran.code == 2 and message in ran.err and not Path("x.jsonl").exists()


def test_a_receiver_that_is_away_gets_the_events_of_the_next_run(run, clip, model_folder, tmp_path, whole, monkeypatch):
    """What waits in the queue is sent first; a second run over the same file sends nothing twice."""
    monkeypatch.setattr("liquidvision.triggers.courier.GRACE", 0.2)
    server = HttpReceiver()
    arguments = ("infer", clip, "-m", model_folder, *OPTIONS, "--webhook", f"http://127.0.0.1:{server.port}")
    assert run(*arguments, "--event-queue", tmp_path / "q.sqlite").code == 0
    server.start()
    monkeypatch.setattr("liquidvision.triggers.courier.GRACE", 60)
    try:
        assert run(*arguments, "--event-queue", tmp_path / "q.sqlite").code == 0
    finally:
        server.stop()
    assert whats([content for _, content in server.got]) == whole


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL, which Windows lacks")
def test_a_kill_loses_no_event_and_doubles_none(clip, model_folder, tmp_path, whole):
    """Killed at two places and resumed, log and receiver have each event once, in order."""
    log, server = tmp_path / "events.jsonl", HttpReceiver()
    server.start()
    command = [sys.executable, "-m", "liquidvision", "infer", clip, "-m", model_folder, *OPTIONS, "--device", "cpu"]
    command += ["--event-log", log, "--webhook", f"http://127.0.0.1:{server.port}", "--resume"]
    command += ["--event-queue", tmp_path / "q.sqlite", "--save-intervals", tmp_path / "rows.csv"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        for wanted in (2, 6, None):
            child = subprocess.Popen(command, env=environment)
            wait_until(lambda w=wanted, c=child: c.poll() is not None or (w and log.is_file() and len(lines(log)) >= w))
            if wanted is not None:
                child.kill()
            child.wait()
    finally:
        server.stop()
    assert whats(lines(log)) == whole
    ids = list(dict.fromkeys(server.keys))
    assert ids == [f"{each[0]}-{each[1]}" for each in whole]


def test_silence_of_a_live_source_is_an_event():
    """While no frame comes, the event is sent; the next frame ends it. A failure to send is raised there."""
    sent = []
    model = alternating_model()
    predictions = [prediction for _, prediction in lv.predict(picture_frames(2, step=1.0), model)]
    engine = EventEngine(model.labels, [parse_rule("no frames for 300 ms")])
    with EventSink(engine, sent.append, live=True) as sink:
        sink.write(predictions[0])
        wait_until(lambda: len(sent) == 1)
        sink.write(predictions[1])
    assert [(each.phase, each.time) for each in sent] == [("start", 0.3), ("end", 1.0)]
    assert sink.counts == {"no frames for 300 ms": 1}

    def fail(event) -> None:
        raise lv.SinkError("the disk is full")

    engine = EventEngine(model.labels, [parse_rule("no frames for 300 ms")])
    sink = EventSink(engine, fail, live=True)
    sink.write(predictions[0])
    wait_until(lambda: sink._error is not None)
    with pytest.raises(lv.SinkError, match="disk is full"):
        sink.write(predictions[1])
    sink.discard()
