"""The web server: serves the page, and talks to each client over a WebSocket."""

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
from liquidvision.inference.pipeline import LookPlan
from liquidvision.models.model import Model
from liquidvision.training.few_shot import warm_up
from liquidvision.web.access import LOOPBACK, find_access_error
from liquidvision.web.connection import Connection
from liquidvision.web.protocol import MAX_FRAME_BYTES, TRY_LATER, RateLimiter, RefusedError, read_command
from liquidvision.web.shared_model import SharedModel
from liquidvision.web.transfer import MAX_UPLOAD_BYTES, Transfer
from liquidvision.web.workers import TrainingQueue, Workers

try:
    from aiohttp import WSMsgType, web
except ImportError as error:
    raise DependencyError("webcam --web needs aiohttp: pip install 'liquidvision[web]'") from error

PAGE_FOLDER = Path(__file__).parent / "page"
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
ASSETS = {path.name: MEDIA_TYPES[path.suffix] for path in PAGE_FOLDER.iterdir() if path.suffix in MEDIA_TYPES}
MAX_CONNECTIONS = 32
HEARTBEAT_SECONDS, CLOSE_TIMEOUT = 20.0, 2.0
REPLACED = 4000  # close code: the same client connected again elsewhere
RESUME_SECONDS = 600.0  # how long the examples of a lost client are kept
MAX_RESUMABLE = 8  # number of lost clients whose examples are kept
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # the address contains the token
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
log = logging.getLogger(__name__)
# aiohttp logs malformed and incomplete requests here, with which anybody could fill a log. `_handle_request` logs the
# server's own errors.
request_log = logging.getLogger(f"{__name__}.requests")
request_log.setLevel(logging.CRITICAL)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def serve(
    model: Model,
    *,
    host: str = "127.0.0.1",
    port: int = 8737,
    token: str | None = None,
    open_browser: bool = True,
    adapt: bool = False,
    on_ready: Callable[[str], None] = lambda address: None,
    look_ahead: float | None = None,
) -> None:
    """Serve the page until Ctrl-C or SIGTERM, then return.

    Args:
        model: the model that the page starts with, and whose backbone heads are taught on.
        host: address to listen on.
        port: 0 takes a free one.
        token: secret that every address must contain; required unless `host` is this machine only.
        open_browser: open the page in the default browser.
        adapt: adapt to each client's stream, with heads that can, see `Session`.
        on_ready: called with the address of the page.
        look_ahead: seconds by which predictions look ahead, see `LookAhead`, beside those that come at once. None: they
            do not.

    Raises:
        UsageError: others can connect, but there is no token; or the model has no backward head to look ahead with.
        SinkError: the port is in use, or the host does not exist.
    """
    LookPlan(look_ahead=look_ahead).checked(model)
    if host not in LOOPBACK and not token:
        raise UsageError(f"host {host} lets others connect; give a token")

    async def run() -> None:
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # on Windows, where Ctrl-C raises KeyboardInterrupt
                asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        server = Server(model, token=token, adapt=adapt, look_ahead=look_ahead)
        try:
            address = await server.start(host, port)
            on_ready(address)
            if open_browser:
                webbrowser.open(address)
            await stopped.wait()
        finally:
            await server.stop()

    asyncio.run(run())


@dataclass(slots=True)
class Client:
    """A connected client."""

    connection: Connection
    socket: web.WebSocketResponse
    trainings: TrainingQueue
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class Server:
    """Serves one model to all clients.

    Args:
        model: see `serve`.
        token: see `serve`.
        adapt: see `serve`.
        look_ahead: see `serve`.
    """

    def __init__(
        self, model: Model, *, token: str | None = None, adapt: bool = False, look_ahead: float | None = None
    ) -> None:
        self._token = token
        self._workers = Workers(SharedModel(model, adapt=adapt, look_ahead=look_ahead))
        self._clients: dict[str, Client] = {}
        self._open_sockets = 0
        self._resumable: dict[str, tuple[Connection, float]] = {}  # lost clients, and when they were lost
        self._app = web.Application(middlewares=[self._handle_request], client_max_size=MAX_UPLOAD_BYTES)
        self._app.add_routes(
            [
                web.get("/", self._index),
                web.get("/{name:[a-z]+\\.(?:js|css|svg)}", self._asset),
                web.get("/ws", self._socket),
                *Transfer(self._workers, self._find_connection).routes(),
            ]
        )
        self._runner = web.AppRunner(self._app, access_log=None, logger=request_log, shutdown_timeout=1.0)
        self._warm_up: asyncio.Future[None] | None = None

    async def start(self, host: str, port: int) -> str:
        """Start listening; return the address of the page.

        Raises:
            SinkError: the port is in use, or the host does not exist.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except (OSError, OverflowError) as error:
            raise SinkError(f"cannot listen on {host}, port {port}: {error}; choose another port (--port)") from error
        await self._workers.run_inference(self._workers.shared.warm_up)
        # Training is warmed up too, but the page need not wait for that.
        self._warm_up = asyncio.ensure_future(self._workers.run_background(warm_up, self._workers.shared.layouts))
        actual_port = self._runner.addresses[0][1]
        name = f"[{host}]" if ":" in host else host
        return f"http://{name}:{actual_port}/" + (f"?token={quote(self._token)}" if self._token else "")

    async def wait_until_warm(self) -> None:
        """Wait until training is warmed up."""
        if self._warm_up is not None:
            await asyncio.wait([self._warm_up])

    async def stop(self) -> None:
        """Disconnect all clients and finish running tasks."""
        clients = list(self._clients.values())
        for client in clients:
            await client.socket.close(code=1001, message=b"the server stops")
        await asyncio.gather(*(client.gone.wait() for client in clients))
        await self._runner.cleanup()
        await self.wait_until_warm()
        await asyncio.get_running_loop().run_in_executor(None, self._workers.close)

    def _find_connection(self, key: str) -> Connection | None:
        client = self._clients.get(key)
        return client.connection if client else None

    @web.middleware
    async def _handle_request(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check access, handle the request, add headers, and log errors of the server."""
        if reason := self._find_access_error(request):
            return web.Response(status=403, text=reason + "\n", headers=HEADERS)
        try:
            answer = await handler(request)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception:
            log.exception("a request failed")
            return web.Response(status=500, text="the server failed; see its log\n", headers=HEADERS)
        if not answer.prepared:
            answer.headers.update(HEADERS)
        return answer

    def _find_access_error(self, request: web.Request) -> str:
        return find_access_error(
            request.host,
            request.headers.get("Origin"),
            request.headers.get("X-Forwarded-Host"),
            request.query.get("token", ""),
            self._token,
            public=request.path.lstrip("/") in ASSETS,
        )

    async def _index(self, _: web.Request) -> web.StreamResponse:
        page = (PAGE_FOLDER / "index.html").read_bytes()
        return web.Response(body=page, content_type="text/html", charset="utf-8")

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in ASSETS:
            raise web.HTTPNotFound
        return web.Response(body=(PAGE_FOLDER / name).read_bytes(), content_type=ASSETS[name], charset="utf-8")

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            max_msg_size=MAX_FRAME_BYTES, heartbeat=HEARTBEAT_SECONDS, timeout=CLOSE_TIMEOUT, compress=False
        )
        try:
            await socket.prepare(request)
        except ValueError as error:  # malformed headers
            raise web.HTTPBadRequest(text="this is not a WebSocket handshake\n") from error
        if self._open_sockets >= MAX_CONNECTIONS:
            await socket.close(code=TRY_LATER, message=b"too many clients; try again later")
            return socket
        self._open_sockets += 1
        client = None
        try:
            connection = await self._open_connection(request.query.get("resume", ""))
            client = Client(connection, socket, TrainingQueue(self._workers, connection))
            self._clients[connection.key] = client
            await self._handle_messages(client)
        except RefusedError as error:
            await socket.close(code=error.code, message=error.reason.encode()[:120])
        except ConnectionError as error:
            log.info("a client disconnected: %s", error)
        except Exception:
            log.exception("a connection failed")
            await socket.close(code=1011, message=b"the server failed; see its log")
        finally:
            self._open_sockets -= 1
            if client is not None:
                await self._disconnect(client)
        return socket

    async def _handle_messages(self, client: Client) -> None:
        """Handle one message after another; the next is read when the last is answered."""
        socket, connection, limiter = client.socket, client.connection, RateLimiter()
        await socket.send_json(connection.hello_message())
        await socket.send_json(await self._workers.run_inference(connection.teaching_message))

        async def send(message: dict[str, Any]) -> None:
            with contextlib.suppress(ConnectionError):
                await socket.send_json(message)

        async for message in socket:
            limiter.count(time.monotonic())
            if message.type == WSMsgType.BINARY:
                answers = await self._workers.run_inference(connection.handle_frame, message.data)
            elif message.type == WSMsgType.TEXT:
                command = read_command(message.data)
                if command.name == "train":
                    client.trainings.request(send)
                    continue
                answers = await self._workers.run_inference(connection.handle_command, command)
            else:  # a protocol error of the client; aiohttp closes the socket with the reason
                return
            for answer in answers:
                await socket.send_json(answer)

    async def _open_connection(self, key: str) -> Connection:
        """Return the connection of a client that reconnects with its key, or a new one."""
        if replaced := self._clients.get(key):
            await replaced.socket.close(code=REPLACED, message=b"opened elsewhere")
            await replaced.gone.wait()
        connection, _ = self._resumable.pop(key, (None, 0.0))
        if connection is None:
            return Connection(self._workers.shared)
        await self._workers.run_inference(connection.restart_stream)
        return connection

    async def _disconnect(self, client: Client) -> None:
        """Remove a client that is gone; keep what it taught for a while."""
        await client.trainings.close()
        connection, now = client.connection, time.monotonic()
        del self._clients[connection.key]
        if connection.teaching.example_set.classes:
            self._resumable[connection.key] = (connection, now)
        recent = [(key, lost) for key, lost in self._resumable.items() if now - lost[1] < RESUME_SECONDS]
        self._resumable = dict(recent[-MAX_RESUMABLE:])
        client.gone.set()
