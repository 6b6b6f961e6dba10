"""Sends malformed messages to the page's server, and watches that it goes on: other clients served, memory flat.

python tools/fuzz_web.py [--messages 5000] [--seed 0]

Beside the one that offends, a client streams good frames all the time; its answers must come, and be the same as for a
client that is alone. A message that breaks no rule is answered; any other closes its connection with a code and a
reason. Some are sent below the WebSocket, as bytes on the wire. Exit code 1 where something was amiss.
"""

import argparse
import asyncio
import gc
import json
import logging
import random
import struct
import sys
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import cv2
import numpy as np

from liquidvision.web.server import Server
from tools.tiny import tiny_model

PATIENCE = 30.0  # seconds for any answer
GROWTH = 32.0  # MB that the process may grow by in the second half
COMMANDS = ("reset", "add", "rename", "delete", "forget", "record", "stop", "correct", "undo", "train")
CODES = {1000, 1001, 1002, 1003, 1007, 1008, 1009}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    failures: list[str] = []

    class Listen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            failures.append(f"logged: {logging.Formatter().format(record)}")

    listener = Listen(logging.ERROR)
    logging.getLogger().addHandler(listener)
    try:
        failures += asyncio.run(fuzz(options.messages, random.Random(options.seed)))
    finally:
        logging.getLogger().removeHandler(listener)
    print("\n".join(failures) or "no fault")
    return 1 if failures else 0


async def fuzz(messages: int, chance: random.Random) -> list[str]:
    """Send this number of messages; return what went wrong."""
    server = Server(tiny_model())
    address = await server.start("127.0.0.1", 0)
    await server.wait_until_warm()
    picture = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
    failures: list[str] = []
    over = asyncio.Event()
    served, slowest, ends, began, first = 0, 0.0, Counter[str](), time.monotonic(), 0.0
    async with aiohttp.ClientSession() as http:

        async def stream() -> None:
            nonlocal served, slowest
            async with http.ws_connect(address + "ws") as socket:
                for _ in range(2):
                    await socket.receive_json()
                while not over.is_set():
                    asked = time.monotonic()
                    await socket.send_bytes(struct.pack("<d", served * 0.1) + picture)
                    answer = await asyncio.wait_for(socket.receive_json(), PATIENCE)
                    if answer["index"] != served or answer["type"] != "prediction":
                        failures.append(f"the good client got {answer}")
                    served, slowest = served + 1, max(slowest, time.monotonic() - asked)
                    await asyncio.sleep(0.02)

        good = asyncio.ensure_future(stream())
        for number in range(messages):
            if number == messages // 2:
                first = memory()
            if chance.random() < 0.15:
                ends[await on_the_wire(address, chance)] += 1
                continue
            how, message = make(chance, picture)
            async with http.ws_connect(address + "ws") as socket:
                for _ in range(2):
                    await socket.receive_json()
                end = await offend(socket, message)
                ends[end] += 1
                if end.startswith("bad"):
                    failures.append(f"message {number}, {how}: {end}")
            if good.done():
                failures.append(f"the good client is gone after message {number}, {how}")
                break
        over.set()
        await asyncio.wait([good])
        if good.exception() is not None:
            failures.append(f"the good client: {good.exception()!r}")
    await server.stop()
    grown = memory() - first
    if grown > GROWTH:
        failures.append(f"the process grew by {grown:.0f} MB")
    print(
        f"{messages} messages, {time.monotonic() - began:.0f} s: {dict(ends)}; beside them {served} good frames, the "
        f"slowest answered in {slowest:.2f} s; grown by {grown:.1f} MB in the second half"
    )
    return failures


async def offend(socket: aiohttp.ClientWebSocketResponse, message: str | bytes) -> str:
    """Send a message; how it ended."""
    try:
        await (socket.send_bytes(message) if isinstance(message, bytes) else socket.send_str(message))
    except ConnectionError:
        return "closed"  # of a large one the end is not waited for
    answer = await asyncio.wait_for(socket.receive(), PATIENCE)
    if answer.type == aiohttp.WSMsgType.TEXT:
        return "answered"
    if answer.type != aiohttp.WSMsgType.CLOSE:
        return "closed"
    if answer.data not in CODES or (not answer.extra and answer.data not in (1002, 1009)):
        return f"bad: closed with {answer.data} {answer.extra!r}"
    return f"closed with {int(answer.data)}"


async def on_the_wire(address: str, chance: random.Random) -> str:
    """Bytes where HTTP or WebSocket frames should be."""
    place = urlsplit(address)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    hello = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + key + b"\r\n"
    if chance.random() < 0.3:
        hello = bytes(byte if chance.random() > 0.03 else chance.randrange(256) for byte in hello)
    try:
        writer.write(hello + chance.randbytes(chance.randrange(200)))
        await writer.drain()
        writer.write_eof()
        await asyncio.wait_for(reader.read(), PATIENCE)
    except ConnectionError:
        pass
    finally:
        writer.close()
    return "wire"


def make(chance: random.Random, picture: bytes) -> tuple[str, str | bytes]:
    """A message, and how it was made."""
    kinds = (damaged, cut, headed, noise, huge, text, almost, nested)
    kind = chance.choice(kinds)
    return kind.__name__, kind(chance, picture)


def a_time(chance: random.Random) -> bytes:
    if chance.random() < 0.5:
        return struct.pack("<d", chance.choice([0.0, -1.0, 1e300, float("nan"), float("inf"), 5e-324, 1e10, 1e11]))
    return chance.randbytes(8)


def damaged(chance: random.Random, picture: bytes) -> bytes:
    """A picture with some bytes changed."""
    data = bytearray(picture)
    for _ in range(chance.randrange(1, 12)):
        data[chance.randrange(2, len(data) - 2)] = chance.randrange(256)
    return struct.pack("<d", chance.random()) + bytes(data)


def cut(chance: random.Random, picture: bytes) -> bytes:
    """A picture without a part of it."""
    start = chance.randrange(len(picture))
    end = chance.randrange(start, len(picture))
    return struct.pack("<d", chance.random()) + picture[:start] + picture[end:]


def headed(chance: random.Random, picture: bytes) -> bytes:
    """A picture of another size by its header, or at a time that is none."""
    place = picture.index(b"\xff\xc0") + 5
    size = struct.pack(">HH", chance.choice([0, 1, 48, 1900, 65535]), chance.choice([0, 1, 64, 780, 65535]))
    return a_time(chance) + picture[:place] + size + picture[place + 4 :]


def noise(chance: random.Random, _: bytes) -> bytes:
    return a_time(chance)[: chance.randrange(9)] + chance.choice([b"", b"\xff\xd8\xff"]) + chance.randbytes(300)


def huge(chance: random.Random, picture: bytes) -> bytes:
    return struct.pack("<d", 1.0) + picture + bytes(chance.choice([10_000, 990_000, 1_000_001, 3_000_000]))


def text(chance: random.Random, _: bytes) -> str:
    return "".join(chr(chance.choice([*range(32, 127), 0, 10, 0x20AC, 0x1F600])) for _ in range(chance.randrange(300)))


def almost(chance: random.Random, _: bytes) -> str:
    """A command with wrong fields or values."""
    values = [None, True, -1, 0, 1e99, float("nan"), "", " ", "a", "x" * 99, [], {}, [[]], "\ud800", "\0", 2**70]
    fields = chance.sample(["label", "to", "example", "seconds", "type", "more"], chance.randrange(1, 5))
    message = {"type": chance.choice([*COMMANDS, "quit", None])} | {name: chance.choice(values) for name in fields}
    return json.dumps(message)


def nested(chance: random.Random, _: bytes) -> str:
    depth = chance.choice([10, 1000, 4000, 20_000])
    return chance.choice(["[" * depth, '{"a":' * (depth // 5), '"' * depth, "9" * depth])


def memory() -> float:
    """MB of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    return pages * 4096 / 1e6


if __name__ == "__main__":
    sys.exit(main())
