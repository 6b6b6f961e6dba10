"""Reads text tables (CSV): their encodings and separators, and the line of each row."""

import codecs
import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from liquidvision.errors import UsageError

SEPARATORS = ",;\t"
BYTE_ORDER_MARKS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table that was read from a text file.

    Attributes:
        separator: a comma, a semicolon or a tab.
        columns: the names in the first row, without spaces around them.
        rows: each row's line number in the file and its values, one for each column, without spaces around them.
    """

    separator: str
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]


def read_table(path: Path) -> TextTable:
    """Read a CSV in UTF-8 or UTF-16, separated by commas, semicolons or tabs; Excel's line `sep=;` is understood.

    Raises:
        UsageError: the file cannot be read, is in another encoding, or is no valid CSV.
    """
    text = read_text(path)
    first, _, rest = text.partition("\n")
    separator, skipped = parse_separator_line(first), 1
    if separator is None:
        separator, skipped, rest = guess_separator(first, path), 0, text
    # With newline="", the csv module sees line ends as they are, also inside of quoted values.
    lines = csv.reader(io.StringIO(rest, newline=""), delimiter=separator, strict=True)
    rows: list[tuple[int, tuple[str, ...]]] = []
    try:
        columns = tuple(column.strip() for column in next(lines, []))
        for line in lines:
            number = lines.line_num + skipped
            values = tuple(value.strip() for value in line)
            if any(values[len(columns) :]):
                raise UsageError(
                    f"{path}, line {number}: more values than columns; quote values that contain {separator}"
                )
            rows.append((number, (*values[: len(columns)], *[""] * (len(columns) - len(values)))))
    except csv.Error as error:
        raise UsageError(f"{path}, line {lines.line_num + skipped}: {error}") from error
    return TextTable(separator, columns, tuple(rows))


def guess_separator(header: str, path: Path) -> str:
    """Return the separator that a header has most often outside of quotes; a tab in a .tsv, if it has any."""
    outside = re.sub(r'"[^"]*"', "", header)
    if path.suffix.lower() == ".tsv" and "\t" in outside:
        return "\t"
    return max(SEPARATORS, key=outside.count)


def parse_separator_line(line: str) -> str | None:
    """Return the separator that Excel's line `sep=;` names; None if it is no such line."""
    name, equals, separator = line.rstrip("\r\n").strip('"').partition("=")
    if name.strip().lower() != "sep" or not equals:
        return None
    separator = separator[:1]  # Excel may fill the line up with separators
    return separator if separator and separator in SEPARATORS else None


def read_text(path: Path) -> str:
    """Read a text file in UTF-8 or UTF-16, with or without a byte-order mark.

    Raises:
        UsageError: the file cannot be read, or is in another encoding; the message says how to convert it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    encoding = guess_encoding(content)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise UsageError(f"{path} cannot be read as {encoding.upper()}: {error.reason}; is it complete?") from error
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{path} is not in UTF-8: line {line} has the byte 0x{content[error.start]:02X}; save it in Excel as "
            f'"CSV UTF-8", or convert it, for example from Windows-1252: iconv -f CP1252 -t UTF-8'
        ) from error


def guess_encoding(content: bytes) -> str:
    """Return the encoding of a text file's content: that of its byte-order mark, UTF-16 without one, or UTF-8."""
    for mark, encoding in BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return encoding
    # Text has no zero bytes, except in UTF-16, where every other byte of a header in English is zero.
    head = content[:64]
    if head[1::2].count(0) > len(head) // 4:
        return "utf-16-le"
    if head[::2].count(0) > len(head) // 4:
        return "utf-16-be"
    return "utf-8"
