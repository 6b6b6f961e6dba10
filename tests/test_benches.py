"""The programs in tools/ that measure speed run, here on a tiny clip and for a moment."""

import sys
from pathlib import Path

import pytest
import torch

from liquidvision import LiquidHead, LiquidHeadConfig
from liquidvision.liquid.traces import Layout
from liquidvision.training.sequences import ClipSequence

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools import bench_adaptive, bench_cuts, bench_infer, bench_streams, fit_actions_cuts
from tools.benchmark_results import read_result


def test_beside_a_hand_written_loop(make_video, tmp_path: Path) -> None:
    """Both contenders run over the clip, repeated with its sound, and measure a rate."""
    clip = bench_infer.lay_end_to_end(make_video(sound=True), tmp_path / "twice.mp4", 2)
    assert bench_infer.one("infer without video, torch", clip, "mobilenet_v3_small") > 0
    import av

    with av.open(str(clip)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 40
    with av.open(str(clip)) as container:
        assert container.streams.audio


def test_adaptive(
    make_video, model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table has a row for each clip, printed and saved."""
    clip = make_video()
    saved = clip.with_name("saved.json")
    arguments = ["bench_adaptive", str(clip), "--model", str(model_folder), "--save-json", str(saved)]
    monkeypatch.setattr(sys, "argv", arguments)
    bench_adaptive.main()
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 3 and rows[-1].startswith("| clip.mp4 | 20 |")
    (row,) = read_result(saved)["rows"]
    assert row["name"] == "clip.mp4" and row["frames"] == 20 and 0 < row["embedded"] <= 100


def test_streams(make_video, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Two streams for a second: every frame is predicted, and its delay is reported."""
    clip = make_video()
    saved = clip.with_name("saved.json")
    arguments = ["bench_streams", str(clip), "--streams", "2", "--seconds", "1", "--rate", "10"]
    arguments += ["--save-json", str(saved)]
    monkeypatch.setattr(sys, "argv", arguments)
    bench_streams.main()
    assert "2 streams, 20 frames" in capsys.readouterr().out
    (row,) = read_result(saved)["rows"]
    assert 0 <= row["p50_ms"] <= row["p99_ms"] <= row["latest_ms"]


def test_cuts_are_counted_at_the_first_frame_and_after_it() -> None:
    """A cut at a clip's first frame is found, later ones are false, and those of the clip before do not count."""
    targets = torch.tensor([-1, -1, 0, 0, 0, 0])
    clip = ClipSequence("a", torch.zeros(6, 2), torch.arange(6.0).double() / 2, targets, whole_clip=True)
    counts = bench_cuts.Counts()
    counts.add(torch.tensor([False, True, True, False, True, True]), clip)
    counts.add(torch.tensor([False, True, False, False, False, False]), clip)
    assert counts == bench_cuts.Counts(clips=2, found=1, false=2, with_false=1, seconds=3.0)


def test_a_head_is_given_restarts_and_keeps_its_weights() -> None:
    """With restarts and an unfitted limit a head gives the same logits as before, and can be given back as it was."""
    torch.manual_seed(0)
    head = LiquidHead(LiquidHeadConfig((Layout(4, 1),), 3, components=3, units=5)).eval()
    new = fit_actions_cuts.restarting(head)
    xs = torch.randn(2, 7, 4)
    assert new.config.restart_at_cuts
    torch.testing.assert_close(new(xs, 0.1).logits, head(xs, 0.1).logits)
    assert fit_actions_cuts.restarting(new, on=False).config == head.config
