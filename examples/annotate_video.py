"""Annotate a video: labels, bars, a timeline and time constants on every frame, and the labels as JSON Lines.

python examples/annotate_video.py [CLIP]    # writes annotated.mp4 and annotated.jsonl
"""

import sys

import liquidvision as lv

clip = sys.argv[1] if len(sys.argv) > 1 else "samples/actions.mp4"
model = lv.Model.from_pretrained("actions")
summary = lv.infer(
    clip,
    model,
    video="annotated.mp4",
    records=[lv.RecordSink("annotated.jsonl", per_frame=True)],
    overlay=lv.Overlay(("label", "bars", "timeline", "tau"), compare=True),
    max_frames=100,
)
print(f"{summary.frames} frames in {summary.wall_seconds:.1f} s")
print(f"label changes: {summary.flips} with memory, {summary.frame_flips} by each frame alone")
