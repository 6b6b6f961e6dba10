"""Which names stand for a sequence of pictures, and the rate that such a sequence needs."""

import glob
import os
import re
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

from liquidvision.errors import UsageError

PICTURE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"))
JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
NUMBER_PATTERN = re.compile(r"%(?:0(\d+))?d")


def names_pictures(source: str | Path) -> bool:
    """Return whether a source is a folder that holds pictures, or a pattern: shots/%05d.jpg, or shots/*.jpg."""
    path = Path(source)
    if "://" in str(source) or os.path.isfile(path):
        return False
    return bool(NUMBER_PATTERN.search(path.name)) or holds_pictures(path) or matches_pictures(path)


def matches_pictures(pattern: Path) -> bool:
    """Return whether a path is a pattern such as shots/*.jpg that matches files."""
    if pattern.suffix.lower() not in PICTURE_SUFFIXES or not glob.has_magic(pattern.name) or os.path.exists(pattern):
        return False
    return any(map(os.path.isfile, glob.iglob(str(pattern))))


def holds_pictures(folder: Path) -> bool:
    """Return whether a path is a folder with pictures directly in it."""
    try:
        if not os.path.isdir(folder):
            return False
        with os.scandir(folder) as entries:
            return any(map(is_picture, entries))
    except OSError:  # it must not be read
        return False


def is_picture(entry: "os.DirEntry[str]") -> bool:
    """Return whether an entry of a folder is the file of a picture, by its name."""
    suffix = os.path.splitext(entry.name)[1].lower()
    return suffix in PICTURE_SUFFIXES and entry.name[0] != "." and entry.is_file()


def picture_files(source: Path) -> list[tuple[int, Path]]:
    """Return the files of a folder of pictures, or of a pattern, each with its place in time, from 0.

    In a folder, and with a pattern such as *.jpg, numbers in names count as numbers: 2.jpg comes before 10.jpg. With a
    pattern such as %05d.jpg, the number of a picture is its place, so a missing number is a gap.
    """
    if os.path.isdir(source):
        with os.scandir(source) as entries:
            found = [Path(entry.path) for entry in entries if is_picture(entry)]
    elif matches_pictures(source):
        found = [Path(name) for name in glob.iglob(str(source)) if os.path.isfile(name)]
    else:
        numbered = numbered_files(source)
        return [(number - numbered[0][0], path) for number, path in numbered]
    return list(enumerate(sorted(found, key=lambda path: [part.zfill(20) for part in re.split(r"(\d+)", path.name)])))


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


def exact_rate(rate: float | Fraction) -> Fraction:
    """Return pictures per second as a fraction.

    Raises:
        UsageError: the rate is not positive.
    """
    if not 0 < rate < float("inf"):
        raise UsageError(f"rate is {rate}; expected pictures per second above 0")
    return Fraction(rate).limit_denominator(100_000) or Fraction(1, 100_000)


def rate_missing(source: str | Path) -> str:
    """Return the message that pictures need a rate."""
    return f"{source} holds pictures without times; give their number per second with --rate"


def check_rate(sources: Iterable[str | Path], rate: float | None, where: str | Path) -> None:
    """Raise UsageError where pictures have no rate, or a rate has no pictures.

    Args:
        sources: all that will be read.
        rate: pictures per second; None: none is given.
        where: what names the sources, for the message.
    """
    if rate is not None:
        exact_rate(rate)
    pictures = next((source for source in sources if names_pictures(source)), None)
    if pictures is not None and rate is None:
        raise UsageError(rate_missing(pictures))
    if pictures is None and rate is not None:
        raise UsageError(f"rate applies to folders and patterns of pictures, and {where} is neither; leave it out")
