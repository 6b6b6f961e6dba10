"""Security of the web server: access control, malformed messages and malicious uploads."""

import asyncio
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest
from conftest import build_model, picture
from web import Clients, RunningServer, encode_jpeg, make_url, running

from liquidvision import Model
from liquidvision.errors import SinkError, UsageError
from liquidvision.models.folder import encode_safetensors
from liquidvision.web.access import find_access_error
from liquidvision.web.bundle import make_zip, pack_examples, pack_model
from liquidvision.web.protocol import RateLimiter, RefusedError
from liquidvision.web.server import MAX_CONNECTIONS, serve
from liquidvision.web.shared_model import SharedModel
from tools.fuzz_web import main as fuzz

GOOD = encode_jpeg(picture(0))


@pytest.fixture(scope="module")
def loaded() -> Model:
    return build_model()


@pytest.fixture(scope="module")
def server(loaded: Model) -> Iterator[RunningServer]:
    with running(loaded) as server:
        yield server


def frame(jpeg: bytes, time: float = 1.0) -> bytes:
    return struct.pack("<d", time) + jpeg


def progressive() -> bytes:
    image = np.zeros((48, 64, 3), np.uint8)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()


def sized(width: int, height: int) -> bytes:
    """Return the valid JPEG with another size in its header."""
    start = GOOD.index(b"\xff\xc0") + 5
    return GOOD[:start] + struct.pack(">HH", height, width) + GOOD[start + 4 :]


BAD: dict[str, tuple[str | bytes, int, str]] = {
    "no JSON": ("hello", 1007, "JSON"),
    "a list": ("[]", 1007, "type is one of"),
    "no type": ("{}", 1007, "type is one of"),
    "an unknown type": ('{"type": "shutdown"}', 1007, "type is one of"),
    "a type of a wrong type": ('{"type": ["train"]}', 1007, "type is one of"),
    "a field that is missing": ('{"type": "add"}', 1007, "fields type, label"),
    "a field too many": ('{"type": "train", "epochs": 9}', 1007, "no others"),
    "a label that is a number": ('{"type": "add", "label": 7}', 1007, "printable"),
    "an empty label": ('{"type": "add", "label": "  "}', 1007, "printable"),
    "a long label": (json.dumps({"type": "add", "label": "x" * 41}), 1007, "printable"),
    "a label of half a character": ('{"type": "add", "label": "\\ud800"}', 1007, "printable"),
    "a label in two lines": ('{"type": "add", "label": "a\\nb"}', 1007, "printable"),
    "seconds that are none": ('{"type": "correct", "label": "a", "seconds": NaN}', 1007, "seconds"),
    "seconds below 0": ('{"type": "correct", "label": "a", "seconds": -1}', 1007, "seconds"),
    "an example that is true": ('{"type": "forget", "example": true}', 1007, "whole number"),
    "deep JSON": ("[" * 4000, 1007, "JSON"),
    "a number of many digits": ('{"type": "forget", "example": ' + "9" * 4050 + "}", 1007, ""),
    "a long text": (json.dumps({"type": "add", "label": "x" * 5000}), 1009, "4096"),
    "an empty frame": (b"", 1007, "8 bytes"),
    "a frame without a picture": (b"\0" * 8, 1007, "8 bytes"),
    "a time that is none": (frame(GOOD, float("nan")), 1007, "time"),
    "a time without end": (frame(GOOD, float("inf")), 1007, "time"),
    "a time below 0": (frame(GOOD, -1.0), 1007, "time"),
    "a picture that is none": (frame(b"GIF89a" * 10), 1007, "JPEG"),
    "half a JPEG": (frame(GOOD[: len(GOOD) // 2]), 1007, "whole JPEG"),
    "a JPEG of markers alone": (frame(b"\xff\xd8\xff\xd9"), 1007, "header"),
    "a JPEG without a header": (frame(b"\xff\xd8\xff\xe0\x00\x02\xff\xd9"), 1007, "header"),
    "a segment without a length": (frame(b"\xff\xd8\xff\xe0\x00\x00" + GOOD), 1007, "header"),
    "a progressive JPEG": (frame(progressive()), 1007, "progressive"),
    "a huge JPEG": (frame(sized(65535, 65535)), 1007, "pixels"),
    "a wide JPEG": (frame(sized(4000, 2)), 1007, "pixels"),
    "a JPEG of no height": (frame(sized(64, 0)), 1007, "pixels"),
    "a large message": (frame(GOOD + b"\0" * 1_100_000), 1009, ""),
}


@pytest.mark.parametrize("name", BAD)
def test_a_malformed_message_closes_its_connection(server: RunningServer, name: str) -> None:
    """A malformed message closes its own connection with a code and a reason, and no other."""
    message, code, reason = BAD[name]

    async def offend() -> tuple[int, str]:
        async with Clients(server) as clients:
            good, bad = await clients.connect(), await clients.connect()
            await (bad.socket.send_bytes(message) if isinstance(message, bytes) else bad.socket.send_str(message))
            closed = await bad.wait_closed()
            await good.send_frame(1.0, GOOD)
            return closed

    got = server.run(offend())
    assert got[0] == code and reason in got[1]


def test_the_rate_limit_allows_bursts() -> None:
    """A client may send faster than the limit for a moment, but not for long."""
    limiter = RateLimiter(rate=10)
    for i in range(19):
        limiter.count(100 + i * 0.05)
    with pytest.raises(RefusedError, match="10 messages") as error:
        for i in range(10):
            limiter.count(101 + i * 0.001)
    assert error.value.code == 1008


def test_a_flood_closes_its_connection(server: RunningServer) -> None:
    """Thousands of messages at once close their connection, and no other client waits."""

    async def flood() -> tuple[int, str]:
        async with Clients(server) as clients:
            good, bad = await clients.connect(), await clients.connect()

            async def flood_socket() -> None:
                for _ in range(5000):
                    await bad.socket.send_str('{"type": "stop"}')

            flooding = asyncio.ensure_future(flood_socket())
            for i in range(10):
                await good.send_frame(i, GOOD)
            closed = await bad.wait_closed()
            flooding.cancel()
            await asyncio.wait([flooding])
            if not flooding.cancelled():
                flooding.exception()
            return closed

    assert server.run(flood()) == (1008, "more than 200 messages a second")


def test_the_number_of_clients_is_limited(server: RunningServer) -> None:
    """One client too many is refused with a reason until another one leaves."""

    async def crowd() -> tuple[int, str]:
        async with Clients(server) as clients:
            all_clients = [await clients.connect() for _ in range(MAX_CONNECTIONS)]
            more = await clients.http.ws_connect(make_url(server, "ws"))
            message = await more.receive()
            await all_clients[0].socket.close()
            await asyncio.sleep(0)
            for _ in range(100):
                last = await clients.http.ws_connect(make_url(server, "ws"))
                if (await last.receive()).type == aiohttp.WSMsgType.TEXT:
                    break
            else:
                pytest.fail("a server that is free is not given")
            return message.data, message.extra

    code, reason = server.run(crowd())
    assert code == 1013 and "try again" in reason


@pytest.mark.parametrize(
    ("host", "origin", "forwarded", "allowed"),
    [
        ("localhost:8737", None, None, True),
        ("127.0.0.1:8737", "http://127.0.0.1:8737", None, True),
        ("[::1]:8737", "http://[::1]:8737", None, True),
        ("localhost:8737", "http://localhost:9999", None, False),
        ("localhost:8737", "https://evil.example", None, False),
        ("localhost:8737", "null", None, False),
        ("localhost:8737", "http://[", None, False),
        ("evil.example:8737", "http://evil.example:8737", None, False),
        ("localhost.evil.example", None, None, False),
        ("[", None, None, False),
        ("", None, None, False),
    ],
)
def test_access_without_a_token(host: str, origin: str | None, forwarded: str | None, allowed: bool) -> None:
    """Without a token, only local host names and the page's own origin are allowed."""
    assert (find_access_error(host, origin, forwarded, "", None) == "") is allowed


def test_access_with_a_token() -> None:
    """With a token, any host name is allowed, also behind a proxy, but no other origin and no missing token."""
    assert not find_access_error("me.example", "https://me.example", None, "secret", "secret")
    assert not find_access_error("127.0.0.1:8737", "https://me.example", "me.example", "secret", "secret")
    assert find_access_error("me.example", "https://evil.example", None, "secret", "secret")
    assert "token" in find_access_error("me.example", None, None, "", "secret")
    assert "token" in find_access_error("me.example", None, None, "sécret", "secret")
    assert not find_access_error("me.example", None, None, "", "secret", public=True)


def test_every_path_checks_access(server: RunningServer, loaded: Model) -> None:
    """Page, socket, downloads and uploads all check access, and the page has a strict policy."""

    async def request_all(server: RunningServer, query: str, **headers: str) -> list[int]:
        async with aiohttp.ClientSession(headers=headers) as http:
            found = []
            for path in ("", "app.js", "ws", "export/model", "nothing", "secret.js"):
                async with http.get(make_url(server, path, query)) as answer:
                    found.append(answer.status)
            async with http.post(make_url(server, "import", query), data=b"x") as answer:
                found.append(answer.status)
            return found

    assert server.run(request_all(server, "")) == [200, 200, 400, 403, 404, 404, 403]
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        assert server.run(request_all(server, "", **headers)) == [403] * 7

    with running(loaded, token="t0ken") as guarded:
        assert guarded.address.endswith("?token=t0ken")
        assert guarded.run(request_all(guarded, "?token=t0ken")) == [200, 200, 400, 403, 404, 404, 403]
        assert guarded.run(request_all(guarded, "")) == [403, 200, 403, 403, 403, 403, 403]

    async def headers() -> Any:
        async with aiohttp.ClientSession() as http, http.get(server.address) as answer:
            return answer.headers

    headers_sent = server.run(headers())
    assert (
        "frame-ancestors 'none'" in headers_sent["Content-Security-Policy"]
        and headers_sent["Referrer-Policy"] == "no-referrer"
    )


def test_serving_others_needs_a_token(loaded: Model) -> None:
    """A public address requires a token, and a port in use is a one-line error."""
    with pytest.raises(UsageError, match="token"):
        serve(loaded, host="0.0.0.0", open_browser=False)
    with running(loaded) as server:
        port = int(server.address.rsplit(":", 1)[1].strip("/"))
        with pytest.raises(SinkError, match="another port"):
            serve(loaded, port=port, open_browser=False)


def model_zip(loaded: Model, change: Callable[[dict[str, Any]], None]) -> bytes:
    """Return a saved model with a modified config.json."""
    with zipfile.ZipFile(io.BytesIO(pack_model(loaded))) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(files["taught/config.json"])
    change(config)
    return make_zip({**files, "taught/config.json": json.dumps(config).encode()})


def examples_zip(**files: bytes) -> bytes:
    return make_zip({name.replace("_", "."): data for name, data in files.items()})


UPLOADS: dict[str, tuple[Callable[[Model], bytes], str]] = {
    "no zip": (lambda _: b"hello", "no zip"),
    "half a zip": (lambda m: pack_model(m)[:5000], "no zip"),
    "an empty zip": (lambda _: make_zip({}), "holds no"),
    "a pickle": (lambda _: make_zip({"model.pkl": pickle.dumps([1])}), "holds no"),
    "a pickle by another name": (
        lambda _: examples_zip(index_csv=b"file,label\n1.safetensors,a\n", **{"1.safetensors": pickle.dumps([1])}),
        "cannot be read",
    ),
    "two folders": (lambda _: make_zip({"a/index.csv": b"", "b/index.csv": b""}), "twice"),
    "an index that leads out": (lambda _: examples_zip(index_csv=b"file,label\n../../x.safetensors,a\n"), "names"),
    "an index of other columns": (lambda _: examples_zip(index_csv=b"label,file\n"), "columns"),
    "an index that is empty": (lambda _: examples_zip(index_csv=b"file,label\n"), "0 examples"),
    "an index that is no text": (lambda _: examples_zip(index_csv=b"\xff\xfe\x00"), "damaged"),
    "a label of two lines": (
        lambda m: make_zip({"index.csv": b'file,label\n0001.safetensors,"a\nb"\n', **one_example(m)}),
        "printable",
    ),
    "an example that is missing": (
        lambda _: examples_zip(index_csv=b"file,label\n1.safetensors,a\n"),
        "cannot be read",
    ),
    "examples of another backbone": (
        lambda _: pack_examples([example(build_model(seed=3))], SharedModel(build_model(seed=3))),
        "another backbone",
    ),
    "a model of another backbone": (lambda _: pack_model(build_model(seed=3)), "another backbone"),
    "a model of another network": (
        lambda m: model_zip(m, lambda c: c["backbone"].update(name="resnet18")),
        "another backbone",
    ),
    "a head of endless width": (lambda m: model_zip(m, lambda c: c["head"].update(units=10**6)), "larger"),
    "a head of endless steps": (lambda m: model_zip(m, lambda c: c["head"].update(unfolds=10**6)), "larger"),
    "a head of tiny steps": (lambda m: model_zip(m, lambda c: c["head"].update(max_step=1e-9)), "larger"),
    "a head of other shapes": (lambda m: model_zip(m, lambda c: c["head"].update(units=7)), "config.json expects"),
    "a model without labels": (lambda m: model_zip(m, lambda c: c.update(labels=[])), "0 labels"),
    "labels that are the same": (lambda m: model_zip(m, lambda c: c.update(labels=["a", "a", "b"])), "different"),
    "a config that is none": (lambda _: make_zip({"config.json": b"{"}), "config.json"),
    "a config without a head": (lambda _: make_zip({"config.json": b"{}"}), "config.json"),
    "a bomb": (lambda _: make_zip({"config.json": b"0" * 2**21}), "larger"),
}


def example(model: Model) -> Any:
    """Return an example of three empty frames."""
    import torch

    from liquidvision.training.few_shot import Example

    return Example("a", torch.zeros(3, SharedModel(model).teachable.dim), torch.arange(3, dtype=torch.float64))


def one_example(model: Model) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(pack_examples([example(model)], SharedModel(model)))) as archive:
        return {"0001.safetensors": archive.read("examples/0001.safetensors")}


@pytest.mark.parametrize("name", UPLOADS)
def test_a_malformed_upload_is_refused(server: RunningServer, loaded: Model, name: str) -> None:
    """A malformed upload is refused in one line, changes nothing, and the connection stays open."""
    make, reason = UPLOADS[name]
    data = make(loaded)

    async def upload() -> tuple[int, str, dict[str, Any]]:
        async with Clients(server) as clients:
            client = await clients.connect()
            before = client.state
            where = make_url(server, "import", f"?session={client.hello['session']}")
            async with clients.http.post(where, data=data) as answer:
                status, text = answer.status, await answer.text()
            assert await client.send_command("stop") == before
            return status, text, before

    status, text, _ = server.run(upload())
    assert status == 400 and text.count("\n") == 1 and reason in text, text
    assert "/tmp" not in text


def test_an_upload_stays_in_its_folder(server: RunningServer, loaded: Model, tmp_path) -> None:
    """Names in a zip that point elsewhere write nothing there."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(f"..{'/..' * 12}{tmp_path}/index.csv", "file,label\n0001.safetensors,a\n")
        archive.writestr("/0001.safetensors", one_example(loaded)["0001.safetensors"])
        archive.writestr("__MACOSX/._index.csv", b"\0")

    async def upload() -> int:
        async with Clients(server) as clients:
            client = await clients.connect()
            where = make_url(server, "import", f"?session={client.hello['session']}")
            async with clients.http.post(where, data=data.getvalue()) as answer:
                return answer.status

    assert server.run(upload()) == 400
    assert list(tmp_path.iterdir()) == []


def test_embeddings_with_nan_are_refused(server: RunningServer, loaded: Model) -> None:
    """Embeddings that are not finite are refused."""
    name, data = next(iter(one_example(loaded).items()))
    from safetensors.torch import load

    tensors = load(data)
    tensors["embeddings"][0, 0] = float("nan")
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])["__metadata__"]
    bad = make_zip({"index.csv": b"file,label\n0001.safetensors,a\n", name: encode_safetensors(tensors, header)})

    async def upload() -> str:
        async with Clients(server) as clients:
            client = await clients.connect()
            where = make_url(server, "import", f"?session={client.hello['session']}")
            async with clients.http.post(where, data=bad) as answer:
                return await answer.text()

    assert "not finite" in server.run(upload())


def test_fuzzing_finds_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    """A hundred malformed messages of the fuzzing tool cause no fault."""
    assert fuzz(["--messages", "100", "--seed", "5"]) == 0
    assert "100 messages" in capsys.readouterr().out
