"""lv.train, lv.evaluate, lv.embed and lv.check: whole jobs in one call."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

import liquidvision as lv
from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.errors import SourceError, UsageError
from liquidvision.workflows.evaluate import run_evaluate
from liquidvision.workflows.jobs import EvaluateJob, ExtractJob, TrainJob
from liquidvision.workflows.train import run_train


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Recorder(lv.ProgressListener):
    """Keeps what it receives."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int, int]] = []
        self.warnings: list[str] = []

    def progress(self, stage, done, total, detail=""):
        self.steps.append((stage, done, total))

    def warning(self, message):
        self.warnings.append(message)


def test_train_and_evaluate_in_one_call_each(clips, model_folder, tmp_path):
    """`train` returns the saved model and its evaluation; `evaluate` takes the folder or the model alike."""
    options = {"backbone": model_folder, "epochs": 2, "folds": 0, "views": ["mirror"], "traces": [0.1, 0.5]}
    result = lv.train(clips, tmp_path / "mine", **options)
    assert result.model.labels == ("quick", "slow") and result.folder == tmp_path / "mine"
    assert result.model.head_config.taus == (0.1, 0.5)
    assert result.evaluation["training"]["plan"]["views"] == ["plain", "mirror"]
    assert "clips right" in str(result) and str(result.folder) in str(result)
    for model in (tmp_path / "mine", str(tmp_path / "mine"), result.model):
        evaluation = lv.evaluate(clips, model)
        assert evaluation["data"]["part"] == "test" and evaluation["data"]["seen_in_training"] == 0
        assert evaluation.clip_accuracy == result.evaluation.clip_accuracy
        assert evaluation.frame_accuracy == evaluation["memory"]["frame_accuracy"]
    assert "used in training" in repr(lv.evaluate(clips, result.model, part="all"))


def test_a_model_that_was_never_saved_is_evaluated_on_everything(model, clips):
    """A model without a folder has no split: all clips are evaluated."""
    own = lv.Model(model.backbone, lv.LiquidHead(lv.LiquidHeadConfig(model.head_config.layouts, 2)), ("quick", "slow"))
    evaluation = lv.evaluate(clips, own)
    assert (evaluation["data"]["videos"], evaluation["data"]["part"]) == (12, "all")


def test_evaluation_is_saved_as_json_and_report(clips, model_folder, tmp_path):
    """`save_json` and `report` write files, and existing ones are kept."""
    lv.train(clips, tmp_path / "mine", backbone=model_folder, epochs=1, folds=0)
    outputs = {"save_json": tmp_path / "a.json", "report": tmp_path / "a.html"}
    evaluation = lv.evaluate(clips, tmp_path / "mine", **outputs)
    assert '"clip_accuracy"' in outputs["save_json"].read_text(encoding="utf-8") and "<html" in outputs[
        "report"
    ].read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="--exist-ok"):
        lv.evaluate(clips, tmp_path / "mine", **outputs)
    evaluation.save_json(tmp_path / "b" / "c.json")
    assert (tmp_path / "b" / "c.json").read_bytes() == outputs["save_json"].read_bytes()


def test_a_listener_receives_progress_and_warnings(clips, model_folder, tmp_path):
    """Each stage counts up to its total, and a clip that is left out is a warning."""
    (clips / "quick" / "broken.mp4").write_bytes(b"no video")
    heard = Recorder()
    lv.train(clips, tmp_path / "mine", backbone=model_folder, epochs=2, folds=0, listener=heard)
    stages = list(dict.fromkeys(stage for stage, _, _ in heard.steps))
    assert stages == ["embedding", "training", "refitting", "evaluating"]
    assert ("embedding", 0, 13) in heard.steps and ("embedding", 12, 13) in heard.steps
    assert [step for step in heard.steps if step[0] == "training"] == [("training", i, 2) for i in range(3)]
    assert [step for step in heard.steps if step[0] == "refitting"] == [("refitting", i, 2) for i in range(3)]
    stage, done, total = heard.steps[-1]
    assert stage == "evaluating" and done == total
    assert len(heard.warnings) == 1 and "left out quick/broken.mp4" in heard.warnings[0]


def test_warnings_are_logged_without_a_listener(clips, model_folder, tmp_path, caplog):
    """Without a listener warnings are logged by the logger "liquidvision"."""
    (clips / "quick" / "broken.mp4").write_bytes(b"no video")
    lv.train(clips, tmp_path / "mine", backbone=model_folder, epochs=1, folds=0)
    assert any("broken.mp4" in record.getMessage() and record.name == "liquidvision" for record in caplog.records)


def test_jobs_are_plain_data(clips, model_folder, tmp_path):
    """Jobs survive pickling, and run from it."""
    job = TrainJob(clips, out=tmp_path / "mine", backbone=str(model_folder), epochs=1, folds=0, features=None)
    assert pickle.loads(pickle.dumps(job)) == job
    run_train(pickle.loads(pickle.dumps(job)))
    evaluation = run_evaluate(pickle.loads(pickle.dumps(EvaluateJob(clips, model=str(tmp_path / "mine")))))
    assert evaluation["data"]["part"] == "test"
    assert pickle.loads(pickle.dumps(ExtractJob(["a.mp4"]))) == ExtractJob(["a.mp4"])


def test_embed_one_video(make_video, model, own_cache):
    """A video gives its embeddings and times; nothing is kept unless a cache is asked for."""
    video = make_video()
    clip = lv.embed(video, model)
    with lv.open_video(video) as reader:
        frames = list(reader)
    torch.testing.assert_close(clip.embeddings, model.embed([frame.pixels for frame in frames]))
    np.testing.assert_allclose(clip.times, [frame.time for frame in frames])
    assert repr(clip) == "ClipEmbeddings(20 frames x 88, 0.00 to 0.76 s)" and not own_cache.exists()
    assert len(lv.embed(video, model.backbone, vid_stride=2, max_frames=3).times) == 3
    mirrored = lv.embed(video, model, view="mirror")
    assert not torch.equal(mirrored.embeddings, clip.embeddings)


def test_embed_a_folder_with_a_cache(clips, model, model_folder, tmp_path):
    """A folder gives embeddings by path; unreadable videos are left out with a warning; the cache is the store's."""
    (clips / "slow" / "broken.mp4").write_bytes(b"no video")
    heard = Recorder()
    found = lv.embed(clips, model_folder, cache=tmp_path / "own", listener=heard)
    assert sorted(found) == sorted(path for path in clips.rglob("*.mp4") if path.name != "broken.mp4")
    assert len(heard.warnings) == 1 and heard.steps[-1] == ("embedding", 13, 13)
    store = EmbeddingStore(model.backbone, folder=tmp_path / "own")
    assert all(store.has(path) for path in found)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.mp4").write_bytes((clips / "slow" / "0.mp4").read_bytes())
    assert list(lv.embed(tmp_path / "one", model)) == [tmp_path / "one" / "a.mp4"]


@pytest.mark.parametrize(
    ("arguments", "error", "reason"),
    [
        ({"source": "none.mp4"}, SourceError, "none.mp4"),
        ({"source": "https://host/clip.mp4"}, UsageError, "is a URL"),
        ({"source": ".", "view": "sepia"}, UsageError, "sepia"),
        ({"source": "none.mp4", "vid_stride": 0}, UsageError, "stride is 0"),
    ],
)
def test_embed_refuses(model, tmp_path, monkeypatch, arguments, error, reason):
    """A missing file, a URL, an unknown view and a wrong stride are refused in one line."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=reason) as caught:
        lv.embed(backbone=model, **arguments)
    assert "\n" not in str(caught.value)


def test_check_returns_the_audit(clips, caplog):
    """`check` returns the report, which prints its problems."""
    (clips / "slow" / "broken.mp4").write_bytes(b"no video")
    report = lv.check(clips)
    assert [problem.name for problem in report.errors] == ["slow/broken.mp4"]
    assert "12 of 13 files can be used" in str(report) and "error: slow/broken.mp4: " in str(report)
