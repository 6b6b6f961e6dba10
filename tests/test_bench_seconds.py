"""The program that compares memories in seconds and in frames: its records, its tables, and what it leaves out."""

import argparse
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_sequences import rising_and_falling

sys.path.insert(0, str(Path(__file__).parents[1]))

from liquidvision.data.dataset import Clip, Dataset
from liquidvision.liquid.traces import Layout
from liquidvision.training.recipe import Plan, Recipe
from liquidvision.training.sequences import ClipSequence, SequenceDataset
from tools import bench_seconds
from tools.actions.clips import embed_clips
from tools.benchmark_results import read_result


class Made(SequenceDataset):
    """Clips that rise or fall, as a set of the program."""

    def __init__(self) -> None:
        self.made = rising_and_falling(24, steps=(24,))
        clips = tuple(
            Clip(Path(clip.name), clip.name, clip.name, ("falls", "rises")[int(clip.targets[0])]) for clip in self.made
        )
        backbone = SimpleNamespace(
            device=torch.device("cpu"), motion_crop=False, grids=1, layouts=(Layout(4, 1), Layout(2, 4))
        )
        super().__init__(Dataset(Path(), clips, ("falls", "rises"), None, False), SimpleNamespace(backbone=backbone))

    def sequence(self, index: int, view: str) -> ClipSequence:
        return next(clip for clip in self.made if clip.name == self.dataset.clips[index].name)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run the program on a made set, with two epochs."""
    made = Made()
    monkeypatch.setattr(bench_seconds, "load_set", lambda options: (made, made.store.backbone))
    head = {"components": 4, "taus": (0.2, 1.0), "width": 8, "units": 8, "cell": "gated"}
    monkeypatch.setattr(bench_seconds, "default_plan", lambda *given, **options: Plan(head, Recipe(epochs=2, batch=16)))
    monkeypatch.setattr(bench_seconds, "BARE_EPOCHS", 2)

    def start(*arguments: str) -> list[dict]:
        monkeypatch.setattr(sys, "argv", ["bench_seconds", *arguments, "--work", str(tmp_path)])
        bench_seconds.main()
        return bench_seconds.read_records(tmp_path / "directions.jsonl")

    return start


def test_a_run_goes_on_where_it_stopped(program, tmp_path):
    """Every head of every fold has one record; a second run does only what is missing, and drops a cut-off line."""
    records = program("run", "directions", "--heads", "gated,gru", "--seeds", "0")
    assert [(r["head"], r["fold"]) for r in records] == [("gated", 0), ("gru", 0), ("gated", 1), ("gru", 1)]
    path = tmp_path / "directions.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], lines[3][:100]]) + "\n")
    kept = program("run", "directions", "--heads", "gated,gru", "--seeds", "0")
    assert [(r["head"], r["fold"]) for r in kept] == [("gated", 0), ("gru", 0), ("gated", 1), ("gru", 1)]
    assert kept[:3] == records[:3] and len(path.read_text().splitlines()) == 5
    assert {clip for r in kept[::2] for clip in r["clips"]} == {f"clip{i}" for i in range(24)}


def test_inputs_decide_features_and_tests(program):
    """Heads with traces are judged after other clips, heads on bare embeddings at other rates, without traces."""
    (with_traces,) = [r for r in program("run", "directions", "--heads", "gru", "--seeds", "0") if not r["fold"]]
    assert {"whole", "dropped", "after_75"} <= set(with_traces["right"]) and "every_4" not in with_traces["right"]
    records = program("run", "directions", "--heads", "gru-chrono", "--seeds", "0", "--inputs", "bare")
    (bare,) = [r for r in records if r["inputs"] == "bare" and not r["fold"]]
    assert {"whole", "dropped", "every_4", "irregular"} <= set(bare["right"]) and "after" not in bare["right"]
    made = Made()
    plan = bench_seconds.default_plan()
    bare_config = bench_seconds.make_config("gru-chrono", plan, made.store.backbone, 2, "bare", 15.0)
    assert bare_config.taus == () and bare_config.chrono == 60 and not bare_config.restart_at_cuts
    assert bench_seconds.make_config("gru", plan, made.store.backbone, 2, "restarted", 15.0).restart_at_cuts


def record(head: str, seed: int, right: list[float]) -> dict:
    """Return a record of a fold of four clips."""
    return {
        **{"inputs": "traces", "learn_every": 1, "seed": seed, "folds": 2, "fold": 0, "head": head},
        "clips": list("abcd"),
        "groups": list("wxyz"),
        "right": {"whole": right},
        "forgetting": [[1.0, 0.5, None, 0.25]] * 4 if head == "gru" else None,
    }


def test_tables_pair_heads_by_clip_and_seed(program, tmp_path):
    """Means are of all seeds; differences only of the clips and seeds that both heads have."""
    lines = [
        record("gru", 0, [1, 0, 0, 0]),
        record("gated", 0, [1, 1, 0, 0]),
        record("gated", 1, [1, 1, 1, 1]),
    ]
    (tmp_path / "directions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    saved = tmp_path / "table.json"
    program("table", "directions", "--tests", "whole", "--save-json", str(saved))
    gated, gru = read_result(saved)["rows"]
    assert gated["whole"]["value"] == 75 and gru["whole"]["value"] == 25
    assert gated["whole_difference"]["value"] == 25 and "whole_difference" not in gru
    assert (gated["seeds"], gru["seeds"]) == (1, 0.5)
    program("forgetting", "directions", "--save-json", str(saved))
    (row,) = read_result(saved)["rows"]
    assert row["4_1"] is None and row["8_2"] == 25 and "1_0.5" not in row


def test_streams_have_the_labels_that_were_rendered(tmp_path):
    """The labels of a rendered stream are those of the picture at each instant."""

    class Plain:
        preprocessing = SimpleNamespace(size=(32, 32))

        def embed(self, images: list[np.ndarray]) -> torch.Tensor:
            return torch.stack([torch.from_numpy(image).float().mean((0, 1)) for image in images])

    times = np.arange(0, 6, 0.1)
    paths = embed_clips(Plain(), tmp_path, "made", "test", range(2), lambda _: times)
    made = bench_seconds.read_streams(paths)
    streams = bench_seconds.Streams(made, Plain())
    for clip, sequence in zip(streams.dataset.clips, made, strict=True):
        labels = clip.targets(times, streams.dataset.labels, streams.dataset.background)
        assert np.array_equal(labels, sequence.targets.numpy()) and len(set(labels)) > 1
        assert not sequence.whole_clip and sequence.embeddings.shape == (60, 3)


def test_options_choose_heads():
    """A table can show some heads only, whatever is recorded."""
    options = argparse.Namespace(work=Path("nowhere"), set="fights", inputs="bare", learn_every=1, folds=2, heads="gru")
    assert bench_seconds.chosen(options) == []
