"""The public API as a user has it: own sinks and readers, jobs as plain data."""

import inspect
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import picture_frames

import liquidvision as lv


class LabelCounts(lv.PredictionSink):
    """Writes how often each label was the most probable."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.counts: Counter[str] = Counter()

    def write(self, prediction: lv.Prediction) -> None:
        self.counts[prediction.label] += 1

    def _finish(self) -> None:
        self.part.write_text("\n".join(f"{label} {count}" for label, count in self.counts.items()))

    def _release(self) -> None:
        return


def test_a_sink_of_your_own(model: lv.Model, make_video, tmp_path: Path) -> None:
    """`infer` writes predictions to a user's own sink, whose file appears when it is complete."""
    sink = LabelCounts(tmp_path / "counts.txt")
    summary = lv.infer(make_video(), model, records=[sink])
    lines = (tmp_path / "counts.txt").read_text().splitlines()
    assert dict(line.split() for line in lines) == {name: str(n) for name, n in summary.label_frames.items()}
    assert summary.outputs == [sink.path]


def test_a_sink_of_your_own_after_a_failure(model: lv.Model, tmp_path: Path) -> None:
    """When the loop fails, the user's sink leaves no file behind."""

    def broken():
        yield from picture_frames(3)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        lv.infer(broken(), model, records=[LabelCounts(tmp_path / "counts.txt")])
    assert list(tmp_path.iterdir()) == []


def test_a_job_is_plain_data(make_video, model_folder: Path, tmp_path: Path) -> None:
    """A job can be pickled, sent elsewhere, and run there; its result can be pickled, too."""
    job = lv.InferJob([str(make_video())], model=str(model_folder), no_save=True, save_json=tmp_path / "out.jsonl")
    copy = pickle.loads(pickle.dumps(job))
    assert copy == job
    result = pickle.loads(pickle.dumps(lv.run_infer(copy)))
    (summary,) = result.summaries.values()
    assert summary.frames == 20 and summary.outputs == [tmp_path / "out.jsonl"]
    assert not result.errors and not result.interrupted


def test_a_job_whose_sources_fail(make_video, model_folder: Path, tmp_path: Path) -> None:
    """A source that fails is among the errors of the result, and the others are done."""
    clip = str(make_video())
    job = lv.InferJob(["none.mp4", clip], model=str(model_folder), no_save=True, save_json=tmp_path / "records")
    result = lv.run_infer(job)
    assert list(result.summaries) == [clip] and list(result.errors) == ["none.mp4"]
    assert isinstance(result.errors["none.mp4"], lv.SourceError)


def test_a_listener_hears_of_every_source(make_video, model_folder: Path) -> None:
    """A listener gets the predictions and the summary of each source."""
    seen: list[object] = []

    class Listener(lv.SourceListener):
        def finished(self, name: str, summary: lv.Summary) -> None:
            seen.append((name, summary.frames))

    lv.run_infer(lv.InferJob([str(make_video())], model=str(model_folder), no_save=True), Listener())
    assert seen == [("clip.mp4", 20)]


def test_the_liquid_cells_are_reached_from_the_top() -> None:
    """`lv.liquid` is the subpackage of cells, without a further import."""
    program = "import liquidvision as lv; print(lv.liquid.LTC.__name__)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.split() == ["LTC"]


def test_jobs_need_no_heavy_import() -> None:
    """Jobs can be made, and read from a pickle, in a process without torch, OpenCV, PyAV or NumPy."""
    program = (
        "import pickle, sys; from liquidvision import InferJob\n"
        "pickle.loads(pickle.dumps(InferJob(['a.mp4'])))\n"
        "print({'torch', 'cv2', 'av', 'numpy'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "set()"


def test_a_job_has_the_defaults_of_the_functions() -> None:
    """The defaults of a job are those of the functions and classes that it is run with."""

    job = lv.InferJob([])
    live = lv.LiveOptions()
    assert (job.policy, job.max_staleness, job.reconnect, job.timeout) == (
        live.policy,
        live.max_staleness,
        live.reconnect,
        live.timeout,
    )
    for function in (lv.open_video, lv.infer, lv.Session, lv.RecordSink, lv.FrameFolder, lv.Model.from_pretrained):
        for name, parameter in inspect.signature(function).parameters.items():
            own = {"stop": "end", "stride": "vid_stride", "form": "frames_format", "frames": "", "overlay": ""}
            field = own.get(name, name)
            if hasattr(job, field) and parameter.default is not inspect.Parameter.empty:
                assert getattr(job, field) == parameter.default, (function, name)
    assert job.overlay.split(",") == list(inspect.signature(lv.Overlay).parameters["parts"].default)
    assert np.isclose(job.conf, inspect.signature(lv.Overlay).parameters["conf"].default)
