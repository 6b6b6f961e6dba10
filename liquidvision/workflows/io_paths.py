"""Which sources the arguments stand for (files, folders, globs, lists, URLs, cameras), and where outputs go."""

import glob
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from liquidvision.errors import SourceError, UsageError
from liquidvision.video.read.listing import list_videos
from liquidvision.video.read.local_files import STDIN, local_path
from liquidvision.video.read.names import holds_pictures, matches_pictures, names_pictures
from liquidvision.workflows.output_names import distinct_names

LIST_SUFFIXES = frozenset({".txt", ".streams"})


def expand_sources(sources: Sequence[str], *, pictures: bool = False) -> list[str]:
    """Return all sources that the arguments stand for, in order and without duplicates.

    A folder stands for the videos in it, a pattern for its matches, a .txt or .streams file for its lines (`#` starts
    a comment). A folder without videos and a pattern without matches stand for themselves: they fail when it is
    their turn, and the other sources run.

    Args:
        sources: the arguments.
        pictures: whether a folder of pictures, and a pattern of pictures such as shots/*.jpg, is one source; then a
            folder stands for the folders of pictures in it, too.

    Raises:
        SourceError, UsageError: a list that cannot be read, see `read_source_list`.
    """
    found: list[str] = []
    for source in sources:
        path = Path(source)
        if "://" in source:
            found.append(source)
        elif os.path.isdir(path):
            found += _videos_in(path, pictures) or [source]
        elif path.suffix.lower() in LIST_SUFFIXES and os.path.isfile(path):
            found += expand_sources(read_source_list(path), pictures=pictures)
        elif not os.path.exists(path) and glob.has_magic(source) and not (pictures and matches_pictures(path)):
            found += expand_sources(sorted(glob.glob(source, recursive=True)), pictures=pictures) or [source]
        else:
            found.append(source)
    return list(dict.fromkeys(found))


def _videos_in(folder: Path, pictures: bool) -> list[str]:
    """Return the videos of a folder; none if it cannot be read, or is a video of pictures itself."""
    try:
        found = list_videos(folder, pictures=pictures and not holds_pictures(folder))
        return [str(path) for path in found]
    except OSError:
        return []


def read_source_list(path: Path) -> list[str]:
    """Return the sources that a list names, one per line. A list must not name other lists.

    A name that does not exist in the current folder, and does in the list's, is relative to the list.

    Raises:
        SourceError: the file is not UTF-8 text.
        UsageError: it names a list.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeError as error:
        raise SourceError(f"{path} cannot be read as a list of sources in UTF-8: {error}") from error
    named = [line for line in lines if line and not line.startswith("#")]
    for line in named:
        if "://" not in line and Path(line).suffix.lower() in LIST_SUFFIXES:
            raise UsageError(f"{path} names {line}, another list; name its sources instead")
    return [_beside_list(line, path) for line in named]


def _beside_list(line: str, path: Path) -> str:
    """Return a source of a list, relative to the list's folder if it exists only there."""
    beside = path.parent / line
    if "://" in line or os.path.exists(line) or glob.glob(line, recursive=True):
        return line
    return str(beside) if os.path.exists(beside) or glob.glob(str(beside), recursive=True) else line


def output_stem(source: str) -> str:
    """Return a safe file name, without suffix, for the outputs of a source. It never contains a password."""
    if source == STDIN:
        return "stdin"
    if "://" in source:
        host_and_path = source.split("://", 1)[1].rpartition("@")[2].split("?")[0]
        return re.sub(r"[^\w.-]+", "_", host_and_path).strip("._") or "stream"
    if names_pictures(source) and not os.path.isdir(source):  # a pattern of pictures: the folder's name
        return Path(source).resolve().parent.name or "pictures"
    if os.path.isdir(source):  # the name of a folder has no suffix
        return Path(source).resolve().name or "pictures"
    return f"camera{source}" if source.isdecimal() and not os.path.exists(source) else Path(source).stem


def output_paths(
    sources: Sequence[str],
    out: Path | None,
    *,
    exist_ok: bool,
    suffix: str = ".mp4",
    default: Path = Path("runs/infer"),
    resume: bool = False,
) -> list[Path]:
    """Return the path of each source's output: `out` itself, if it has a suffix, else a file in the folder `out`.

    Without `out` the folder is `default`, with a number appended if that folder already contains files. With `resume`
    the sources of an earlier run keep the names of their outputs in it.

    Raises:
        UsageError: one file name for several sources, an output that already exists, or one that is a source.
    """
    if out is not None and names_file(out):
        if len(sources) > 1:
            raise UsageError(f"{out} is one file for {len(sources)} sources; give a folder")
        paths = [out]
    else:
        folder = out or free_folder(default, exist_ok=exist_ok)
        names = distinct_names(sources, [output_stem(source) for source in sources], folder if resume else None)
        paths = [folder / f"{name}{suffix}" for name in names]
    files = source_files(sources)
    for path in paths:
        refuse_overwriting(path, exist_ok=exist_ok)
        refuse_sources(path, files)
    return paths


def source_files(sources: Sequence[str]) -> set[tuple[int, int]]:
    """Return device and inode of the files among the sources, also of those given as links or file:// URLs."""
    found = set()
    for source in sources:
        path = local_path(source)
        with suppress(OSError, ValueError):
            if path is not None:
                status = path.stat()
                found.add((status.st_dev, status.st_ino))
    return found


def refuse_sources(path: Path, files: set[tuple[int, int]]) -> None:
    """Raise UsageError if an output is one of the source files, by whatever name; see `source_files`."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return
    if (status.st_dev, status.st_ino) in files:
        raise UsageError(f"{path} is one of the sources, or a link to it; choose another output")


def record_paths(
    sources: Sequence[str], out: Path | None, suffixes: Sequence[str], *, exist_ok: bool, resume: bool = False
) -> list[Path | None]:
    """Return the path of each source's records, see `output_paths`; in a folder they get the first of `suffixes`.

    "-" stands for standard output.

    Raises:
        UsageError: another suffix, one file name for several sources, or a file that already exists.
    """
    if out is None:
        return [None] * len(sources)
    if str(out) == "-":
        if len(sources) > 1:
            raise UsageError(f"- is one stream for the records of {len(sources)} sources; give a folder")
        return [out]
    check_output_suffix(out, suffixes)
    return list(output_paths(sources, out, exist_ok=exist_ok, suffix=suffixes[0], resume=resume))


def frame_folders(sources: Sequence[str], out: Path | None, *, exist_ok: bool) -> list[Path | None]:
    """Return the folder of each source's frames: `out` itself for a single source, else a folder in it for each.

    Raises:
        UsageError: a file of that name, or a folder that already contains files.
    """
    if out is None:
        return [None] * len(sources)
    folders = (
        [out]
        if len(sources) == 1
        else [out / name for name in distinct_names(sources, [output_stem(source) for source in sources])]
    )
    for folder in folders:
        if os.path.exists(folder) and not os.path.isdir(folder):
            raise UsageError(f"{folder} is a file; expected a folder for the frames")
        if not exist_ok and holds_files(folder):
            raise UsageError(f"{folder} already contains files; choose another folder, or add to it with --exist-ok")
    return list(folders)


def may_be_live(name: str) -> bool:
    """Return whether a source may have no end: a camera or a URL."""
    return "://" in name or name.isdecimal() or name.startswith(("/dev/video", "/dev/v4l/"))


def outputs_complete(outputs: Sequence[Path | None]) -> bool:
    """Return whether all files of a source exist. A file has its final name only when it is complete.

    Raises:
        UsageError: the job writes no file.
    """
    files = [path for path in outputs if path is not None and str(path) != "-"]
    if not files:
        raise UsageError("--resume looks at the files that are written; write a video or records")
    return all(os.path.isfile(path) for path in files)


def names_file(out: Path) -> bool:
    """Return whether an output is a file: it has a suffix (`results/v1.2` has none), and is not a folder."""
    return bool(out.suffix) and not out.suffix[1:].isdigit() and not os.path.isdir(out)


def check_output_suffix(out: Path, suffixes: Sequence[str]) -> None:
    """Raise UsageError if `out` is a file with none of these suffixes."""
    if names_file(out) and out.suffix.lower() not in suffixes:
        raise UsageError(f"{out} ends in {out.suffix}; expected {' or '.join(suffixes)}, or a folder")


def refuse_overwriting(path: Path, *, exist_ok: bool) -> None:
    """Raise UsageError if `path` exists and must not be replaced."""
    if os.path.exists(path) and not exist_ok:
        raise UsageError(f"{path} already exists; choose another name, or replace it with --exist-ok")


def free_folder(folder: Path, *, exist_ok: bool) -> Path:
    """Return the folder itself, or its name with the next free number if it already contains files."""
    candidate, number = folder, 2
    while not exist_ok and (os.path.isfile(candidate) or holds_files(candidate)):
        candidate, number = folder.with_name(f"{folder.name}-{number}"), number + 1
    return candidate


def holds_files(folder: Path) -> bool:
    """Return whether a folder holds anything, as far as it can be read."""
    try:
        return bool(os.listdir(folder))
    except OSError:  # no folder, or one that refuses: writing into it then says why
        return False


def free_file(folder: Path, stem: str, suffix: str) -> Path:
    """Return the path `folder/stem` with that suffix, or with the next free number after its stem."""
    candidate, number = folder / f"{stem}{suffix}", 2
    while os.path.exists(candidate):
        candidate, number = folder / f"{stem}-{number}{suffix}", number + 1
    return candidate
