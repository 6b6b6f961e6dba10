"""What a run of `infer` did."""

from dataclasses import dataclass, field
from pathlib import Path

from liquidvision.prediction import Prediction


@dataclass(slots=True)
class Summary:
    """What a run of `infer` did.

    Attributes:
        frames: frames predicted.
        media_seconds: from the first frame's time to the last one's.
        wall_seconds: what it took.
        flips, frame_flips: changes of the most probable label, with memory and by each frame alone.
        label_frames: for each label, the frames on which it was the most probable.
        repeated, backwards, gaps: as counted by `Session`.
        damaged, dropped, stale, reconnects: see `Counts`.
        still: frames whose picture was not embedded, since it adds nothing, see `AdaptiveEmbedder`.
        interrupted: whether Ctrl-C ended it.
        outputs: the files and folders written.
        notes: what an output could not keep of its source, a line each.
    """

    frames: int = 0
    media_seconds: float = 0.0
    wall_seconds: float = 0.0
    flips: int = 0
    frame_flips: int = 0
    label_frames: dict[str, int] = field(default_factory=dict)
    repeated: int = 0
    backwards: int = 0
    gaps: int = 0
    damaged: int = 0
    dropped: int = 0
    stale: int = 0
    reconnects: int = 0
    still: int = 0
    interrupted: bool = False
    outputs: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def count(self, prediction: Prediction, last: Prediction | None) -> None:
        """Take in one more frame's prediction, and that of the last instant before it."""
        self.frames += 1
        self.label_frames[prediction.label] = self.label_frames.get(prediction.label, 0) + 1
        if last is not None and prediction.time > last.time:  # as the overlay counts
            self.flips += prediction.label != last.label
            self.frame_flips += prediction.frame_label != last.frame_label
