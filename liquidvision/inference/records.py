"""Records: one line for each frame, as JSON Lines or CSV."""

import csv
import json
from abc import abstractmethod
from pathlib import Path
from typing import Any

from liquidvision.errors import SinkError, UsageError
from liquidvision.prediction import Prediction
from liquidvision.video.write.sink import Sink


class PredictionSink(Sink):
    """An output file for predictions. Derive from it to write records of your own with `infer`.

    A subclass writes to `part` and implements `write`, `_finish` and `_release`, see `Sink`.
    """

    @abstractmethod
    def write(self, prediction: Prediction) -> None:
        """Append one prediction."""


class RecordSink(PredictionSink):
    """Writes predictions as JSON Lines, or as CSV where the name ends in .csv.

    A JSON line holds index, time and dt in seconds, and `top`, a list of {"label", "score"}, best
    first; a CSV row the same in the columns index, time, dt, label_1, score_1, label_2, ...

    Args:
        path: the file.
        top_k: how many labels to record.
        conf: labels less probable than this are left out (in CSV: left blank).
        per_frame: record also what each frame alone says (`frame_top`, frame_label_1, ...).
        time_constants: record also the cell's effective time constants in seconds (`time_constants`, tau_1, ...).
        hidden_state: record also the cell's outputs (`hidden_state`, h_1, ...).

    Raises:
        UsageError: top_k below 1, or conf outside 0..1.
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
            raise UsageError(f"top_k is {top_k} and conf {conf}; expected 1 or more, and 0..1")
        super().__init__(path)
        self._top_k, self._conf, self._per_frame = top_k, conf, per_frame
        self._time_constants, self._hidden_state = time_constants, hidden_state
        self._csv = self.path.suffix.lower() == ".csv"
        try:
            # Line by line on disk, so that a crash leaves every record written before it.
            self._file = self.part.open("w", buffering=1, encoding="utf-8", newline="" if self._csv else "\n")
        except OSError as error:
            raise self.sink_error(error) from error
        self._rows = csv.writer(self._file)
        self._headed = False

    def write(self, prediction: Prediction) -> None:
        """Append one line."""
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
            "top": self._best(prediction.top(self._top_k)),
        }
        if self._per_frame:
            record["frame_top"] = self._best(prediction.frame_top(self._top_k))
        if self._time_constants and prediction.time_constants is not None:
            record["time_constants"] = [round(float(tau), 4) for tau in prediction.time_constants]
        if self._hidden_state and prediction.hidden_state is not None:
            record["hidden_state"] = [round(float(value), 5) for value in prediction.hidden_state]
        return record

    def _best(self, top: list[tuple[str, float]]) -> list[dict[str, Any]]:
        return [{"label": label, "score": round(score, 5)} for label, score in top if score >= self._conf]

    def _write_row(self, prediction: Prediction) -> None:
        record = self._record(prediction)
        cells = {key: record[key] for key in ("index", "time", "dt")}
        for key, prefix in (("top", ""), ("frame_top", "frame_")):
            for place in range(min(self._top_k, len(prediction.labels)) if key in record else 0):
                best = record[key][place] if place < len(record[key]) else {"label": "", "score": ""}
                cells[f"{prefix}label_{place + 1}"], cells[f"{prefix}score_{place + 1}"] = best["label"], best["score"]
        for key, prefix in (("time_constants", "tau"), ("hidden_state", "h")):
            for unit, value in enumerate(record.get(key, ()), start=1):
                cells[f"{prefix}_{unit}"] = value
        if not self._headed:
            self._rows.writerow(cells)
            self._headed = True
        self._rows.writerow(cells.values())

    def _finish(self) -> None:
        self._file.close()

    def _release(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise SinkError(f"cannot write {self.path}: {error.strerror}") from error
