"""Edit decision lists (CMX 3600, .edl): a cut for each interval, for video editors. Written only.

Format: https://xmil.biz/EDL-X/CMX3600.pdf
"""

from liquidvision.annotation.annotated import AnnotatedVideo


def write_edl(video: AnnotatedVideo) -> bytes:
    """Return an edit decision list that cuts the intervals out and lays them end to end."""
    assert video.timeline is not None
    rate = max(1, round(video.timeline.rate))
    lines = [f"TITLE: {video.file}", "FCM: NON-DROP FRAME", ""]
    reached = 0
    for number, interval in enumerate(video.intervals, 1):
        first, last = round(interval.start * rate), round(interval.end * rate)
        length = max(1, last - first)
        times = [timecode(frame, rate) for frame in (first, first + length, reached, reached + length)]
        lines += [f"{number:03}  AX       V     C        {' '.join(times)}", f"* FROM CLIP NAME: {video.file}"]
        lines += [f"* COMMENT: {interval.label}", ""]
        reached += length
    return "\n".join(lines).encode()


def timecode(frame: int, rate: int) -> str:
    """Return the number of a frame as hh:mm:ss:ff."""
    seconds, rest = divmod(frame, rate)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{rest:02}"
