"""Finds the videos of a folder, for all commands: by their names, and by content where a name says nothing."""

import logging
import os
from pathlib import Path

from liquidvision.video.read import VIDEO_SUFFIXES
from liquidvision.video.read.names import PICTURE_SUFFIXES, holds_pictures

log = logging.getLogger(__name__)

# Further endings of videos, of cameras, recorders, discs and bare streams.
RARE_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("264", "265", "3g2", "avc", "dav", "divx", "dv", "f4v", "h264", "h265", "hevc", "ivf", "m1v", "m2v", "mod"),
        *("mpv", "nut", "ogm", "rm", "rmvb", "tod", "y4m"),
    )
)
# How files of video begin whose ending is of no known kind.
VIDEO_STARTS = (
    *(b"\x1a\x45\xdf\xa3", b"FLV\x01", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"\x00\x00\x00\x01\x67"),
    *(b"\x00\x00\x00\x01\x40\x01", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"YUV4MPEG2", b"DHAV", b"DKIF"),
)
OTHER_BRANDS = (b"M4A ", b"M4B ", b"heic", b"heix", b"mif1", b"avif", b"crx ")  # of sound and pictures in MP4's format
MAX_NAMED = 3  # of what is left out, in one line


def list_videos(folder: Path, *, deep: bool = False, pictures: bool = False) -> list[Path]:
    """Return the videos in a folder, sorted; what looks like a video and is left out is logged.

    Hidden files (macOS leaves ._clip.mp4), broken links and folders that are named like videos are left out.

    Args:
        folder: the folder.
        deep: also look into its folders, at any depth, but not into links to folders.
        pictures: whether a folder in it that holds pictures, and no videos, counts as a video.

    Raises:
        OSError: the folder cannot be read.
    """
    left_out: list[str] = []
    found = sorted(_find(folder, deep, pictures, left_out))
    if left_out:
        more = f" and {len(left_out) - MAX_NAMED} more" if len(left_out) > MAX_NAMED else ""
        log.warning("%s: left out %s%s", folder, ", ".join(left_out[:MAX_NAMED]), more)
    return found


def _find(folder: Path, deep: bool, pictures: bool, left_out: list[str]) -> list[Path]:
    found = []
    for path in sorted(folder.iterdir()):
        suffix = path.suffix.lower()
        named_like_video = suffix in VIDEO_SUFFIXES | RARE_SUFFIXES
        if path.name.startswith("."):
            if named_like_video:
                left_out.append(f"{path.name} (hidden)")
        elif os.path.isdir(path):
            found += _find_in_folder(path, deep, pictures, left_out)
        elif not os.path.isfile(path):
            if named_like_video:
                left_out.append(f"{path.name} ({'a broken link' if path.is_symlink() else 'not a file'})")
        elif named_like_video or (suffix not in PICTURE_SUFFIXES and begins_like_video(path)):
            found.append(path)
    return found


def _find_in_folder(path: Path, deep: bool, pictures: bool, left_out: list[str]) -> list[Path]:
    """Return the videos that a folder in a folder stands for: those in it, or itself if it holds pictures only."""
    link, inside = path.is_symlink(), []
    if deep and not link:
        try:
            inside = _find(path, deep, pictures, left_out)
        except OSError as error:
            left_out.append(f"{path.name} ({error.strerror})")
            return []
    if holds_pictures(path) and (deep or pictures):
        if pictures and not (inside or _holds_videos(path)):
            return [path]
        if pictures:
            left_out.append(f"the pictures in {path.name} (beside videos, or folders of pictures)")
        elif not inside:
            left_out.append(f"{path.name} (pictures; a rate, --rate, makes it a video)")
    elif path.suffix.lower() in VIDEO_SUFFIXES | RARE_SUFFIXES:
        left_out.append(f"{path.name} (a folder)")
    elif deep and link:
        left_out.append(f"{path.name} (a link to a folder)")
    return inside


def _holds_videos(folder: Path) -> bool:
    """Return whether videos lie directly in a folder."""
    return bool(_find(folder, False, False, []))


def begins_like_video(path: Path) -> bool:
    """Return whether a file's content begins like that of a video."""
    try:
        with path.open("rb") as file:
            start = file.read(400)
    except OSError:
        return False
    if start[4:8] == b"ftyp":
        return start[8:12] not in OTHER_BRANDS
    if start[:4] == b"RIFF":
        return start[8:12] == b"AVI "
    transport = len(start) > 376 and start[0] == start[188] == start[376] == 0x47
    return transport or start.startswith(VIDEO_STARTS)
