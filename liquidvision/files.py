"""Atomic writes: a file appears under its final name only when it is complete."""

import glob
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

ABANDONED_SECONDS = 24 * 3600  # age after which a temporary file is considered abandoned


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that it appears under its name only when it is complete."""
    write_all_atomic({path: content})


def remove_abandoned_parts(path: Path) -> None:
    """Remove temporary files of `path` older than `ABANDONED_SECONDS`, which killed processes left behind."""
    for part in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
        with suppress(OSError):  # removed by another process, or not ours to remove
            if time.time() - part.stat().st_mtime > ABANDONED_SECONDS:
                part.unlink()


def write_all_atomic(files: Mapping[Path, bytes]) -> None:
    """Write several files as `write_atomic` does. None gets its final name before all are written."""
    # Random names, because several machines, processes or threads may write the same file.
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
