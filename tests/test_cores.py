"""How threads share the cores."""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from liquidvision import Model, infer
from liquidvision.concurrency.cores import batch_scheduling
from liquidvision.prediction import Prediction

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="scheduling policies are set on Linux alone")


def test_batch_work_ends_with_its_block() -> None:
    """A thread that begins inside the block is batch work like its maker, who is as before after it."""
    seen: list[int] = []
    with pytest.raises(ValueError, match="out"), batch_scheduling():
        assert os.sched_getscheduler(0) == os.SCHED_BATCH
        thread = threading.Thread(target=lambda: seen.append(os.sched_getscheduler(0)))
        thread.start()
        thread.join()
        raise ValueError("out")
    assert seen == [os.SCHED_BATCH]
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_another_priority_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who chose another policy keeps it, and where a sandbox refuses the call all goes on as it was."""

    def refused(*_: object) -> None:
        raise PermissionError("not here")

    monkeypatch.setattr(os, "sched_setscheduler", refused)
    with batch_scheduling():
        assert os.sched_getscheduler(0) == os.SCHED_OTHER
    monkeypatch.setattr(os, "sched_getscheduler", lambda _: os.SCHED_IDLE)
    monkeypatch.setattr(os, "sched_setscheduler", lambda *_: pytest.fail("the policy was changed"))
    with batch_scheduling():
        pass


def test_files_are_batch_work(make_video, model: Model, tmp_path: Path) -> None:
    """While a file is annotated, the threads that read, embed and encode it are batch work; afterwards none is."""
    during: dict[str, int] = {}

    def look(_: Prediction) -> None:
        for thread in threading.enumerate():
            with suppress(ProcessLookupError):  # it has ended
                during[thread.name] = os.sched_getscheduler(thread.native_id or 0)

    infer(make_video(pts=range(0, 40 * 512, 512)), model, video=tmp_path / "out.mp4", on_frame=look)
    ours = {name: policy for name, policy in during.items() if name.startswith(("MainThread", "liquidvision"))}
    assert set(ours) == {"MainThread", "liquidvision-ahead", "liquidvision-behind"}
    assert set(ours.values()) == {os.SCHED_BATCH}
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
