"""The web server by its protocol: predictions, one state per client, teaching, export and import."""

import asyncio
import io
import json
import struct
import zipfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from commands import Run, one_line
from conftest import LABELS, build_model, picture
from web import Client, Clients, RunningServer, encode_jpeg, make_url, running, swipe, timed

from liquidvision import Frame, Model, Session
from liquidvision.models.heads.liquid_filter import LiquidFilter, LiquidFilterConfig
from liquidvision.models.motion_crop import MotionCrop
from liquidvision.web.jpeg import decode_jpeg
from liquidvision.web.shared_model import SharedModel


@pytest.fixture(scope="module")
def uncertain_model() -> Model:
    """Return the tiny model with smaller logits, so that every score changes with every picture."""
    model = build_model()
    model.head.readout.weight.data /= 10
    return model


@pytest.fixture(scope="module")
def server(uncertain_model: Model) -> Iterator[RunningServer]:
    """Run a server of that model."""
    with running(uncertain_model) as server:
        yield server


def session_predictions(model: Model, frames: list[tuple[float, bytes]]) -> list[list[Any]]:
    """Return the top labels of a separate session."""
    session, base = Session(model), Fraction(1, 1_000_000)
    predictions = [
        session.push(Frame(decode_jpeg(jpeg), i, round(time / base), base)) for i, (time, jpeg) in enumerate(frames)
    ]
    return [[[label, round(score, 4)] for label, score in each.top(5)] for each in predictions]


def nearly_equal(got: list[list[Any]], wanted: list[list[Any]]) -> bool:
    return all(
        dict(map(tuple, a)).keys() == dict(b).keys() and all(abs(dict(a)[k] - v) < 1e-3 for k, v in dict(b).items())
        for a, b in zip(got, wanted, strict=True)
    )


def test_predictions_equal_those_of_a_session(server: RunningServer, uncertain_model: Model) -> None:
    """A stream over the socket gets the predictions of a session for the same pictures and uneven times."""
    frames = [(t, encode_jpeg(picture(i))) for i, t in enumerate((5.0, 5.03, 5.2, 5.21, 6.5, 6.5, 14.0))]

    async def stream() -> tuple[list[Any], dict[str, Any]]:
        async with Clients(server) as clients:
            client = await clients.connect()
            predictions = [await client.send_frame(*frame) for frame in frames]
            return predictions, client.hello

    predictions, hello = server.run(stream())
    assert nearly_equal([each["top"] for each in predictions], session_predictions(uncertain_model, frames))
    assert [each["index"] for each in predictions] == list(range(7)) and predictions[-1]["dt"] == 7.5
    assert len(predictions[0]["time_constants"]) == 6 and {label for label, _ in predictions[0]["frame_top"]} == set(
        LABELS
    )
    assert hello["version"] == 1 and hello["model"] == "tiny" and hello["side"] == 64


def test_clients_have_separate_states(server: RunningServer, uncertain_model: Model) -> None:
    """Two clients with interleaved frames get what each would get alone."""
    first = [(i * 0.1, encode_jpeg(picture(3 * i))) for i in range(8)]
    second = [(100 + i * 0.03, encode_jpeg(picture(40 - 5 * i))) for i in range(8)]

    async def both() -> tuple[list[Any], list[Any]]:
        async with Clients(server) as clients:
            a, b = await clients.connect(), await clients.connect()
            predictions: tuple[list[Any], list[Any]] = ([], [])
            for one, other in zip(first, second, strict=True):
                predictions[0].append((await a.send_frame(*one))["top"])
                predictions[1].append((await b.send_frame(*other))["top"])
            return predictions

    predictions = server.run(both())
    assert nearly_equal(predictions[0], session_predictions(uncertain_model, first)) and nearly_equal(
        predictions[1], session_predictions(uncertain_model, second)
    )
    mixed = [frame for pair in zip(first, second, strict=True) for frame in pair]
    assert not nearly_equal(
        predictions[0], session_predictions(uncertain_model, mixed)[::2]
    )  # the comparison above would see it


def test_reset(server: RunningServer, uncertain_model: Model) -> None:
    """The frame after a reset is the first of a stream."""
    frame = (3.0, encode_jpeg(picture(3)))

    async def stream() -> list[Any]:
        async with Clients(server) as clients:
            client = await clients.connect()
            for i in range(4):
                await client.send_frame(i, encode_jpeg(picture(i)))
            await client.send_command("reset")
            return (await client.send_frame(*frame))["top"]

    assert nearly_equal([server.run(stream())], session_predictions(uncertain_model, [frame]))


async def teach_swipes(client: Client, examples: int = 3) -> float:
    """Teach two swipes that no single frame distinguishes; return the last time of the stream."""
    now = 0.0
    for label in ("left", "right"):
        await client.send_command("add", label=label)
    for _ in range(examples):
        for label in ("left", "right"):
            frames = timed(swipe(label == "right"), now)
            await client.record_example(label, frames)
            now = frames[-1][0] + 0.4
    await client.train()
    return now


async def recognise_swipes(client: Client, now: float) -> list[bool]:
    """Return for four swipes whether their last frames get the right label."""
    right = []
    for label in ("right", "left", "left", "right"):
        frames = timed(swipe(label == "right"), now)
        predictions = [(await client.send_frame(*frame))["top"][0][0] for frame in frames]
        right.append(predictions[-4:].count(label) >= 3)
        now = frames[-1][0] + 0.4
    return right


async def download(clients: Clients, server: RunningServer, what: str, client: Client) -> bytes:
    answer = await clients.http.get(make_url(server, f"export/{what}", f"?session={client.hello['session']}"))
    assert answer.status == 200, await answer.text()
    return await answer.read()


def test_teaching_by_example(server: RunningServer, run: Run, tmp_path: Path) -> None:
    """Three examples per direction suffice to distinguish swipes; other clients keep the loaded model, the saved model
    predicts the same, and `train` reads the examples."""

    async def teach() -> tuple[list[bool], set[str], dict[str, Any], bytes, bytes]:
        async with Clients(server) as clients:
            client, other = await clients.connect(), await clients.connect()
            now = await teach_swipes(client)
            right = await recognise_swipes(client, now)
            seen = await other.send_frame(1.0, encode_jpeg(picture(1)))
            assert not (await other.send_command("add", label="mine"))["learnt"]
            model = await download(clients, server, "model", client)
            return (
                right,
                {label for label, _ in seen["top"]},
                client.state,
                model,
                await download(clients, server, "examples", client),
            )

    right, labels, state, model, examples = server.run(teach())
    assert all(right)
    assert labels == set(LABELS)
    assert state["learnt"] == ["left", "right"] and [len(each["examples"]) for each in state["classes"]] == [3, 3]
    for name, data in (("model", model), ("examples", examples)):
        zipfile.ZipFile(io.BytesIO(data)).extractall(tmp_path / name)
    session, base = Session(Model.from_pretrained(tmp_path / "model" / "taught", device="cpu")), Fraction(1, 1000)
    for label in ("right", "left"):
        session.reset()
        predictions = [
            session.push(Frame(image, i, 80 * i, base)).label for i, image in enumerate(swipe(label == "right"))
        ]
        assert predictions[-4:].count(label) >= 3
    ran = run(
        *("train", tmp_path / "examples" / "examples", "-o", tmp_path / "again", "--folds", "3", "--epochs", "3"),
        *("--backbone", tmp_path / "model" / "taught", "--cache", tmp_path / "cache"),
    )
    assert ran.code == 0, ran.err
    assert Model.from_pretrained(tmp_path / "again").labels == ("left", "right")
    ran = run(
        *("train", tmp_path / "examples" / "examples", "-o", tmp_path / "other", "--folds", "3", "--epochs", "3"),
        *("--backbone", "actions", "--cache", tmp_path / "cache"),
    )
    assert ran.code == 1 and "another backbone" in ran.err


def test_export_and_import(server: RunningServer) -> None:
    """Another client can import exported examples and models and use them."""

    async def carry() -> tuple[dict[str, Any], list[bool], dict[str, Any]]:
        async with Clients(server) as clients:
            client = await clients.connect()
            await teach_swipes(client)
            model, examples = [await download(clients, server, what, client) for what in ("model", "examples")]
            other = await clients.connect()
            where = make_url(server, "import", f"?session={other.hello['session']}")
            answer = await clients.http.post(where, data=model)
            assert answer.status == 200, await answer.text()
            right = await recognise_swipes(other, 0.0)
            answer = await clients.http.post(where, data=examples)
            return client.state, right, (await answer.json())["teaching"]

    before, right, after = server.run(carry())
    assert all(right) and after["learnt"] == ["left", "right"]
    lengths = [
        {each["label"]: [one["seconds"] for one in each["examples"]] for each in state["classes"]}
        for state in (before, after)
    ]
    assert lengths[0] == lengths[1]


def test_correct_undo_rename_delete(server: RunningServer) -> None:
    """Corrections add examples, undo reverts changes one by one, and renaming changes labels of the model in use."""

    async def teach() -> None:
        async with Clients(server) as clients:
            client = await clients.connect()
            now = await teach_swipes(client)
            for frame in timed(swipe(True), now, 0.1):
                await client.send_frame(*frame)
            state = await client.send_command("correct", label="right", seconds=0.55)
            assert state["classes"][1]["examples"][-1]["frames"] == 6
            state = await client.send_command("rename", label="right", to="to the right")
            assert state["learnt"] == ["left", "to the right"]
            predictions = await client.send_frame(now + 2, encode_jpeg(picture(0)))
            assert {label for label, _ in predictions["top"]} == {"left", "to the right"}
            assert (await client.send_command("undo"))["learnt"] == ["left", "right"]
            state = await client.send_command("undo")
            assert [len(each["examples"]) for each in state["classes"]] == [3, 3]
            state = await client.send_command("forget", example=state["classes"][0]["examples"][0]["example"])
            assert [len(each["examples"]) for each in state["classes"]] == [2, 3]
            state = await client.send_command("delete", label="left")
            assert [each["label"] for each in state["classes"]] == ["right"]
            state = await client.send_command("delete", label="right")
            assert state["learnt"] is None  # nothing of it is left, and the loaded model speaks again
            assert {label for label, _ in (await client.send_frame(now + 3, encode_jpeg(picture(0))))["top"]} == set(
                LABELS
            )
            state = await client.send_command("undo")
            assert len(state["classes"][0]["examples"]) == 3

    server.run(teach())


def test_impossible_requests_get_a_note(server: RunningServer) -> None:
    """A request that cannot be fulfilled is answered with a note, and the connection stays open."""

    async def ask() -> list[str]:
        async with Clients(server) as clients:
            client = await clients.connect()
            await client.send_command("undo")
            await client.send_command("add", label="one")
            await client.send_command("add", label=" one ")
            await client.send_command("record", label="two")
            await client.send_command("record", label="one")
            await client.send_frame(0.0, encode_jpeg(picture(0)))
            await client.send_command("stop")
            await client.send_command("rename", label="one", to="one")
            await client.send_command("forget", example=99)
            await client.socket.send_json({"type": "train"})
            await client.receive("note")
            await client.send_frame(1.0, encode_jpeg(picture(0)))
            answer = await clients.http.get(make_url(server, "export/model", f"?session={client.hello['session']}"))
            return [*client.notes, f"{answer.status} {await answer.text()}"]

    notes = server.run(ask())
    wanted = [
        "nothing to undo",
        "already",
        "no class two",
        "too short",
        "already deleted",
        "two classes",
        "409 there is no taught",
    ]
    assert len(notes) == len(wanted)
    assert all(text in note for text, note in zip(wanted, notes, strict=True)), notes


def test_a_lost_client_can_resume(server: RunningServer) -> None:
    """A client that reconnects finds what it taught; if it connects elsewhere, the first connection is closed."""

    async def lose() -> tuple[int, list[str], list[str]]:
        async with Clients(server) as clients:
            client = await clients.connect()
            await client.send_command("add", label="kept")
            key = client.hello["session"]
            await client.socket.close()
            again = await clients.connect(f"?resume={key}")
            kept = [each["label"] for each in again.state["classes"]]
            (code, _), elsewhere = await asyncio.gather(again.wait_closed(), clients.connect(f"?resume={key}"))
            return code, kept, [each["label"] for each in elsewhere.state["classes"]]

    assert server.run(lose()) == (4000, ["kept"], ["kept"])


def test_twenty_clients_at_once(server: RunningServer) -> None:
    """Twenty clients take turns: none gets more than three frames ahead of another."""
    frames = [(i * 0.1, encode_jpeg(picture(i))) for i in range(12)]

    async def crowd() -> int:
        async with Clients(server) as clients:
            all_clients = [await clients.connect() for _ in range(20)]
            done, apart = [0] * 20, 0

            async def stream(number: int, client: Client) -> None:
                nonlocal apart
                for frame in frames:
                    await client.send_frame(*frame)
                    done[number] += 1
                    apart = max(apart, max(done) - min(done))

            await asyncio.gather(*(stream(number, client) for number, client in enumerate(all_clients)))
            assert done == [12] * 20
            return apart

    assert server.run(crowd()) <= 3


def test_a_classifier_with_a_filter_can_be_taught() -> None:
    """With a filter, predictions read logits until a head is taught, which reads feature maps of a larger picture."""
    from liquidvision import Backbone, Preprocessing

    backbone = Backbone(
        "mobilenet_v3_small",
        weights=None,
        nodes={"features.12": 1, "classifier.3": 1},
        preprocessing=Preprocessing(size=(64, 64)),
        classes=5,
    )
    loaded = Model(backbone, LiquidFilter(LiquidFilterConfig(*backbone.channels.values())), list("abcde"))
    shared, image = SharedModel(loaded), picture(3)
    motion_crop, frame = MotionCrop(backbone), Frame(image, 0, 0, Fraction(1, 25))
    own, teachable = shared.embed(motion_crop, frame)
    assert (own - backbone.embed([image])).abs().max() < 1e-4
    assert (teachable - shared.teachable.embed([image])).abs().max() < 1e-4
    assert shared.teachable.dim != backbone.dim
    assert shared.teachable.preprocessing.size == (224, 224)
    assert all(each.equal(teachable) for each in shared.embed(motion_crop, frame, taught=True))
    alone, nothing = shared.embed(motion_crop, frame, teaching=False)
    assert alone.equal(own)
    assert nothing is None


def test_on_the_command_line(run: Run, monkeypatch: pytest.MonkeyPatch, model_folder: Path) -> None:
    """The command serves the model; without aiohttp, one line says what to install."""
    import sys

    from liquidvision.web import server

    asked: dict[str, Any] = {}
    monkeypatch.setattr(server, "serve", lambda model, **options: asked.update(options, model=model))
    assert run("webcam", "--web", "-m", model_folder, "--no-browser").code == 0
    assert (asked["host"], asked["token"], asked["open_browser"]) == ("127.0.0.1", None, False)
    assert asked["model"].name == "tiny"
    assert run("webcam", "--web", "-m", model_folder, "--host", "0.0.0.0").code == 0
    assert asked["host"] == "0.0.0.0" and len(asked["token"]) > 20
    assert "--port" in one_line(run("webcam", "--web", "--port", "70000"))
    monkeypatch.delitem(sys.modules, "liquidvision.web.server")
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    ran = run("webcam", "--web", "-m", model_folder)
    assert ran.code == 1 and "liquidvision[web]" in one_line(ran)


def test_serve_until_interrupted(model_folder: Path) -> None:
    """The command prints one address, answers there, and exits cleanly on SIGTERM."""
    import re
    import signal
    import subprocess
    import sys
    import urllib.request

    command = [
        sys.executable,
        "-m",
        "liquidvision",
        "webcam",
        "--web",
        "--no-browser",
        "--port",
        "0",
        "--device",
        "cpu",
    ]
    with subprocess.Popen(
        [*command, "-m", model_folder, "--host", "127.0.0.1"], stderr=subprocess.PIPE, text=True
    ) as running:
        line = running.stderr.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line).group()
        with urllib.request.urlopen(address) as answer:
            assert b"<title>liquidvision</title>" in answer.read()
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0
        assert running.stderr.read() == ""


def test_messages_are_json_without_nan(server: RunningServer) -> None:
    """Answers are strict JSON, whatever the time of a frame."""

    async def stream() -> list[str]:
        async with Clients(server) as clients:
            client = await clients.connect()
            predictions = []
            for time in (0.0, 1e10, 5.0, 5.0):
                await client.socket.send_bytes(struct.pack("<d", time) + encode_jpeg(picture(0)))
                predictions.append(await client.socket.receive_str())
            return predictions

    for text in server.run(stream()):
        json.loads(text, parse_constant=lambda name: pytest.fail(name))
