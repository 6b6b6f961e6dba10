"""Cores that the process may use, and how its threads are scheduled."""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from liquidvision import Model, infer
from liquidvision.concurrency import cores
from liquidvision.concurrency.cores import available_cores, batch_scheduling, half_of_cores
from liquidvision.prediction import Prediction
from liquidvision.video.read.av_reader import AVReader

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="scheduling policies are set on Linux alone")


def cgroups(monkeypatch: pytest.MonkeyPatch, root: Path, own: str, files: dict[str, str]) -> None:
    """Show the process these control groups instead of its own, and eight cores in its affinity mask."""
    for name, text in files.items():
        path = root / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "own").write_text(own)
    monkeypatch.setattr(cores, "CGROUPS", root / "cgroup")
    monkeypatch.setattr(cores, "OWN_CGROUPS", root / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.parametrize(
    ("own", "files", "count"),
    [
        ("0::/\n", {}, 8),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "9900000 100000\n"}, 8),
        ("0::/a/b\n", {"cpu.max": "600000 100000\n", "a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
        ("0::/docker/gone\n", {"cpu.max": "200000 100000\n"}, 2),  # the host's path, seen from inside a container
        ("0::/\n", {"cpu.max": "nonsense"}, 8),
        (
            "5:memory:/x\n4:cpu,cpuacct:/pod\n",
            {"cpu,cpuacct/pod/cpu.cfs_quota_us": "250000\n", "cpu,cpuacct/pod/cpu.cfs_period_us": "100000\n"},
            3,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
    ],
)
def test_cpu_quotas_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: str, files: dict[str, str], count: int
) -> None:
    """A container's CPU quota, of either version of control groups, limits the cores; it is rounded up."""
    cgroups(monkeypatch, tmp_path, own, files)
    assert available_cores() == count
    assert half_of_cores() == max(1, count // 2)


def test_affinity_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The cores of the affinity mask are counted, not those of the machine."""
    cgroups(monkeypatch, tmp_path, "0::/\n", {})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert (available_cores(), half_of_cores()) == (1, 1)


def test_the_decoder_uses_the_cores_it_may(make_video, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A reader decodes on half of the cores that the process may use."""
    cgroups(monkeypatch, tmp_path, "0::/\n", {"cpu.max": "600000 100000\n"})
    with AVReader(make_video()) as reader:
        assert reader._stream.codec_context.thread_count == 3


def test_batch_work_ends_with_its_block() -> None:
    """Inside the block this thread and the threads it starts are batch work; after it this thread is not."""
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
    """A thread with another policy keeps it, and a sandbox that forbids the call changes nothing."""

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
    """While a file is annotated, the threads that read, embed and encode it are batch work, and only then."""
    during: dict[str, int] = {}

    def look(_: Prediction) -> None:
        for thread in threading.enumerate():
            with suppress(ProcessLookupError):  # it has ended
                during[thread.name] = os.sched_getscheduler(thread.native_id or 0)

    infer(make_video(pts=range(0, 40 * 512, 512)), model, video=tmp_path / "out.mp4", on_frame=look)
    ours = {name: policy for name, policy in during.items() if name.startswith(("MainThread", "liquidvision"))}
    assert set(ours) == {"MainThread", "liquidvision-prefetch", "liquidvision-write"}
    assert set(ours.values()) == {os.SCHED_BATCH}
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
