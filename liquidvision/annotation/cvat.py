"""CVAT's XML for videos (version 1.1): tracks with a label, in frames of the video.

Format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/
"""

import io
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

from liquidvision.annotation.annotated import AnnotatedVideo
from liquidvision.annotation.documents import dump_xml, parse_xml, read_bytes
from liquidvision.annotation.interval import FrameInterval
from liquidvision.errors import UsageError

SHAPES = {"box", "polygon", "polyline", "points", "cuboid", "ellipse", "mask", "skeleton"}
ACTIVITY = {"action", "activity", "behavior", "behaviour", "gesture", "state"}  # attributes that name what is done


def read_cvat(path: Path) -> list[AnnotatedVideo]:
    """Read the tracks of a task: an interval for each stretch in which a track's object is in view.

    The label is the track's; where its shapes have an attribute action, activity, behavior, gesture or state, it is
    that attribute's value.

    Args:
        path: the XML, or the ZIP that CVAT exports.

    Raises:
        UsageError: it is no export of one task in the format "CVAT for video 1.1".
    """
    root = parse_xml(path, find_document(path))
    if root.tag != "annotations":
        raise UsageError(f"{path} begins with <{root.tag}>; expected CVAT's <annotations>")
    if root.find("image") is not None:
        raise UsageError(f'{path} is in the format "CVAT for images"; export it as "CVAT for video 1.1"')
    if root.find("meta/project") is not None:
        raise UsageError(f"{path} holds a project; export each of its tasks")
    task = root.find("meta/task")
    if task is None:
        task = root.find("meta/job")
    source = root.findtext("meta/source") or (task.findtext("source") if task is not None else None) or ""
    step = 1
    if task is not None and (text := (task.findtext("frame_filter") or "").strip()):
        step = int(text.removeprefix("step=")) if text.removeprefix("step=").isdecimal() else 1
    last = int(task.findtext("stop_frame") or 0) if task is not None else 0
    intervals: list[FrameInterval] = []
    for track in root.findall("track"):
        where = f"{path}, track {track.get('id')}"
        label = track.get("label")
        if not label:
            raise UsageError(f"{where} has no label")
        intervals += track_intervals([shape for shape in track if shape.tag in SHAPES], label, step, last, where)
    intervals += tag_intervals(root.findall("tag"), step, path)
    return [AnnotatedVideo(source, frame_intervals=tuple(intervals))]


def find_document(path: Path) -> bytes:
    """Return the XML of an export, which may be in a ZIP.

    Raises:
        UsageError: the ZIP is damaged, or holds no annotations.xml.
    """
    content = read_bytes(path)
    if not content.startswith(b"PK"):
        return content
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.read("annotations.xml")
    except KeyError as error:
        raise UsageError(f'{path} holds no annotations.xml; export the task as "CVAT for video 1.1"') from error
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise UsageError(f"{path} is a damaged ZIP: {error}; is it complete?") from error


def track_intervals(shapes: list[ET.Element], label: str, step: int, last: int, where: str) -> list[FrameInterval]:
    """Return the stretches of a track in which its object is in view, by its label or what it does.

    Raises:
        UsageError: a shape has no frame.
    """
    found: list[FrameInterval] = []
    for place, shape in enumerate(shapes):
        frame = parse_frame(shape, where)
        if shape.get("outside") == "1":
            continue
        # A shape holds until the next one; the export repeats it in each frame, or gives key frames only.
        end = parse_frame(shapes[place + 1], where) if place + 1 < len(shapes) else max(frame + step, last + 1)
        if place + 1 == len(shapes) and shape.get("keyframe") == "0":
            end = frame + step
        name = next(
            (a.text.strip() for a in shape.findall("attribute") if a.get("name", "").lower() in ACTIVITY and a.text),
            label,
        )
        if found and found[-1].end >= frame and found[-1].label == name:
            found[-1] = FrameInterval(found[-1].start, end, name)
        else:
            found.append(FrameInterval(frame, end, name))
    return found


def tag_intervals(tags: list[ET.Element], step: int, path: Path) -> list[FrameInterval]:
    """Return the stretches of frames that have the same tag."""
    frames: dict[str, list[int]] = {}
    for tag in tags:
        frames.setdefault(tag.get("label", ""), []).append(parse_frame(tag, f"{path}, tag {tag.get('label')}"))
    found: list[FrameInterval] = []
    for label, numbers in frames.items():
        for number in sorted(numbers):
            if found and found[-1].label == label and found[-1].end == number:
                found[-1] = FrameInterval(found[-1].start, number + step, label)
            else:
                found.append(FrameInterval(number, number + step, label))
    return found


def parse_frame(element: ET.Element, where: str) -> int:
    """Return the number of the frame that an element belongs to.

    Raises:
        UsageError: it has none.
    """
    text = element.get("frame", "")
    if not text.isdecimal():
        raise UsageError(f"{where}: a {element.tag} has the frame {text!r}; expected a whole number from 0")
    return int(text)


def write_cvat(video: AnnotatedVideo) -> bytes:
    """Return CVAT's XML with a track for each interval: a box of the whole frame, from its first frame to its last."""
    timeline = video.timeline
    assert timeline is not None
    root = ET.Element("annotations")
    ET.SubElement(root, "version").text = "1.1"
    meta = ET.SubElement(root, "meta")
    task = ET.SubElement(meta, "task")
    for name, value in (
        ("name", Path(video.file).stem),
        ("size", len(timeline.times)),
        ("mode", "interpolation"),
        ("start_frame", 0),
        ("stop_frame", len(timeline.times) - 1),
        ("frame_filter", ""),
    ):
        ET.SubElement(task, name).text = str(value)
    labels = ET.SubElement(task, "labels")
    for name in video.labels:
        ET.SubElement(ET.SubElement(labels, "label"), "name").text = name
    size = ET.SubElement(task, "original_size")
    ET.SubElement(size, "width").text, ET.SubElement(size, "height").text = str(timeline.width), str(timeline.height)
    ET.SubElement(meta, "source").text = video.file
    corners = {"xtl": "0.00", "ytl": "0.00", "xbr": f"{timeline.width:.2f}", "ybr": f"{timeline.height:.2f}"}
    for number, interval in enumerate(video.frame_intervals):
        track = ET.SubElement(root, "track", id=str(number), label=interval.label, source="manual")
        last = min(interval.end, len(timeline.times)) - 1
        ends = dict.fromkeys((interval.start, last), "0")
        if interval.end < len(timeline.times):
            ends[interval.end] = "1"
        for frame, outside in ends.items():
            options = {"frame": str(frame), "keyframe": "1", "outside": outside, "occluded": "0", "z_order": "0"}
            ET.SubElement(track, "box", options | corners)
    return dump_xml(root)
