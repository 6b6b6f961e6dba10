"""Download and upload of taught models and examples as zips."""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from liquidvision.errors import LiquidVisionError, UsageError
from liquidvision.models.folder import CONFIG_FILE
from liquidvision.web import bundle
from liquidvision.web.connection import Connection
from liquidvision.web.workers import Workers

MAX_UPLOAD_BYTES = 256 * 2**20
UPLOAD_TIMEOUT = 120.0  # seconds
MAX_UPLOADS = 2  # at a time
CHUNK_BYTES = 2**16
EXPORT_NAMES = {"model": "taught.zip", "examples": "examples.zip"}


class Transfer:
    """Handles export and import.

    Args:
        workers: the threads that pack and unpack.
        find_connection: returns the open connection with a key.
    """

    def __init__(self, workers: Workers, find_connection: Callable[[str], Connection | None]) -> None:
        self._workers, self._find_connection = workers, find_connection
        self._uploads = asyncio.Semaphore(MAX_UPLOADS)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes for the server."""
        return [
            web.get("/export/{what:model|examples}", self.export_zip),
            web.post("/import", self.import_zip),
        ]

    def _connection(self, request: web.Request) -> Connection:
        connection = self._find_connection(request.query.get("session", ""))
        if connection is None:
            raise web.HTTPForbidden(text="there is no such session; connect first\n")
        return connection

    async def export_zip(self, request: web.Request) -> web.StreamResponse:
        """Send the taught model or the examples."""
        connection, what = self._connection(request), request.match_info["what"]
        if what == "model":
            if connection.taught is None:
                raise web.HTTPConflict(text="there is no taught model yet; record examples and train\n")
            data = await self._workers.run_background(bundle.pack_model, connection.taught)
        else:
            examples = await self._workers.run_inference(lambda: connection.teaching.examples)
            if not examples:
                raise web.HTTPConflict(text="there are no examples yet\n")
            data = await self._workers.run_background(bundle.pack_examples, examples, self._workers.shared)
        headers = {"Content-Disposition": f'attachment; filename="{EXPORT_NAMES[what]}"'}
        return web.Response(body=data, content_type="application/zip", headers=headers)

    async def import_zip(self, request: web.Request) -> web.StreamResponse:
        """Take in an uploaded model or uploaded examples."""
        connection = self._connection(request)
        with tempfile.TemporaryDirectory() as temporary:
            path, folder = Path(temporary) / "upload.zip", Path(temporary) / "unpacked"
            folder.mkdir()
            async with self._uploads, asyncio.timeout(UPLOAD_TIMEOUT):
                await _save_upload(request, path)
                try:
                    text = await self._import(connection, path, folder)
                except LiquidVisionError as error:
                    reason = str(error).replace(f"{folder}/", "")
                    raise web.HTTPBadRequest(text=f"{reason}\n") from error
        teaching = await self._workers.run_inference(connection.teaching_message)
        return web.json_response({"text": text, "teaching": teaching})

    async def _import(self, connection: Connection, path: Path, folder: Path) -> str:
        """Import an uploaded zip; return what it was, for the user."""
        shared = self._workers.shared
        names = await self._workers.run_background(bundle.unpack_zip, path, folder)
        if bundle.INDEX_FILE in names:
            examples = await self._workers.run_background(bundle.read_examples, folder, shared)
            await self._workers.run_inference(
                connection.import_examples, examples, [example.label for example in examples]
            )
            return f"{len(examples)} examples added"
        if CONFIG_FILE in names:
            model = await self._workers.run_background(bundle.read_model, folder, shared)
            await self._workers.run_inference(connection.import_model, model)
            return f"now using the model with {', '.join(model.labels)}"
        raise UsageError(
            f"the zip holds no {bundle.INDEX_FILE} and no {CONFIG_FILE}; expected a zip that this page saved"
        )


async def _save_upload(request: web.Request, path: Path) -> None:
    size = 0
    with path.open("wb") as file:
        async for chunk in request.content.iter_chunked(CHUNK_BYTES):
            size += len(chunk)
            if size > MAX_UPLOAD_BYTES:
                raise web.HTTPRequestEntityTooLarge(MAX_UPLOAD_BYTES, size)
            file.write(chunk)
