"""What a clip's files hold, so that copies and changes are recognised: of a video, or of pictures."""

import hashlib
from collections.abc import Hashable
from pathlib import Path

from liquidvision.video.read.names import names_pictures, picture_files


def clip_files(path: Path) -> list[tuple[int, Path]]:
    """Return the files of a clip, each with its place in time: a video alone, or pictures in their order.

    Raises:
        OSError: the folder of the pictures cannot be read.
    """
    return picture_files(path) if names_pictures(path) else [(0, path)]


def clip_exists(path: Path) -> bool:
    """Return whether a clip is a file, or a folder or pattern of pictures."""
    return path.is_file() or names_pictures(path)


def measure_size(path: Path) -> int:
    """Return the number of bytes of a clip.

    Raises:
        OSError: a file cannot be read.
    """
    return sum(file.stat().st_size for _, file in clip_files(path))


def stamp_content(path: Path) -> Hashable:
    """Return what changes whenever a clip's files are written, without reading them.

    Raises:
        OSError: a file cannot be read.
    """
    stats = [(place, str(file), file.stat()) for place, file in clip_files(path)]
    return tuple((place, file, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for place, file, s in stats)


def hash_content(path: Path) -> str:
    """Return a hash of a clip's bytes; of pictures, with their places in time. Names do not matter.

    Raises:
        OSError: a file cannot be read.
    """
    if not names_pictures(path):
        return hash_file(path)
    digest = hashlib.sha256()
    for place, file in picture_files(path):
        digest.update(f"{place} {hash_file(file)}\n".encode())
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """Return a hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
