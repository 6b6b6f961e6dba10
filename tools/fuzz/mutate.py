"""Mutations of video files: a case is a pure function of its seed and of the files it is made from.

`draw` chooses two files by the seed from a list; `make` makes the damaged file and the command's
options from the seed and the two files' bytes alone, so that a case stays the same in a longer list.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tools.fuzz.layout import fields

NUMBERS = (0, 1, 2, 3, 7, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
HEADS = 4096  # bytes at either end where headers lie


class Case(NamedTuple):
    """What is tried.

    Attributes:
        seed: the case's number.
        data: the damaged file.
        changes: names of what was done to it.
        options: of `liquidvision infer`, without source and outputs.
        suffix: of the video to write; "" writes none.
    """

    seed: int
    data: bytes
    changes: tuple[str, ...]
    options: tuple[str, ...]
    suffix: str


def draw(seed: int, files: Sequence[Path]) -> tuple[Path, Path]:
    """The file that case `seed` damages, and the one it may take parts from."""
    dice = random.Random(f"files {seed}")
    return dice.choice(files), dice.choice(files)


def make(seed: int, first: bytes, second: bytes) -> Case:
    """Case `seed` of two files."""
    dice = random.Random(f"case {seed}")
    data, changes = bytearray(first), []
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        change = dice.choice(CHANGES)
        if data:
            data = change(dice, data, second)
            changes.append(change.__name__)
    options = ["--max-frames", str(dice.choice((3, 5, 10, 30)))]
    if dice.random() < 0.1:
        options += ["--start", dice.choice(("0.1", "0.5", "2"))]
    if dice.random() < 0.1:
        options += ["--end", dice.choice(("2.5", "60"))]
    if dice.random() < 0.1:
        options += ["--vid-stride", dice.choice(("2", "7"))]
    if dice.random() < 0.5:
        options += ["--quiet"]
    suffix = dice.choice(("", ".mp4", ".mp4", ".mp4", ".mkv", ".mkv"))
    return Case(seed, bytes(data), tuple(changes), tuple(options), suffix)


def place(dice: random.Random, data: bytearray) -> int:
    """A place in the file, more likely in its heads than in the rest."""
    last = len(data) - 1
    where = dice.random()
    if where < 0.2:
        return dice.randint(0, min(HEADS, last))
    return dice.randint(max(0, last - HEADS), last) if where < 0.3 else dice.randint(0, last)


def span(dice: random.Random, data: bytearray) -> tuple[int, int]:
    """A part of the file: mostly short, sometimes long."""
    start = place(dice, data)
    return start, min(len(data), start + int(2 ** dice.uniform(0, 17)))


def flip_bits(dice: random.Random, data: bytearray, second: bytes) -> bytearray:
    for _ in range(dice.choice((1, 2, 8, 64, 512))):
        data[place(dice, data)] ^= 1 << dice.randrange(8)
    return data


def cut_end(dice: random.Random, data: bytearray, second: bytes) -> bytearray:
    return data[: place(dice, data)]


def cut_start(dice: random.Random, data: bytearray, second: bytes) -> bytearray:
    return data[place(dice, data) :]


def remove(dice: random.Random, data: bytearray, second: bytes) -> bytearray:
    start, end = span(dice, data)
    return data[:start] + data[end:]


def double(dice: random.Random, data: bytearray, second: bytes) -> bytearray:
    start, end = span(dice, data)
    return data[:end] + data[start:]


def overwrite(dice: random.Random, data: bytearray, second: bytes) -> bytearray:
    start, end = span(dice, data)
    data[start:end] = dice.choice((bytes(end - start), b"\xff" * (end - start), dice.randbytes(end - start)))
    return data


def splice(dice: random.Random, data: bytearray, second: bytes) -> bytearray:
    return data[: place(dice, data)] + second[place(dice, bytearray(second)) :]


def insert(dice: random.Random, data: bytearray, second: bytes) -> bytearray:
    at, (start, end) = place(dice, data), span(dice, bytearray(second))
    return data[:at] + second[start:end] + data[at:]


def set_number(dice: random.Random, data: bytearray, second: bytes) -> bytearray:
    """A number of 1, 2, 4 or 8 bytes anywhere, of either byte order."""
    write_number(dice, data, place(dice, data), dice.choice((1, 2, 4, 4, 8)), dice.choice(("big", "big", "little")))
    return data


def set_size(dice: random.Random, data: bytearray, second: bytes) -> bytearray:
    """The size of a box or element."""
    found = fields(bytes(data))
    if not found:
        return set_number(dice, data, second)
    field = dice.choice(choose_level(dice, found))
    write_number(dice, data, field.size_at, field.size_length, "big", ebml=data[:4] == b"\x1aE\xdf\xa3")
    return data


def set_field(dice: random.Random, data: bytearray, second: bytes) -> bytearray:
    """A number within a box or element: a time scale, a count, a width, a sample's size or time."""
    found = [field for field in fields(bytes(data)) if field.end > field.start]
    if not found:
        return set_number(dice, data, second)
    for _ in range(dice.choice((1, 1, 3))):
        field = dice.choice(choose_level(dice, found))
        length = field.end - field.start
        if data[:4] == b"\x1aE\xdf\xa3" and length <= 8:
            write_number(dice, data, field.start, length, "big")
        else:  # boxes hold numbers of 2 and 4 bytes; the first few are the ones that count
            width = dice.choice((2, 4, 4, 4, 8))
            slots = max(1, min(length // width, dice.choice((8, 32, 10_000))))
            write_number(dice, data, field.start + width * dice.randrange(slots), width, "big")
    return data


def choose_level(dice: random.Random, found: list) -> list:
    """Fields of one name, each name as likely as any other: there are many more blocks than headers."""
    name = dice.choice(sorted({field.name for field in found}))
    return [field for field in found if field.name == name]


def write_number(dice: random.Random, data: bytearray, at: int, length: int, order: str, *, ebml: bool = False) -> None:
    """Replace a number by an interesting one, by one beside it, or by chance."""
    top = 1 << 8 * length
    old = int.from_bytes(data[at : at + length], order)
    kind = dice.random()
    if kind < 0.5:
        new = dice.choice(NUMBERS)
    elif kind < 0.8:
        new = old + dice.choice((-8, -1, 1, 2, 8, old, 255 * old, -old // 2))
    else:
        new = dice.randrange(top)
    if ebml:  # keep the mark of the length
        new = 1 << 7 * length | new % (1 << 7 * length)
    data[at : at + length] = (new % top).to_bytes(length, order)


Change = Callable[[random.Random, bytearray, bytes], bytearray]
CHANGES: tuple[Change, ...] = (
    *(flip_bits, flip_bits, flip_bits, cut_end, cut_start, remove, double, overwrite, overwrite, splice, insert),
    *(set_number, set_size, *[set_field] * 6),
)
