"""Where the header fields of MP4 (boxes) and Matroska (EBML elements) lie in a file."""

from collections.abc import Iterator
from typing import NamedTuple

CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf", b"mvex", b"udta", b"dinf"}
MASTERS = {
    *(0x18538067, 0x1549A966, 0x1654AE6B, 0xAE, 0xE0, 0xE1, 0x1F43B675, 0xA0, 0x1C53BB6B, 0xBB, 0xB7, 0x114D9B74),
    *(0x4DBB, 0x1A45DFA3, 0x6D80, 0x6240, 0x55B0, 0x1254C367, 0x7373, 0x63C0, 0x67C8),
}


class Field(NamedTuple):
    """A box or element: where its size is written and how long that is, and where its payload lies."""

    name: bytes
    size_at: int
    size_length: int
    start: int
    end: int


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """MP4 boxes between two places, those in containers too, each outer one before its inner ones."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, name, head = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        elif size == 0:
            size = end - start
        if size < head:
            return
        stop = min(start + size, end)
        yield Field(name, start + 8 if head == 16 else start, head // 2 if head == 8 else 8, start + head, stop)
        # A sample description holds its count first, then boxes with fields of their own before further boxes.
        inner = {b"stsd": 8, b"avc1": 78, b"hvc1": 78, b"hev1": 78, b"vp09": 78, b"av01": 78, b"mp4v": 78, b"mp4a": 28}
        if name in CONTAINERS or name in inner:
            yield from boxes(data, start + head + inner.get(name, 0), stop)
        start += size


def elements(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """EBML elements between two places, each master element before what it holds."""
    end = len(data) if end is None else end
    while start + 2 <= end:
        name_length = leading(data[start], 4)
        if not name_length or start + name_length >= end:
            return
        name, at = data[start : start + name_length], start + name_length
        length = leading(data[at], 8)
        if not length:
            return
        mask = (1 << (7 * length)) - 1
        size = int.from_bytes(data[at : at + length], "big") & mask
        stop = end if size == mask else min(at + length + size, end)  # all ones: unknown, up to the end
        yield Field(name, at, length, at + length, stop)
        if int.from_bytes(name, "big") in MASTERS:
            yield from elements(data, at + length, stop)
        start = stop


def leading(first: int, most: int) -> int:
    """Return the length in bytes that the first byte of an EBML number encodes, 0 for none."""
    length = 9 - first.bit_length()
    return length if 1 <= length <= most else 0


def fields(data: bytes) -> list[Field]:
    """The header fields of an MP4 or Matroska file; none of any other."""
    if data[:4] == b"\x1aE\xdf\xa3":
        return list(elements(data))
    if data[4:8] in (b"ftyp", b"moov", b"wide", b"mdat", b"free", b"skip"):
        return list(boxes(data))
    return []
