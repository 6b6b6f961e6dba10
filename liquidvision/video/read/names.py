"""Which names stand for a sequence of pictures."""

import os
import re
from pathlib import Path

PICTURE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"))
NUMBER_PATTERN = re.compile(r"%(?:0(\d+))?d")


def names_pictures(source: str | Path) -> bool:
    """Return whether a source is a folder that holds pictures, or a pattern of numbered names."""
    path = Path(source)
    if "://" in str(source) or os.path.isfile(path):
        return False
    return bool(NUMBER_PATTERN.search(path.name)) or (os.path.isdir(path) and bool(pictures_in(path)))


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of a folder; numbers in their names count as numbers: 2.jpg comes before 10.jpg."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES and path.name[0] != "."]
    return sorted(found, key=lambda path: [part.zfill(20) for part in re.split(r"(\d+)", path.name)])


def numbered_files(pattern: Path) -> list[tuple[int, Path]]:
    """Return the files that match a pattern with one %d or %0Nd, with their numbers, in order."""
    digits = NUMBER_PATTERN.search(pattern.name)
    if digits is None or not os.path.isdir(pattern.parent):
        return []
    width = int(digits[1] or 1)
    before, after = re.escape(pattern.name[: digits.start()]), re.escape(pattern.name[digits.end() :])
    name = re.compile(rf"{before}(\d{{{width},}}){after}", re.DOTALL)
    matches = ((name.fullmatch(path.name), path) for path in pattern.parent.iterdir())
    return sorted((int(match[1]), path) for match, path in matches if match is not None)
