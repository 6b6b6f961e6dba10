"""Atomic writes: a file appears under its final name only when it is complete."""

import glob
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

ABANDONED_SECONDS = 24 * 3600  # seconds after which nobody writes at a file any more


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file beside `path` and rename it, so that `path` is never half written."""
    write_all_atomic({path: content})


def remove_abandoned_parts(path: Path) -> None:
    """Remove what writers of `path` that were killed left behind."""
    for part in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
        with suppress(OSError):  # another's part, gone by now or not ours to remove
            if time.time() - part.stat().st_mtime > ABANDONED_SECONDS:
                part.unlink()


def write_all_atomic(files: Mapping[Path, bytes]) -> None:
    """As `write_atomic`, for several: none is renamed before all are written."""
    # By chance, as processes of several machines, or threads, may write the same file.
    parts = {path: path.with_name(f"{path.name}.{secrets.token_hex(8)}.part") for path in files}
    try:
        for path in files:
            remove_abandoned_parts(path)
        for path, content in files.items():
            parts[path].write_bytes(content)
        for path, part in parts.items():
            part.replace(path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
