"""ELAN's annotation documents (.eaf): intervals on tiers, in milliseconds.

Format: https://www.mpi.nl/tools/elan/EAF_Annotation_Format_3.0_and_ELAN.pdf
"""

import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote, urlparse

from liquidvision.annotation.annotated import AnnotatedVideo, separate_overlaps
from liquidvision.annotation.documents import dump_xml, parse_xml, read_bytes
from liquidvision.annotation.interval import Interval
from liquidvision.errors import UsageError

SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
TIER = "labels"  # of intervals without a subject


def read_elan(path: Path) -> list[AnnotatedVideo]:
    """Read the time-aligned annotations of all tiers.

    The label is an annotation's text; where that is empty, the tier's name. The subject is the tier's participant.

    Raises:
        UsageError: it is no ELAN document, or an annotation has no times.
    """
    root = parse_xml(path, read_bytes(path))
    if root.tag != "ANNOTATION_DOCUMENT":
        raise UsageError(f"{path} begins with <{root.tag}>; expected ELAN's <ANNOTATION_DOCUMENT>")
    media = root.find("HEADER/MEDIA_DESCRIPTOR")
    offset = float(media.get("TIME_ORIGIN", 0)) / 1000 if media is not None else 0.0
    slots = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.findall("TIME_ORDER/TIME_SLOT")}
    intervals: list[Interval] = []
    notes = []
    for tier in root.findall("TIER"):
        name = tier.get("TIER_ID", "")
        for annotation in tier.findall("ANNOTATION/ALIGNABLE_ANNOTATION"):
            where = f"{path}, tier {name}, annotation {annotation.get('ANNOTATION_ID')}"
            times = [slots.get(annotation.get(key)) for key in ("TIME_SLOT_REF1", "TIME_SLOT_REF2")]
            if None in times:
                raise UsageError(f"{where} has no time; align it in ELAN")
            start, end = (float(time) / 1000 - offset for time in times if time is not None)
            if not 0 <= start <= end:
                raise UsageError(f"{where} goes from {start:g} to {end:g} s; expected 0 <= start < end")
            label = (annotation.findtext("ANNOTATION_VALUE") or "").strip() or name
            if start < end:
                intervals.append(Interval(start, end, label, tier.get("PARTICIPANT", "")))
            else:
                notes.append(f"{where} has no duration; left out")
        if tier.find("ANNOTATION/REF_ANNOTATION") is not None:
            notes.append(f"{path}: the tier {name} refers to another tier and has no times of its own; left out")
    return [AnnotatedVideo(media_file(media), tuple(intervals), notes=tuple(notes))]


def media_file(media: ET.Element | None) -> str:
    """Return the video that a media descriptor names; "" if it names none."""
    if media is None:
        return ""
    relative, url = media.get("RELATIVE_MEDIA_URL", ""), media.get("MEDIA_URL", "")
    return unquote(urlparse(relative or url).path).removeprefix("./")


def write_elan(video: AnnotatedVideo) -> bytes:
    """Return an ELAN document with a tier for each subject; overlapping intervals get tiers of their own."""
    root = ET.Element("ANNOTATION_DOCUMENT", AUTHOR="", DATE=datetime.now(UTC).isoformat(), FORMAT="3.0", VERSION="3.0")
    root.set("{http://www.w3.org/2001/XMLSchema-instance}noNamespaceSchemaLocation", SCHEMA)
    header = ET.SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    relative = f"./{quote(video.file)}"
    ET.SubElement(header, "MEDIA_DESCRIPTOR", MEDIA_URL=relative, MIME_TYPE="video/mp4", RELATIVE_MEDIA_URL=relative)
    order = ET.SubElement(root, "TIME_ORDER")
    by_subject: dict[str, list[Interval]] = defaultdict(list)
    for interval in video.intervals:
        by_subject[interval.subject].append(interval)
    times = sorted({round(1000 * time) for interval in video.intervals for time in (interval.start, interval.end)})
    names = {time: f"ts{number}" for number, time in enumerate(times, 1)}
    for time, name in names.items():
        ET.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=name, TIME_VALUE=str(time))
    number = 0
    for subject, intervals in by_subject.items() or [("", [])]:
        for row, rest in enumerate(separate_overlaps(intervals) or [[]], 1):
            tier_name = (subject or TIER) if row == 1 else f"{subject or TIER} {row}"
            options = {"PARTICIPANT": subject} if subject else {}
            tier = ET.SubElement(root, "TIER", {"LINGUISTIC_TYPE_REF": "default-lt", "TIER_ID": tier_name} | options)
            number = _add_annotations(tier, rest, names, number)
    ET.SubElement(
        root, "LINGUISTIC_TYPE", GRAPHIC_REFERENCES="false", LINGUISTIC_TYPE_ID="default-lt", TIME_ALIGNABLE="true"
    )
    return dump_xml(root)


def _add_annotations(tier: ET.Element, intervals: Sequence[Interval], names: dict[int, str], number: int) -> int:
    """Add intervals to a tier, numbered after `number`; return the last number."""
    for interval in intervals:
        number += 1
        annotation = ET.SubElement(
            ET.SubElement(tier, "ANNOTATION"),
            "ALIGNABLE_ANNOTATION",
            ANNOTATION_ID=f"a{number}",
            TIME_SLOT_REF1=names[round(1000 * interval.start)],
            TIME_SLOT_REF2=names[round(1000 * interval.end)],
        )
        ET.SubElement(annotation, "ANNOTATION_VALUE").text = interval.label
    return number
