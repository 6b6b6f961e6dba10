"""Records of predictions: one line per frame, as JSON Lines or CSV."""

import csv
import json
import sys
from abc import abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from liquidvision.errors import SinkError, UsageError
from liquidvision.prediction import Prediction
from liquidvision.video.write.sink import STDOUT, Sink, StdoutMixin


class PredictionSink(Sink):
    """Base class of output files for predictions. Subclass it to write your own format with `infer`.

    A subclass writes to `part` and implements `write`, `_finish` and `_release`, see `Sink`.
    """

    @abstractmethod
    def write(self, prediction: Prediction) -> None:
        """Append the prediction of the next frame."""


class RecordSink(PredictionSink):
    """Write one line per prediction, as JSON Lines, or as CSV if the suffix is .csv.

    A JSON line has "index", "time" and "dt" in seconds, and "top": a list of {"label", "score"}, best first. A CSV row
    has the same values in the columns index, time, dt, label_1, score_1, label_2, ... Lines are written to disk one by
    one, so that a crash loses none before it. Predictions that depend on later frames say so: "causal" is false, and
    "look_ahead" has the seconds, if there is a limit (CSV: columns of these names). Where the memory adapts to the
    stream, "adapted" is true.

    Example:
        >>> infer("clip.mp4", model, records=[RecordSink("clip.jsonl", top_k=3)])

    Args:
        path: the file to write.
        top_k: number of labels per line, 1 or more.
        conf: leave out labels with a lower score than this, 0 to 1 (blank in CSV).
        per_frame: also record the best labels from each frame alone ("frame_top"; columns frame_label_1, ...).
        time_constants: also record the cell's effective time constants in seconds ("time_constants"; tau_1, ...).
        hidden_state: also record the cell's outputs ("hidden_state"; columns h_1, ...).

    Raises:
        UsageError: `top_k` is below 1, or `conf` is outside 0 to 1.
        SinkError: the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        top_k: int = 5,
        conf: float = 0.0,
        per_frame: bool = False,
        time_constants: bool = False,
        hidden_state: bool = False,
    ) -> None:
        if top_k < 1 or not 0 <= conf <= 1:
            raise UsageError(f"top_k is {top_k} and conf {conf}; expected top_k of 1 or more, and conf from 0 to 1")
        super().__init__(path)
        self._file = self._open()
        self._rows = csv.writer(self._file)
        self._header_written = False
        self._top_k, self._conf, self._per_frame = top_k, conf, per_frame
        self._time_constants, self._hidden_state = time_constants, hidden_state

    def _open(self) -> IO[str]:
        """Open the file, and choose the format by its name."""
        self._csv = self.path.suffix.lower() == ".csv"
        try:
            # Line buffering: after a crash, all records written before it are on disk.
            return self.part.open("w", buffering=1, encoding="utf-8", newline="" if self._csv else "\n")
        except OSError as error:
            raise self.sink_error(error) from error

    def write(self, prediction: Prediction) -> None:
        """Append the prediction of the next frame."""
        try:
            if self._csv:
                self._write_row(prediction)
            else:
                self._file.write(json.dumps(self._record(prediction), ensure_ascii=False) + "\n")
        except OSError as error:
            raise self.sink_error(error) from error

    def _record(self, prediction: Prediction) -> dict[str, Any]:
        record: dict[str, Any] = {
            "index": prediction.index,
            "time": round(prediction.time, 6),
            "dt": round(prediction.dt, 6),
            "top": self._to_json(prediction.top(self._top_k)),
        }
        if not prediction.causal:
            record["causal"] = False
            if prediction.look_ahead < float("inf"):
                record["look_ahead"] = prediction.look_ahead
        if prediction.adapted:
            record["adapted"] = True
        if self._per_frame:
            record["frame_top"] = self._to_json(prediction.frame_top(self._top_k))
        if self._time_constants and prediction.time_constants is not None:
            record["time_constants"] = [round(float(tau), 4) for tau in prediction.time_constants]
        if self._hidden_state and prediction.hidden_state is not None:
            record["hidden_state"] = [round(float(value), 5) for value in prediction.hidden_state]
        return record

    def _to_json(self, top: list[tuple[str, float]]) -> list[dict[str, Any]]:
        return [{"label": label, "score": round(score, 5)} for label, score in top if score >= self._conf]

    def _write_row(self, prediction: Prediction) -> None:
        record = self._record(prediction)
        cells: dict[str, Any] = {
            key: record[key] for key in ("index", "time", "dt", "causal", "look_ahead", "adapted") if key in record
        }
        for key, prefix in (("top", ""), ("frame_top", "frame_")):
            for place in range(min(self._top_k, len(prediction.labels)) if key in record else 0):
                best = record[key][place] if place < len(record[key]) else {"label": "", "score": ""}
                cells[f"{prefix}label_{place + 1}"], cells[f"{prefix}score_{place + 1}"] = best["label"], best["score"]
        for key, prefix in (("time_constants", "tau"), ("hidden_state", "h")):
            for unit, value in enumerate(record.get(key, ()), start=1):
                cells[f"{prefix}_{unit}"] = value
        if not self._header_written:
            self._rows.writerow(cells)
            self._header_written = True
        self._rows.writerow(cells.values())

    def _finish(self) -> None:
        self._file.close()

    def _release(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise SinkError(f"cannot write {self.path}: {error.strerror}") from error


class StdoutRecordSink(StdoutMixin, RecordSink):
    """Writes predictions to standard output, each as soon as it is known. There is no file to rename or keep.

    Args:
        as_csv: write CSV instead of JSON Lines.
        contents: see `RecordSink`.
    """

    def __init__(self, *, as_csv: bool = False, **contents: Any) -> None:
        self._csv = as_csv
        super().__init__(STDOUT, **contents)

    def _open(self) -> IO[str]:
        try:
            number = sys.stdout.fileno()
        except (OSError, ValueError):  # replaced by an object in memory
            return sys.stdout
        newline = "" if self._csv else "\n"
        return open(number, "w", buffering=1, encoding="utf-8", newline=newline, closefd=False)

    def _finish(self) -> None:
        self._file.flush()

    def _release(self) -> None:
        with suppress(OSError):
            self._file.flush()
