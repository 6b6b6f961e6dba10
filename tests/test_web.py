"""The page's server by its protocol: predictions, one memory for each client, teaching, and what is carried away."""

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
from web import Clients, Place, Talk, address_of, jpeg_of, running, swipe, timed

from liquidvision import Frame, Model, Session
from liquidvision.models.heads.liquid_filter import LiquidFilter, LiquidFilterConfig
from liquidvision.models.motion_crop import MotionCrop
from liquidvision.web.pictures import decode
from liquidvision.web.sight import SharedModel


@pytest.fixture(scope="module")
def calm() -> Model:
    """The tiny model, less sure of itself, so that all its scores move with every picture."""
    model = build_model()
    model.head.readout.weight.data /= 10
    return model


@pytest.fixture(scope="module")
def place(calm: Model) -> Iterator[Place]:
    """A server of that model."""
    with running(calm) as place:
        yield place


def alone(model: Model, frames: list[tuple[float, bytes]]) -> list[list[Any]]:
    """The top labels of a session of its own."""
    session, base = Session(model), Fraction(1, 1_000_000)
    said = [session.push(Frame(decode(jpeg), i, round(time / base), base)) for i, (time, jpeg) in enumerate(frames)]
    return [[[label, round(score, 4)] for label, score in each.top(5)] for each in said]


def close(got: list[list[Any]], wanted: list[list[Any]]) -> bool:
    return all(
        dict(map(tuple, a)).keys() == dict(b).keys() and all(abs(dict(a)[k] - v) < 1e-3 for k, v in dict(b).items())
        for a, b in zip(got, wanted, strict=True)
    )


def test_the_same_numbers_as_a_session(place: Place, calm: Model) -> None:
    """A stream over the socket gets what a session gives it for the same pictures and times, however uneven."""
    frames = [(t, jpeg_of(picture(i))) for i, t in enumerate((5.0, 5.03, 5.2, 5.21, 6.5, 6.5, 14.0))]

    async def stream() -> tuple[list[Any], dict[str, Any]]:
        async with Clients(place) as clients:
            talk = await clients.connect()
            said = [await talk.see(*frame) for frame in frames]
            return said, talk.hello

    said, hello = place.run(stream())
    assert close([each["top"] for each in said], alone(calm, frames))
    assert [each["index"] for each in said] == list(range(7)) and said[-1]["dt"] == 7.5
    assert len(said[0]["time_constants"]) == 6 and {label for label, _ in said[0]["frame_top"]} == set(LABELS)
    assert hello["version"] == 1 and hello["model"] == "tiny" and hello["side"] == 64


def test_states_do_not_mix(place: Place, calm: Model) -> None:
    """Two clients whose frames come turn by turn get what each would have got by itself."""
    first = [(i * 0.1, jpeg_of(picture(3 * i))) for i in range(8)]
    second = [(100 + i * 0.03, jpeg_of(picture(40 - 5 * i))) for i in range(8)]

    async def both() -> tuple[list[Any], list[Any]]:
        async with Clients(place) as clients:
            a, b = await clients.connect(), await clients.connect()
            said: tuple[list[Any], list[Any]] = ([], [])
            for one, other in zip(first, second, strict=True):
                said[0].append((await a.see(*one))["top"])
                said[1].append((await b.see(*other))["top"])
            return said

    said = place.run(both())
    assert close(said[0], alone(calm, first)) and close(said[1], alone(calm, second))
    mixed = [frame for pair in zip(first, second, strict=True) for frame in pair]
    assert not close(said[0], alone(calm, mixed)[::2])  # the comparison above would see it


def test_reset(place: Place, calm: Model) -> None:
    """After a reset the next frame is the first of a stream."""
    frame = (3.0, jpeg_of(picture(3)))

    async def stream() -> list[Any]:
        async with Clients(place) as clients:
            talk = await clients.connect()
            for i in range(4):
                await talk.see(i, jpeg_of(picture(i)))
            await talk.say("reset")
            return (await talk.see(*frame))["top"]

    assert close([place.run(stream())], alone(calm, [frame]))


async def taught(talk: Talk, examples: int = 3) -> float:
    """Teach two swipes that no single frame can tell apart; the seconds that went by on the stream's clock."""
    now = 0.0
    for label in ("left", "right"):
        await talk.say("add", label=label)
    for _ in range(examples):
        for label in ("left", "right"):
            frames = timed(swipe(label == "right"), now)
            await talk.show(label, frames)
            now = frames[-1][0] + 0.4
    await talk.train()
    return now


async def told_apart(talk: Talk, now: float) -> list[bool]:
    """Whether the last frames of swipes are called by their names."""
    right = []
    for label in ("right", "left", "left", "right"):
        frames = timed(swipe(label == "right"), now)
        said = [(await talk.see(*frame))["top"][0][0] for frame in frames]
        right.append(said[-4:].count(label) >= 3)
        now = frames[-1][0] + 0.4
    return right


async def fetched(clients: Clients, place: Place, what: str, talk: Talk) -> bytes:
    answer = await clients.http.get(address_of(place, f"export/{what}", f"?session={talk.hello['session']}"))
    assert answer.status == 200, await answer.text()
    return await answer.read()


def test_taught_by_showing(place: Place, run: Run, tmp_path: Path) -> None:
    """Three examples each of a swipe and the same backwards are told apart at once, beside a client that has the old
    labels; the model that is saved says the same of them, and `train` takes the examples."""

    async def teach() -> tuple[list[bool], set[str], dict[str, Any], bytes, bytes]:
        async with Clients(place) as clients:
            talk, other = await clients.connect(), await clients.connect()
            now = await taught(talk)
            right = await told_apart(talk, now)
            seen = await other.see(1.0, jpeg_of(picture(1)))
            assert not (await other.say("add", label="mine"))["learnt"]
            model = await fetched(clients, place, "model", talk)
            return (
                right,
                {label for label, _ in seen["top"]},
                talk.state,
                model,
                await fetched(clients, place, "examples", talk),
            )

    right, labels, state, model, examples = place.run(teach())
    assert all(right)
    assert labels == set(LABELS)
    assert state["learnt"] == ["left", "right"] and [len(each["examples"]) for each in state["classes"]] == [3, 3]
    for name, data in (("model", model), ("examples", examples)):
        zipfile.ZipFile(io.BytesIO(data)).extractall(tmp_path / name)
    session, base = Session(Model.from_pretrained(tmp_path / "model" / "taught", device="cpu")), Fraction(1, 1000)
    for label in ("right", "left"):
        session.reset()
        said = [session.push(Frame(image, i, 80 * i, base)).label for i, image in enumerate(swipe(label == "right"))]
        assert said[-4:].count(label) >= 3
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


def test_saved_and_loaded(place: Place) -> None:
    """Examples and a model that were saved are there again for another client, who goes on with them."""

    async def carry() -> tuple[dict[str, Any], list[bool], dict[str, Any]]:
        async with Clients(place) as clients:
            talk = await clients.connect()
            await taught(talk)
            model, examples = [await fetched(clients, place, what, talk) for what in ("model", "examples")]
            other = await clients.connect()
            where = address_of(place, "import", f"?session={other.hello['session']}")
            answer = await clients.http.post(where, data=model)
            assert answer.status == 200, await answer.text()
            right = await told_apart(other, 0.0)
            answer = await clients.http.post(where, data=examples)
            return talk.state, right, (await answer.json())["teaching"]

    before, right, after = place.run(carry())
    assert all(right) and after["learnt"] == ["left", "right"]
    lengths = [
        {each["label"]: [one["seconds"] for one in each["examples"]] for each in state["classes"]}
        for state in (before, after)
    ]
    assert lengths[0] == lengths[1]


def test_correct_undo_rename_delete(place: Place) -> None:
    """The last seconds become an example; changes are undone one by one; a rename reaches the model in use."""

    async def teach() -> None:
        async with Clients(place) as clients:
            talk = await clients.connect()
            now = await taught(talk)
            for frame in timed(swipe(True), now, 0.1):
                await talk.see(*frame)
            state = await talk.say("correct", label="right", seconds=0.55)
            assert state["classes"][1]["examples"][-1]["frames"] == 6
            state = await talk.say("rename", label="right", to="to the right")
            assert state["learnt"] == ["left", "to the right"]
            said = await talk.see(now + 2, jpeg_of(picture(0)))
            assert {label for label, _ in said["top"]} == {"left", "to the right"}
            assert (await talk.say("undo"))["learnt"] == ["left", "right"]
            state = await talk.say("undo")
            assert [len(each["examples"]) for each in state["classes"]] == [3, 3]
            state = await talk.say("forget", example=state["classes"][0]["examples"][0]["example"])
            assert [len(each["examples"]) for each in state["classes"]] == [2, 3]
            state = await talk.say("delete", label="left")
            assert [each["label"] for each in state["classes"]] == ["right"]
            state = await talk.say("delete", label="right")
            assert state["learnt"] is None  # nothing of it is left, and the loaded model speaks again
            assert {label for label, _ in (await talk.see(now + 3, jpeg_of(picture(0))))["top"]} == set(LABELS)
            state = await talk.say("undo")
            assert len(state["classes"][0]["examples"]) == 3

    place.run(teach())


def test_what_cannot_be_is_told(place: Place) -> None:
    """A wish that cannot be is answered by a line for the person, and the connection goes on."""

    async def ask() -> list[str]:
        async with Clients(place) as clients:
            talk = await clients.connect()
            await talk.say("undo")
            await talk.say("add", label="one")
            await talk.say("add", label=" one ")
            await talk.say("record", label="two")
            await talk.say("record", label="one")
            await talk.see(0.0, jpeg_of(picture(0)))
            await talk.say("stop")
            await talk.say("rename", label="one", to="one")
            await talk.say("forget", example=99)
            await talk.socket.send_json({"type": "train"})
            await talk.receive("note")
            await talk.see(1.0, jpeg_of(picture(0)))
            answer = await clients.http.get(address_of(place, "export/model", f"?session={talk.hello['session']}"))
            return [*talk.notes, f"{answer.status} {await answer.text()}"]

    notes = place.run(ask())
    wanted = ["nothing to undo", "already", "no class two", "too short", "gone already", "two classes", "409 nothing"]
    assert len(notes) == len(wanted)
    assert all(text in note for text, note in zip(wanted, notes, strict=True)), notes


def test_a_lost_client_comes_again(place: Place) -> None:
    """Who loses the connection, or reloads the page, finds what was taught; opened elsewhere, the first is closed."""

    async def lose() -> tuple[int, list[str], list[str]]:
        async with Clients(place) as clients:
            talk = await clients.connect()
            await talk.say("add", label="kept")
            key = talk.hello["session"]
            await talk.socket.close()
            again = await clients.connect(f"?resume={key}")
            kept = [each["label"] for each in again.state["classes"]]
            (code, _), elsewhere = await asyncio.gather(again.end(), clients.connect(f"?resume={key}"))
            return code, kept, [each["label"] for each in elsewhere.state["classes"]]

    assert place.run(lose()) == (4000, ["kept"], ["kept"])


def test_twenty_clients_at_once(place: Place) -> None:
    """Twenty clients have their turns: none is ahead of another by more than two frames, and nothing fails."""
    frames = [(i * 0.1, jpeg_of(picture(i))) for i in range(12)]

    async def crowd() -> int:
        async with Clients(place) as clients:
            talks = [await clients.connect() for _ in range(20)]
            done, apart = [0] * 20, 0

            async def stream(number: int, talk: Talk) -> None:
                nonlocal apart
                for frame in frames:
                    await talk.see(*frame)
                    done[number] += 1
                    apart = max(apart, max(done) - min(done))

            await asyncio.gather(*(stream(number, talk) for number, talk in enumerate(talks)))
            assert done == [12] * 20
            return apart

    assert place.run(crowd()) <= 3


def test_a_classifier_with_a_filter_is_taught_too() -> None:
    """The classifier's memory reads its logits until a head is taught, which reads maps of a picture of 224 pixels."""
    from liquidvision import Backbone, Preprocessing

    backbone = Backbone(
        "mobilenet_v3_small",
        weights=None,
        nodes={"features.12": 1, "classifier.3": 1},
        preprocessing=Preprocessing(size=(64, 64)),
        classes=5,
    )
    loaded = Model(backbone, LiquidFilter(LiquidFilterConfig(*backbone.channels.values())), list("abcde"))
    sight, image = SharedModel(loaded), picture(3)
    gaze, frame = MotionCrop(backbone), Frame(image, 0, 0, Fraction(1, 25))
    own, teachable = sight.look(gaze, frame)
    assert (own - backbone.embed([image])).abs().max() < 1e-4
    assert (teachable - sight.teachable.embed([image])).abs().max() < 1e-4
    assert sight.teachable.dim != backbone.dim
    assert sight.teachable.preprocessing.size == (224, 224)
    assert all(each.equal(teachable) for each in sight.look(gaze, frame, taught=True))
    alone, nothing = sight.look(gaze, frame, teaching=False)
    assert alone.equal(own)
    assert nothing is None


def test_on_the_command_line(run: Run, monkeypatch: pytest.MonkeyPatch, model_folder: Path) -> None:
    """The command serves the model and tells the address; without the extra one line says what to install."""
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
    """The command prints one address, answers there, and ends on SIGTERM without a traceback."""
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


def test_messages_are_json_without_nan(place: Place) -> None:
    """Whatever time a frame comes at, the answer is strict JSON."""

    async def stream() -> list[str]:
        async with Clients(place) as clients:
            talk = await clients.connect()
            said = []
            for time in (0.0, 1e10, 5.0, 5.0):
                await talk.socket.send_bytes(struct.pack("<d", time) + jpeg_of(picture(0)))
                said.append(await talk.socket.receive_str())
            return said

    for text in place.run(stream()):
        json.loads(text, parse_constant=lambda name: pytest.fail(name))
