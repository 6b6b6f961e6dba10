"""Downloads and uploads of what one client taught: model folders and examples, as zips."""

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

MOST_UPLOADED = 256 * 2**20  # bytes
LONGEST_UPLOAD = 120.0  # seconds


def routes(workers: Workers, find: Callable[[str], Connection | None]) -> list[web.RouteDef]:
    """The routes.

    Args:
        workers: who packs and unpacks.
        find: the open connection of a key.
    """
    transfer = Transfer(workers, find)
    return [
        web.get("/export/{what:model|examples}", transfer.export),
        web.post("/import", transfer.take),
    ]


class Transfer:
    """See `routes`."""

    def __init__(self, workers: Workers, find: Callable[[str], Connection | None]) -> None:
        self._workers, self._find = workers, find
        self._uploads = asyncio.Semaphore(2)  # at a time

    def _connection(self, request: web.Request) -> Connection:
        found = self._find(request.query.get("session", ""))
        if found is None:
            raise web.HTTPForbidden(text="no such session; connect first\n")
        return found

    async def export(self, request: web.Request) -> web.StreamResponse:
        connection, what = self._connection(request), request.match_info["what"]
        if what == "model":
            if connection.taught is None:
                raise web.HTTPConflict(text="nothing was taught yet; show examples, and train\n")
            data = await self._workers.learn(bundle.pack_model, connection.taught)
        else:
            examples = await self._workers.see(lambda: connection.teaching.examples)
            if not examples:
                raise web.HTTPConflict(text="there are no examples yet\n")
            data = await self._workers.learn(bundle.pack_examples, examples, self._workers.sight)
        name = {"model": "taught", "examples": "examples"}[what]
        headers = {"Content-Disposition": f'attachment; filename="{name}.zip"'}
        return web.Response(body=data, content_type="application/zip", headers=headers)

    async def take(self, request: web.Request) -> web.StreamResponse:
        connection = self._connection(request)
        with tempfile.TemporaryDirectory() as place:
            path, folder, size = Path(place) / "upload.zip", Path(place) / "unpacked", 0
            folder.mkdir()
            async with self._uploads, asyncio.timeout(LONGEST_UPLOAD):
                with path.open("wb") as file:
                    async for chunk in request.content.iter_chunked(2**16):
                        size += len(chunk)
                        if size > MOST_UPLOADED:
                            raise web.HTTPRequestEntityTooLarge(MOST_UPLOADED, size)
                        file.write(chunk)
                try:
                    said = await self._bring(connection, path, folder)
                except LiquidVisionError as error:
                    told = str(error).replace(f"{folder}/", "")
                    raise web.HTTPBadRequest(text=f"{told}\n") from error
        return web.json_response({"text": said, "teaching": await self._workers.see(connection.state)})

    async def _bring(self, connection: Connection, path: Path, folder: Path) -> str:
        """Take an uploaded zip; what it was."""
        sight = self._workers.sight
        names = await self._workers.learn(bundle.unpack, path, folder)
        if bundle.INDEX in names:
            examples = await self._workers.learn(bundle.read_examples, folder, sight)
            await self._workers.see(connection.bring, examples, [example.label for example in examples])
            return f"{len(examples)} examples were added"
        if CONFIG_FILE in names:
            model = await self._workers.learn(bundle.read_model, folder, sight)
            await self._workers.see(connection.bring_model, model)
            return f"the model with {', '.join(model.labels)} is in use"
        raise UsageError(f"the zip holds no {bundle.INDEX} and no {CONFIG_FILE}; expected one that the page exported")
