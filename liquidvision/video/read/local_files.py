"""What a source is on this machine's disks: its path, and whether it can be read more than once."""

import os
import stat
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

STDIN = "-"  # the source that stands for standard input
PIPE_HINT = "; from a pipe, MP4 and MOV can only be read with their index first (faststart)"


def local_path(source: str | Path | int) -> Path | None:
    """Return the path of a source, which may be a file:// URL or "-"; None for other URLs and camera indices."""
    name = str(source)
    if name == STDIN:
        return Path("/dev/stdin")
    if name.lower().startswith("file://"):
        return Path(url2pathname(urlsplit(name).path))
    return None if "://" in name or isinstance(source, int) else Path(name)


def is_same_file(path: Path, other: Path | None) -> bool:
    """Return whether both are the same existing file, also under another name: a link, or upper and lower case."""
    try:
        return other is not None and path.samefile(other)
    except (OSError, ValueError):
        return False


def is_read_once(path: Path) -> bool:
    """Return whether a file is a pipe or a socket, which gives its data once."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
