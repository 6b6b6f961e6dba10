"""The result of an evaluation: all its figures, a summary to read, and files of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liquidvision.errors import SinkError
from liquidvision.evaluation.evaluation_file import encode_evaluation
from liquidvision.files import write_atomic
from liquidvision.report.report import write_report

HEADLINES = {
    "clip_accuracy": "clips right",
    "frame_accuracy": "frames right",
    "map": "mean average precision",
}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Evaluation:
    """How well a model does on annotated clips. Printed, it shows its headline figures.

    Attributes:
        figures: everything that was measured, as evaluation.json has it: plain lists, dicts, numbers and texts.
            `evaluation["memory"]` is short for `evaluation.figures["memory"]`.
        notes: sentences to read with the figures, for example how many clips were seen in training.
    """

    figures: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.figures[name]

    def __repr__(self) -> str:
        return self.summary()

    @property
    def clip_accuracy(self) -> float | None:
        """Share of the clips that are right with memory, 0..1; None where labels change within clips."""
        accuracy: float | None = self.figures["memory"]["clip_accuracy"]
        return accuracy

    @property
    def frame_accuracy(self) -> float:
        """Share of the frames that are right with memory, 0..1."""
        return float(self.figures["memory"]["frame_accuracy"])

    def summary(self) -> str:
        """Return the headline figures, with memory and of each frame alone, in a few lines."""
        data = self.figures["data"]
        lines = [f"{data['name']}: {data['videos']} videos, {data['frames']} frames, {data['seconds']:.0f} s"]
        for name, text in HEADLINES.items():
            memory, frame = self.figures["memory"][name], self.figures["frame"][name]
            if memory is not None and frame is not None:
                second = f"{self.figures['two_pass'][name]:.1%} with two passes, " if "two_pass" in self.figures else ""
                if "adapted" in self.figures:
                    second += f"{self.figures['adapted'][name]:.1%} adapting, "
                lines.append(f"  {text}: {second}{memory:.1%} with memory, {frame:.1%} by each frame alone")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def save_json(self, path: str | Path) -> None:
        """Write all figures as JSON; folders on the way are created.

        Raises:
            SinkError: the file cannot be written.
        """
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_atomic(Path(path), encode_evaluation(self.figures))
        except OSError as error:
            raise SinkError(f"cannot write {path}: {error.strerror or error}") from error

    def save_report(self, path: str | Path) -> None:
        """Write the report, one HTML file that needs no network.

        Raises:
            SinkError: the file cannot be written.
        """
        write_report(path, self.figures)
