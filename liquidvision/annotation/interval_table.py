"""Writes intervals as a CSV, as `train` and `eval` read them."""

import csv
import io

from liquidvision.annotation.annotated import AnnotatedVideo

COLUMNS = ("file", "start", "end", "label")


def write_interval_table(videos: list[AnnotatedVideo]) -> bytes:
    """Return a CSV with columns file,start,end,label, and group and score where they are known.

    The group of a file is its subject, if it has one. A file without intervals has a row with its name only.
    """
    grouped = bool(videos) and all(len(video.subjects) == 1 and video.subjects[0] for video in videos)
    scored = any(interval.score is not None for video in videos for interval in video.intervals)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *(["group"] if grouped else []), *(["score"] if scored else [])])
    for video in videos:
        for i in video.intervals:
            row = [video.file, round(i.start, 6), round(i.end, 6), i.label]
            row += [i.subject] if grouped else []
            row += ["" if i.score is None else round(i.score, 6)] if scored else []
            writer.writerow(row)
        if not video.intervals:
            writer.writerow([video.file, "", "", "", *([""] if grouped else []), *([""] if scored else [])])
    return text.getvalue().encode()
