"""The page's server in a thread of the test's process, a client of its protocol, and Chromium with a fake camera."""

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

PATIENCE = 60.0  # seconds: a machine may be busy


class Place:
    """A server that runs, and a loop to talk to it from."""

    def __init__(self, loop: asyncio.AbstractEventLoop, address: str, server: Server) -> None:
        self.loop, self.address, self.server = loop, address, server

    def run(self, work: Any) -> Any:
        """What a coroutine gives."""
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, PATIENCE), self.loop).result()


@contextmanager
def running(model: Model, *, token: str | None = None) -> Iterator[Place]:
    """A server on a free port, with a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def begin() -> tuple[Server, str]:
        server = Server(model, token=token)
        address = await server.start("127.0.0.1", 0)
        # Tests build networks beside it, which torch.fx can only do while no other thread runs one.
        await server.warm()
        return server, address

    begun: Future[tuple[Server, str]] = asyncio.run_coroutine_threadsafe(begin(), loop)
    server, address = begun.result()
    place = Place(loop, address, server)
    try:
        yield place
    finally:
        place.run(server.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class Talk:
    """One client, awaited message by message."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.hello: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        self.notes: list[str] = []

    async def receive(self, kind: str) -> dict[str, Any]:
        """The next message of a kind; what comes before it is noted."""
        while True:
            message = await self.socket.receive_json()
            if message["type"] == "teaching":
                self.state = message
            if message["type"] == "note":
                self.notes.append(message["text"])
            if message["type"] == kind:
                return message

    async def see(self, time: float, jpeg: bytes) -> dict[str, Any]:
        """A frame's prediction."""
        await self.socket.send_bytes(struct.pack("<d", time) + jpeg)
        return await self.receive("prediction")

    async def say(self, kind: str, **values: Any) -> dict[str, Any]:
        """The state of teaching after a command."""
        await self.socket.send_json({"type": kind, **values})
        return await self.receive("teaching")

    async def show(self, label: str, frames: Sequence[tuple[float, bytes]]) -> None:
        """One example."""
        await self.say("record", label=label)
        for time, jpeg in frames:
            await self.see(time, jpeg)
        await self.say("stop")

    async def train(self) -> dict[str, Any]:
        await self.socket.send_json({"type": "train"})
        told = await self.receive("trained")
        await self.receive("teaching")
        return told

    async def end(self) -> tuple[int, str]:
        """Wait for the server to close; its code and reason."""
        while True:
            message = await self.socket.receive()
            if message.type == aiohttp.WSMsgType.CLOSE:
                return int(message.data), str(message.extra or "")
            if message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                return 0, ""


def address_of(place: Place, path: str, query: str = "") -> str:
    return place.address.partition("?")[0] + path + query


class Clients:
    """A context that connects clients, and parts from them."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def __aenter__(self) -> "Clients":
        self.http = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    async def connect(self, query: str = "", **options: Any) -> Talk:
        talk = Talk(await self.http.ws_connect(address_of(self._place, "ws", query), **options))
        talk.hello = await talk.receive("hello")
        await talk.receive("teaching")
        return talk


def jpeg_of(image: np.ndarray) -> bytes:
    """(h, w, 3) uint8 RGB as a JPEG."""
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


def dot(share: float, width: int = 160, height: int = 120) -> np.ndarray:
    """A dark picture with a bright disc so far along its way from left to right, 0..1."""
    image = np.full((height, width, 3), 40, np.uint8)
    cv2.circle(image, (round(20 + share * (width - 40)), height // 2), 18, (250, 200, 60), -1)
    return image


def swipe(right: bool, steps: int = 12) -> list[np.ndarray]:
    """Pictures of the disc's way; to the left they are the same, from last to first."""
    pictures = [dot(i / (steps - 1)) for i in range(steps)]
    return pictures if right else pictures[::-1]


def timed(pictures: Sequence[np.ndarray], start: float, step: float = 0.08) -> list[tuple[float, bytes]]:
    """Times and JPEGs."""
    return [(start + i * step, jpeg_of(picture)) for i, picture in enumerate(pictures)]


@contextmanager
def browser(clip: Path, folder: Path) -> Iterator[Any]:
    """Headless Chromium whose camera shows `clip`; the test is skipped where there is none."""
    if gone := missing():
        pytest.skip(f"needs {gone}, which is not here")
    with chromium(clip, folder, size=(1000, 760)) as page:
        yield page


def until(page: Any, condition: Callable[[], Any]) -> Any:
    """Wait until a condition holds; what it gives."""
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    waiting = WebDriverWait(page, PATIENCE, 0.05, [StaleElementReferenceException])
    return waiting.until(lambda _: condition())
