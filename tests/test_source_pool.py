"""Several sources at the same time: results, failures, and Ctrl-C."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from commands import Run, one_line

from liquidvision import Prediction, VideoInfo
from liquidvision.workflows.source_pool import SourcePool

PREDICTION = Prediction(0, 0.0, 0.0, ("a",), np.ones(1, np.float32), np.ones(1, np.float32))


class LiveReader:
    """As much of a live reader as the pool uses."""

    info = VideoInfo("live", 64, 48, live=True)

    def __init__(self) -> None:
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


@pytest.mark.parametrize("count", [1, 3])
def test_results_are_in_the_order_of_the_items(count: int) -> None:
    """Each item has its result; with one at a time they are computed in the caller's thread."""
    threads = set()

    def double(item: int) -> int:
        threads.add(threading.current_thread())
        return 2 * item

    assert SourcePool(count).run_all([3, 1, 2], double) == [6, 2, 4]
    assert (threads == {threading.main_thread()}) == (count == 1)


def test_a_failure_stops_the_others() -> None:
    """An exception closes live readers, stops the others at their next frame, and is raised when all have ended."""
    pool, reader = SourcePool(2), LiveReader()
    reading = threading.Event()
    ended = []

    def work(item: str) -> None:
        if item == "fails":
            assert reading.wait(30)
            raise ZeroDivisionError
        on_frame = pool.stoppable(lambda prediction: None)
        on_frame(PREDICTION)
        with pool.closing_live(reader):  # type: ignore[arg-type]
            reading.set()
            assert reader.closed.wait(30)
        try:
            on_frame(PREDICTION)
        except KeyboardInterrupt:
            ended.append(item)
            raise

    with pytest.raises(ZeroDivisionError):
        pool.run_all(["reads", "fails"], work)
    assert ended == ["reads"]


def test_several_files_at_once(run: Run, make_video, model_folder: Path, tmp_path: Path) -> None:
    """With --jobs the outputs are those of running one by one; a source that fails does not end the others."""
    clips = [make_video(f"{name}.mp4", pts=range(0, n * 512, 512)) for name, n in (("a", 9), ("b", 14), ("c", 20))]
    records: dict[str, dict[str, list]] = {}
    for jobs in ("1", "3"):
        out = tmp_path / f"out{jobs}"
        arguments = ["-m", model_folder, "-o", out, "--save-json", out, "--jobs", jobs]
        ran = run("infer", *clips, tmp_path / "missing.mp4", *arguments)
        assert ran.code == 3 and "missing.mp4" in ran.err
        records[jobs] = {
            path.name: [json.loads(line) for line in path.read_text().splitlines()] for path in out.glob("*.jsonl")
        }
        assert sorted(path.name for path in out.glob("*.mp4")) == ["a.mp4", "b.mp4", "c.mp4"]
        assert not list(out.glob("*.part*"))
    assert set(records["1"]) == {"a.jsonl", "b.jsonl", "c.jsonl"}
    for name, rows in records["1"].items():
        for one, other in zip(rows, records["3"][name], strict=True):
            assert one["time"] == other["time"] and one["top"][0]["label"] == other["top"][0]["label"]
    ran = run("infer", *clips, "-m", model_folder, "--no-save", "--jobs", "0")
    assert ran.code == 2 and "--jobs" in one_line(ran)


def test_ctrl_c_ends_all_sources(make_video, model_folder: Path, tmp_path: Path) -> None:
    """Ctrl-C finishes what each source has written, under temporary names, and exits with 130."""
    clips = [make_video(f"{name}.mp4", pts=range(0, 3000 * 512, 512), size=(320, 240)) for name in "ab"]
    command = [sys.executable, "-m", "liquidvision", "infer", *map(str, clips), "-m", str(model_folder)]
    command += ["-o", str(tmp_path / "out"), "--jobs", "2", "--device", "cpu", "-v"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stderr is not None
        seen: set[str] = set()
        while len(seen) < 2:  # both have begun
            line = child.stdout.readline()
            assert line, child.stderr.read()
            seen |= {name for name in ("a.mp4", "b.mp4") if name in line}
        deadline = time.monotonic() + 120
        while sum(path.stat().st_size > 0 for path in (tmp_path / "out").glob("*.part.mp4")) < 2:  # both have frames
            assert time.monotonic() < deadline and child.poll() is None
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        child.stdout.read()
        err = child.stderr.read()
        assert child.wait(60) == 130, err
    assert "Traceback" not in err
    parts = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert parts == ["a.part.mp4", "b.part.mp4"]
