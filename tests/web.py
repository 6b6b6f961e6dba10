"""A web server in a thread of the test process, a client of its protocol, and Chromium with a fake camera."""

import asyncio
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest

from liquidvision import Model
from liquidvision.web.server import Server
from tools.browser import chromium, missing

TIMEOUT = 60.0  # seconds; generous, for a busy machine


class RunningServer:
    """A running server, and an event loop for its clients."""

    def __init__(self, loop: asyncio.AbstractEventLoop, address: str, server: Server) -> None:
        self.loop, self.address, self.server = loop, address, server

    def run(self, work: Any) -> Any:
        """Run a coroutine in the event loop and return its result."""
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, TIMEOUT), self.loop).result()


@contextmanager
def running(model: Model, *, token: str | None = None) -> Iterator[RunningServer]:
    """Run a server on a free port, with its own event loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> tuple[Server, str]:
        server = Server(model, token=token)
        address = await server.start("127.0.0.1", 0)
        # Tests build networks meanwhile, which torch.fx can only do while no other thread runs one.
        await server.wait_until_warm()
        return server, address

    started: Future[tuple[Server, str]] = asyncio.run_coroutine_threadsafe(start(), loop)
    server, address = started.result()
    running_server = RunningServer(loop, address, server)
    try:
        yield running_server
    finally:
        running_server.run(server.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class Client:
    """A client of the WebSocket protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.hello: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        self.notes: list[str] = []

    async def receive(self, kind: str) -> dict[str, Any]:
        """Return the next message of a kind; state and notes that arrive before it are kept."""
        while True:
            message = await self.socket.receive_json()
            if message["type"] == "teaching":
                self.state = message
            if message["type"] == "note":
                self.notes.append(message["text"])
            if message["type"] == kind:
                return message

    async def send_frame(self, time: float, jpeg: bytes) -> dict[str, Any]:
        """Send a frame; return its prediction."""
        await self.socket.send_bytes(struct.pack("<d", time) + jpeg)
        return await self.receive("prediction")

    async def send_command(self, kind: str, **values: Any) -> dict[str, Any]:
        """Send a command; return the state of teaching after it."""
        await self.socket.send_json({"type": kind, **values})
        return await self.receive("teaching")

    async def record_example(self, label: str, frames: Sequence[tuple[float, bytes]]) -> None:
        """Record one example of a class."""
        await self.send_command("record", label=label)
        for time, jpeg in frames:
            await self.send_frame(time, jpeg)
        await self.send_command("stop")

    async def train(self) -> dict[str, Any]:
        """Train; return the message about the finished training."""
        await self.socket.send_json({"type": "train"})
        message = await self.receive("trained")
        await self.receive("teaching")
        return message

    async def wait_closed(self) -> tuple[int, str]:
        """Wait until the server closes the connection; return its code and reason."""
        while True:
            message = await self.socket.receive()
            if message.type == aiohttp.WSMsgType.CLOSE:
                return int(message.data), str(message.extra or "")
            if message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                return 0, ""


def make_url(server: RunningServer, path: str, query: str = "") -> str:
    """Return the address of a path of the server."""
    return server.address.partition("?")[0] + path + query


class Clients:
    """A context that connects clients and disconnects them."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server

    async def __aenter__(self) -> "Clients":
        self.http = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    async def connect(self, query: str = "", **options: Any) -> Client:
        client = Client(await self.http.ws_connect(make_url(self._server, "ws", query), **options))
        client.hello = await client.receive("hello")
        await client.receive("teaching")
        return client


def encode_jpeg(image: np.ndarray) -> bytes:
    """Encode (h, w, 3) uint8 RGB as a JPEG."""
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


def dot(share: float, width: int = 160, height: int = 120) -> np.ndarray:
    """Return a dark picture with a bright disc; `share` is its position from left (0) to right (1)."""
    image = np.full((height, width, 3), 40, np.uint8)
    cv2.circle(image, (round(20 + share * (width - 40)), height // 2), 18, (250, 200, 60), -1)
    return image


def swipe(right: bool, steps: int = 12) -> list[np.ndarray]:
    """Return pictures of the disc moving right; moving left, the same pictures in reverse order."""
    pictures = [dot(i / (steps - 1)) for i in range(steps)]
    return pictures if right else pictures[::-1]


def timed(pictures: Sequence[np.ndarray], start: float, step: float = 0.08) -> list[tuple[float, bytes]]:
    """Return the pictures as JPEGs with their times."""
    return [(start + i * step, encode_jpeg(picture)) for i, picture in enumerate(pictures)]


@contextmanager
def browser(clip: Path, folder: Path) -> Iterator[Any]:
    """Run headless Chromium with `clip` as its camera; skip the test if it is not installed."""
    if program := missing():
        pytest.skip(f"needs {program}, which is not installed")
    with chromium(clip, folder, size=(1000, 760)) as page:
        yield page


def until(page: Any, condition: Callable[[], Any]) -> Any:
    """Wait until a condition holds; return its value."""
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    waiting = WebDriverWait(page, TIMEOUT, 0.05, [StaleElementReferenceException])
    return waiting.until(lambda _: condition())
