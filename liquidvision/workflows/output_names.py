"""Which output belongs to which source: kept in each folder of outputs, so that a later run recognises its sources."""

import hashlib
import json
import os
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from liquidvision.video.read.local_files import local_path

INDEX_NAME = ".liquidvision-outputs"  # in a folder of outputs: a line of JSON for each complete output


def source_identity(source: str, folder: Path) -> str:
    """Return what distinguishes a source from others of the same name; it never contains a password.

    A file is identified by its path relative to the folder of the outputs, so that both can be moved together.
    """
    path = local_path(source)
    if path is None or source.isdecimal():
        return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()
    with suppress(ValueError, OSError):  # on Windows, a path on another drive
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    return str(path.absolute())


def read_output_names(folder: Path) -> dict[str, str]:
    """Return the names of a folder's outputs, without suffix, by the identities of their sources."""
    names: dict[str, str] = {}
    with suppress(OSError, UnicodeError):
        for line in (folder / INDEX_NAME).read_text(encoding="utf-8").splitlines():
            with suppress(ValueError, KeyError, TypeError):  # a line that was cut off
                entry = json.loads(line)
                names = {source: name for source, name in names.items() if name != entry["output"]}
                names[str(entry["source"])] = str(entry["output"])
    return names


def remember_output(path: Path, source: str) -> None:
    """Note that a file is the complete output of a source; without the note, its name alone identifies it."""
    identity = source_identity(source, path.parent)
    with suppress(OSError), (path.parent / INDEX_NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"source": identity, "output": path.stem}) + "\n")


def distinct_names(sources: Sequence[str], stems: Sequence[str], folder: Path | None = None) -> list[str]:
    """Return a name for each source's outputs, without suffix: its stem, with a number if that is taken.

    Args:
        sources: the sources.
        stems: a name for each.
        folder: the folder of an earlier run, whose sources keep their names. None: there was none.
    """
    known = {} if folder is None else read_output_names(folder)
    taken = {file_key(name) for name in known.values()}
    names = []
    for source, stem in zip(sources, stems, strict=True):
        name = None if folder is None else known.get(source_identity(source, folder))
        number = 2
        if name is None:
            name = stem
            while file_key(name) in taken:
                name, number = f"{stem}-{number}", number + 1
        taken.add(file_key(name))
        names.append(name)
    return names


def file_key(name: str) -> str:
    """Return what names of one file have in common where a file system ignores case and Unicode form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
