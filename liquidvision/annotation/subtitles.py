"""Subtitles as annotations: WebVTT (.vtt) and SubRip (.srt), a cue for each interval, in milliseconds.

Formats: https://www.w3.org/TR/webvtt1/ and https://matroska.org/technical/subtitles.html#srt-subtitles
"""

import html
import re
from collections.abc import Iterator
from pathlib import Path

from liquidvision.annotation.annotated import AnnotatedVideo
from liquidvision.annotation.interval import Interval
from liquidvision.annotation.tables import read_text
from liquidvision.errors import UsageError

TIME = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
CUE = re.compile(rf"\s*{TIME}\s*-->\s*{TIME}(?:\s.*)?$")
VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]*)>")
WEBVTT_TAG = re.compile(r"</?[a-zA-Z0-9:][^<>]*>")
SUBRIP_TAG = re.compile(r"</?(?:b|i|u|s|font)(?:\s[^<>]*)?>|\{\\[^}]*\}", re.IGNORECASE)


def read_webvtt(path: Path) -> list[AnnotatedVideo]:
    """Read the cues of a WebVTT file: the label is the text, the subject the voice.

    Raises:
        UsageError: it is no WebVTT file, or a cue is broken.
    """
    lines = read_text(path).lstrip("\ufeff").splitlines()
    if not lines or not re.match(r"WEBVTT(\s|$)", lines[0]):
        raise UsageError(f"{path} does not begin with WEBVTT; is it a WebVTT file?")
    intervals = []
    for where, start, end, text in read_cues(path, lines):
        voice = VOICE.search(text)
        label = html.unescape(strip_tags(text, WEBVTT_TAG, where))
        intervals.append(Interval(start, end, label, html.unescape(voice[1].strip()) if voice else ""))
    return [AnnotatedVideo("", tuple(intervals))]


def read_subrip(path: Path) -> list[AnnotatedVideo]:
    """Read the cues of a SubRip file: the label is the text without its formatting.

    Raises:
        UsageError: a cue is broken, or there is none.
    """
    lines = read_text(path).lstrip("\ufeff").splitlines()
    intervals = [
        Interval(start, end, strip_tags(text, SUBRIP_TAG, where)) for where, start, end, text in read_cues(path, lines)
    ]
    if not intervals and any(line.strip() for line in lines):
        raise UsageError(f"{path} has no cue; expected times as in 00:00:01,500 --> 00:00:04,000")
    return [AnnotatedVideo("", tuple(intervals))]


def read_cues(path: Path, lines: list[str]) -> Iterator[tuple[str, float, float, str]]:
    """Yield where a cue is, its start and end in seconds, and its text."""
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if line.startswith(("NOTE", "STYLE", "REGION")) and "-->" not in line:
            while number < len(lines) and lines[number].strip():
                number += 1
            continue
        if "-->" not in line:
            continue
        where = f"{path}, line {number}"
        found = CUE.match(line)
        if not found:
            raise UsageError(f"{where}: {line.strip()!r}; expected times as in 00:00:01.500 --> 00:00:04.000")
        start, end = parse_time(found.groups()[:4]), parse_time(found.groups()[4:])
        if not start < end:
            raise UsageError(f"{where}: the cue goes from {start:g} to {end:g} s; expected start < end")
        text = []
        while number < len(lines) and lines[number].strip():
            text.append(lines[number].strip())
            number += 1
        yield where, start, end, " ".join(text)


def parse_time(fields: tuple[str | None, ...]) -> float:
    """Return hours, minutes, seconds and the decimals of seconds as seconds."""
    hours, minutes, seconds, decimals = fields
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + int(seconds or 0) + float(f"0.{decimals}")


def strip_tags(text: str, tag: re.Pattern[str], where: str) -> str:
    """Return a cue's text without tags.

    Raises:
        UsageError: nothing is left.
    """
    label = " ".join(tag.sub("", text).split())
    if not label:
        raise UsageError(f"{where}: the cue has no text; expected a label")
    return label


def format_time(seconds: float, point: str) -> str:
    """Return a time as hh:mm:ss and milliseconds."""
    whole, milliseconds = divmod(round(1000 * seconds), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{milliseconds:03}"


def write_webvtt(video: AnnotatedVideo) -> bytes:
    """Return a WebVTT file; a subject is the cue's voice."""
    cues = ["WEBVTT\n"]
    for interval in video.intervals:
        voice = f"<v {html.escape(interval.subject, quote=False)}>" if interval.subject else ""
        times = f"{format_time(interval.start, '.')} --> {format_time(interval.end, '.')}"
        cues.append(f"\n{times}\n{voice}{html.escape(interval.label, quote=False)}\n")
    return "".join(cues).encode()


def write_subrip(video: AnnotatedVideo) -> bytes:
    """Return a SubRip file."""
    return "\n".join(
        f"{number}\n{format_time(interval.start, ',')} --> {format_time(interval.end, ',')}\n{interval.label}\n"
        for number, interval in enumerate(video.intervals, 1)
    ).encode()
