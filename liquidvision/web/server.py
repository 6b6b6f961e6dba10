"""The server behind the page: who may come in, one WebSocket for each client, downloads and uploads."""

import asyncio
import contextlib
import logging
import signal
import time
import webbrowser
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from liquidvision.errors import DependencyError, SinkError, UsageError
from liquidvision.models.model import Model
from liquidvision.training.few_shot import warm_up
from liquidvision.web.connection import Connection
from liquidvision.web.gate import LOOPBACK, objection
from liquidvision.web.protocol import LARGEST_FRAME, TRY_LATER, Pace, RefusedError, read_command
from liquidvision.web.sight import SharedModel
from liquidvision.web.transfer import MOST_UPLOADED, routes
from liquidvision.web.workers import Training, Workers

try:
    from aiohttp import WSMsgType, web
except ImportError as error:
    raise DependencyError("webcam --web needs aiohttp: pip install 'liquidvision[web]'") from error

PAGE = Path(__file__).parent / "page"
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
ASSETS = {path.name: KINDS[path.suffix] for path in PAGE.iterdir() if path.suffix in KINDS}
MOST_CONNECTIONS = 32
HEARTBEAT, CLOSING = 20.0, 2.0  # seconds between two signs of life; to part in
TAKEN_OVER = 4000  # code of the close frame where the same client came again
KEPT, MOST_KEPT = 600.0, 8  # seconds and number of lost clients whose examples wait for them
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # the token is in the address
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
log = logging.getLogger(__name__)
# What aiohttp says of requests that are no HTTP, or cut short: strangers could fill a log with it. Faults of ours are
# told by `_guard`.
strangers = logging.getLogger(f"{__name__}.strangers")
strangers.setLevel(logging.CRITICAL)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def serve(
    model: Model,
    *,
    host: str = "127.0.0.1",
    port: int = 8737,
    token: str | None = None,
    open_browser: bool = True,
    on_ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve the page until Ctrl-C, or SIGTERM, where it returns.

    Args:
        model: what the page shows first, and whose backbone heads are taught on.
        host: address to listen at.
        port: 0 takes one that is free.
        token: what every address must carry; needed where `host` is not this machine alone.
        open_browser: show the page at once.
        on_ready: called with the page's address.

    Raises:
        UsageError: no token where others may come.
        SinkError: the port is taken, or there is no such host.
    """
    if host not in LOOPBACK and not token:
        raise UsageError(f"host {host} lets others in; give a token")

    async def run() -> None:
        over = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # on Windows, where Ctrl-C raises KeyboardInterrupt
                asyncio.get_running_loop().add_signal_handler(number, over.set)
        server = Server(model, token=token)
        try:
            address = await server.start(host, port)
            on_ready(address)
            if open_browser:
                webbrowser.open(address)
            await over.wait()
        finally:
            await server.stop()

    asyncio.run(run())


@dataclass(slots=True)
class Client:
    """A connection that is open."""

    connection: Connection
    socket: web.WebSocketResponse
    training: Training | None = None
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class Server:
    """All clients of one model.

    Args:
        model: see `serve`.
        token: see `serve`.
    """

    def __init__(self, model: Model, *, token: str | None = None) -> None:
        self._token = token
        self._workers = Workers(SharedModel(model))
        self._clients: dict[str, Client] = {}
        self._open = 0
        self._lost: dict[str, tuple[Connection, float]] = {}
        self._app = web.Application(middlewares=[self._guard], client_max_size=MOST_UPLOADED)
        self._app.add_routes(
            [
                web.get("/", self._index),
                web.get("/{name:[a-z]+\\.(?:js|css|svg)}", self._asset),
                web.get("/ws", self._socket),
                *routes(self._workers, lambda key: client.connection if (client := self._clients.get(key)) else None),
            ]
        )
        self._runner = web.AppRunner(self._app, access_log=None, logger=strangers, shutdown_timeout=1.0)
        self._warm: asyncio.Future[None] | None = None

    async def start(self, host: str, port: int) -> str:
        """Listen; the page's address.

        Raises:
            SinkError: the port is taken, or there is no such host.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except (OSError, OverflowError) as error:
            raise SinkError(f"cannot listen at {host}, port {port}: {error}; choose another port (--port)") from error
        await self._workers.see(self._workers.sight.warm_up)
        # What learns is warmed up too, for which the page need not wait.
        self._warm = asyncio.ensure_future(self._workers.learn(warm_up, self._workers.sight.layouts))
        found = self._runner.addresses[0][1]
        name = f"[{host}]" if ":" in host else host
        return f"http://{name}:{found}/" + (f"?token={quote(self._token)}" if self._token else "")

    async def warm(self) -> None:
        """Wait until a first training would take no longer than another."""
        if self._warm is not None:
            await asyncio.wait([self._warm])

    async def stop(self) -> None:
        """Part from all clients, and finish what is in hand."""
        clients = list(self._clients.values())
        for client in clients:
            await client.socket.close(code=1001, message=b"the server ends")
        await asyncio.gather(*(client.gone.wait() for client in clients))
        await self._runner.cleanup()
        await self.warm()
        await asyncio.get_running_loop().run_in_executor(None, self._workers.close)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse who comes by another name than ours, or from another site's page; and who has no token."""
        if reason := self._objection(request):
            return web.Response(status=403, text=reason + "\n", headers=HEADERS)
        try:
            answer = await handler(request)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception:
            log.exception("a request failed")
            return web.Response(status=500, text="the server failed; its log says more\n", headers=HEADERS)
        if not answer.prepared:
            answer.headers.update(HEADERS)
        return answer

    def _objection(self, request: web.Request) -> str:
        return objection(
            request.host,
            request.headers.get("Origin"),
            request.headers.get("X-Forwarded-Host"),
            request.query.get("token", ""),
            self._token,
            public=request.path.lstrip("/") in ASSETS,
        )

    async def _index(self, _: web.Request) -> web.StreamResponse:
        return web.Response(body=(PAGE / "index.html").read_bytes(), content_type="text/html", charset="utf-8")

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in ASSETS:
            raise web.HTTPNotFound
        return web.Response(body=(PAGE / name).read_bytes(), content_type=ASSETS[name], charset="utf-8")

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=LARGEST_FRAME, heartbeat=HEARTBEAT, timeout=CLOSING, compress=False)
        try:
            await socket.prepare(request)
        except ValueError as error:  # headers that are no text
            raise web.HTTPBadRequest(text="this is no WebSocket's greeting\n") from error
        if self._open >= MOST_CONNECTIONS:
            await socket.close(code=TRY_LATER, message=b"too many clients; try again later")
            return socket
        self._open += 1
        client = None
        try:
            client = Client(await self._welcome(request.query.get("resume", "")), socket)
            self._clients[client.connection.key] = client
            await self._converse(client)
        except RefusedError as error:
            await socket.close(code=error.code, message=error.reason.encode()[:120])
        except ConnectionError as error:
            log.info("a client is gone: %s", error)
        except Exception:
            log.exception("a connection failed")
            await socket.close(code=1011, message=b"the server failed; its log says more")
        finally:
            self._open -= 1
            if client is not None:
                await self._part(client)
        return socket

    async def _converse(self, client: Client) -> None:
        """One message after another: the next is read when the last is answered."""
        socket, connection, pace = client.socket, client.connection, Pace()
        training = client.training = Training(self._workers, connection)
        await socket.send_json(connection.hello())
        await socket.send_json(await self._workers.see(connection.state))

        async def answer(message: dict[str, Any]) -> None:
            with contextlib.suppress(ConnectionError):
                await socket.send_json(message)

        async for message in socket:
            pace.count(time.monotonic())
            if message.type == WSMsgType.BINARY:
                answers = await self._workers.see(connection.see, message.data)
            elif message.type == WSMsgType.TEXT:
                command = read_command(message.data)
                if command.name == "train":
                    training.want(answer)
                    continue
                answers = await self._workers.see(connection.do, command)
            else:  # broken by the client; closed by aiohttp with its reason
                return
            for each in answers:
                await socket.send_json(each)

    async def _welcome(self, key: str) -> Connection:
        """A new client, or one that lost its connection, or was reloaded, and comes again."""
        if there := self._clients.get(key):
            await there.socket.close(code=TAKEN_OVER, message=b"opened elsewhere")
            await there.gone.wait()
        kept, _ = self._lost.pop(key, (None, 0.0))
        if kept is None:
            return Connection(self._workers.sight)
        await self._workers.see(kept.come_again)
        return kept

    async def _part(self, client: Client) -> None:
        """A client is gone; what it taught waits for it for a while."""
        if client.training is not None:
            await client.training.leave()
        connection, now = client.connection, time.monotonic()
        del self._clients[connection.key]
        if connection.teaching.album.classes:
            self._lost[connection.key] = (connection, now)
        fresh = [(key, kept) for key, kept in self._lost.items() if now - kept[1] < KEPT]
        self._lost = dict(fresh[-MOST_KEPT:])
        client.gone.set()
