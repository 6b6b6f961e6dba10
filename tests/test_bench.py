"""`liquidvision bench`: what it measures and prints."""

import json
from pathlib import Path

import pytest
from commands import Run, one_line

from liquidvision.errors import UsageError
from liquidvision.workflows.bench import STAGES, BenchResult, run_bench
from liquidvision.workflows.jobs import BenchJob


def test_every_stage_is_measured(make_video, model_folder: Path) -> None:
    """Each stage takes some time on the requested frames, and the bound is their sum shared by all cores."""
    job = BenchJob(str(make_video(size=(128, 96), sound=True)), model=str(model_folder), frames=12, rounds=1)
    found = run_bench(job)
    assert found.frames == 12 and found.cores >= 1
    assert tuple(found.cpu) == STAGES and all(ms > 0 for ms in found.cpu.values())
    assert found.bound(video=True) == pytest.approx(sum(found.cpu.values()) / found.cores)
    assert 0 < found.bound(video=False) < found.bound(video=True)
    assert found.video > 0 and found.records > 0


def test_bounds_add_up() -> None:
    """The bound without a video includes neither drawing nor encoding."""
    bench = BenchResult("clip", "tiny", 3, 10, 2, dict.fromkeys(STAGES, 1.0), 9.0, 5.0)
    assert bench.bound(video=True) == 3.5 and bench.bound(video=False) == 2.5


def test_on_the_command_line(run: Run, make_video, model_folder: Path, tmp_path: Path) -> None:
    """It prints a table, writes the same figures as JSON, and fails in one line when there is nothing to measure."""
    target = tmp_path / "x" / "b.json"
    for option in ("--save-json", "--json"):  # the second is the earlier name
        ran = run("bench", make_video(), "-m", model_folder, "--frames", 8, "--rounds", 1, option, target)
        assert ran.code == 0 and all(stage in ran.out for stage in STAGES)
        figures = json.loads(target.read_text())
        assert f"{figures['cores']} cores" in ran.out
        assert set(figures["cpu_ms"]) == set(STAGES) and figures["frames"] == 8
        target.unlink()
    assert "--json" not in run("bench", "--help").out.replace("--save-json", "")
    ran = run("bench", tmp_path / "missing.mp4", "-m", model_folder)
    assert ran.code == 1 and "missing.mp4" in one_line(ran)
    with pytest.raises(UsageError, match="rounds"):
        run_bench(BenchJob("x.mp4", rounds=0))


def test_without_a_source_one_is_made(run: Run, model_folder: Path) -> None:
    """Without a source a clip is generated, so that a machine can be measured with nothing at hand."""
    ran = run("bench", "-m", model_folder, "--frames", 6, "--rounds", 1)
    assert ran.code == 0 and "generated.mp4" in ran.out and "6 frames" in ran.out
