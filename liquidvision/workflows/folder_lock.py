"""Holds a model folder for one training, so that two never write into it at once."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from liquidvision.errors import SinkError, UsageError

LOCK_FILE = "training.lock"


@contextmanager
def lock_model_folder(folder: Path) -> Iterator[None]:
    """Hold a folder inside the block; the system releases it when the process ends, however that happens.

    The folder is made if it is missing, and removed at the end if nothing was written into it.

    Raises:
        UsageError: another training, of this process or another, holds the folder.
        SinkError: the folder cannot be made or written.
    """
    made = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = open_locked(folder / LOCK_FILE)
    except OSError as error:
        raise SinkError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    if descriptor is None:
        raise UsageError(
            f"another training is writing into {folder}; wait until it has ended, or choose another folder"
        )
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / LOCK_FILE).unlink()
        os.close(descriptor)
        with suppress(OSError):  # not empty: something was written
            for path in made:
                path.rmdir()


def open_locked(path: Path) -> int | None:
    """Return the descriptor of a file that is locked now; None if it is locked already."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        try:
            lock_descriptor(descriptor)
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            return None
        except OSError:  # a file system without locks
            return descriptor
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)  # removed by its holder between opening and locking: another file has the name now


def lock_descriptor(descriptor: int) -> None:
    """Lock an open file for this process without waiting; raise OSError where it is locked already."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
