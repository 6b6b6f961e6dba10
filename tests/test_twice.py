"""Looking twice: at each frame and at its mirror image, with a memory for each, and the mean of what the two say."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Run, one_line
from conftest import LABELS, build_model, picture_frames
from lessons import swings

from liquidvision import Backbone, Frame, Head, Model, Session, predict
from liquidvision.errors import UsageError
from liquidvision.gaze import Gaze
from liquidvision.learn import probe
from liquidvision.learn.annotations import read_data
from liquidvision.learn.entries import about_backbone
from liquidvision.learn.features import FeatureStore
from liquidvision.learn.lessons import Lessons
from liquidvision.liquid.head import State
from liquidvision.liquid.twice import TwiceHead
from liquidvision.together import sharing
from liquidvision.web.sight import Sight


def twice(*, cell: str = "ltc") -> Model:
    """The small model, and the same looking twice."""
    model = build_model(cell=cell)
    assert isinstance(model.head, Head)
    backbone = model.backbone.once().look_at("whole", twice=True)
    return Model(backbone, TwiceHead.of(model.head), LABELS, name="tiny")


def mirrored(frames: list[Frame]) -> list[Frame]:
    return [replace(frame, pixels=np.ascontiguousarray(frame.image[:, ::-1])) for frame in frames]


def test_both_looks_lie_side_by_side() -> None:
    """The embedding of a picture and, beside it, of its mirror image are what the network gives of each alone."""
    backbone = twice().backbone
    image = picture_frames(1)[0].image
    once = backbone.once()
    wanted = torch.cat([once.embed([image]), once.embed([np.ascontiguousarray(image[:, ::-1])])], 1)
    assert backbone.dim == 2 * once.dim
    torch.testing.assert_close(backbone.embed([image]), wanted, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(wanted[:, : once.dim], wanted[:, once.dim :], atol=1e-3)


@pytest.mark.parametrize("cell", ["ltc", "gated", "conductance", "cfc", "gru", "lstm", "none"])
def test_each_look_has_a_memory_of_its_own(cell: str) -> None:
    """What is said is the mean of what a head says that sees one look alone, at any chunking and in any company."""
    torch.manual_seed(1)
    head = build_model(cell=cell).head
    assert isinstance(head, Head)
    both, d = TwiceHead.of(head), head.input_size
    xs, dts, lengths = torch.randn(3, 10, 2 * d), 0.01 + 0.1 * torch.rand(3, 10), [10, 4, 7]
    with torch.inference_mode():
        alone = [head(part, dts, lengths=lengths) for part in (xs[..., :d], xs[..., d:])]
        first = both(xs[:, :3], dts[:, :3], lengths=[3, 3, 3])
        rest = both(xs[:, 3:], dts[:, 3:], first.state, [7, 1, 4])
        for name in ("logits", "frame_logits", "hidden", "time_constants"):
            own = [getattr(out, name) for out in alone]
            wanted = (own[0] + own[1]) / 2 if "logits" in name else own[0]
            got = torch.cat([getattr(first, name), getattr(rest, name)], 1)
            for row, n in enumerate(lengths):
                torch.testing.assert_close(got[row, :n], wanted[row, :n], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(alone[0].logits, alone[1].logits, atol=1e-2)


def test_left_and_right_are_the_same_to_it() -> None:
    """A video and its mirror image get the same probabilities, which one look alone does not give."""
    frames = picture_frames(12)
    for model, alike in ((twice(), True), (build_model(), False)):
        one, other = (
            np.stack([said.scores for said in Session(model).push_many(part)]) for part in (frames, mirrored(frames))
        )
        assert np.allclose(one, other, atol=1e-5) == alike


def test_a_saved_memory_goes_on(tmp_path: Path) -> None:
    """Frame by frame, all at once, over a saved memory or beside another stream: the same probabilities."""
    model, frames = twice(), picture_frames(16)
    wanted = np.stack([said.scores for said in Session(model).push_many(frames)])
    first, second = Session(model), Session(model)
    said = [first.push(frame).scores for frame in frames[:7]]
    first.save(tmp_path / "memory.safetensors")
    second.load(tmp_path / "memory.safetensors")
    said += [second.push(frame).scores for frame in frames[7:]]
    np.testing.assert_allclose(np.stack(said), wanted, atol=1e-5)
    with sharing(model) as shared:
        np.testing.assert_allclose([p.scores for _, p in predict(frames, shared, batch=5)], wanted, atol=1e-5)
    head = model.head
    assert isinstance(head, Head)
    xs = model.embed([frame.pixels for frame in frames[:6]])
    steps: list[tuple[torch.Tensor, torch.Tensor, State]] = [
        (xs[None, :n], torch.full((1, n), 0.1), head.initial(1)) for n in (6, 2)
    ]
    with sharing(model) as shared, torch.inference_mode():
        for item, out in zip(steps, shared.head.step(steps), strict=True):  # type: ignore[operator]
            torch.testing.assert_close(out.logits, head(*item).logits, atol=1e-5, rtol=1e-5)


def test_it_is_kept_with_the_model(tmp_path: Path) -> None:
    """A model folder knows that its model looks twice, one that looks once says nothing of it; embeddings differ."""
    model, frames = twice(), picture_frames(6)
    model.save_pretrained(tmp_path / "kept")
    loaded = Model.from_pretrained(tmp_path / "kept", device="cpu")
    for mine, its in zip(Session(model).push_many(frames), Session(loaded).push_many(frames), strict=True):
        np.testing.assert_allclose(its.scores, mine.scores, atol=1e-6)
    assert loaded.fingerprint() == model.fingerprint() != build_model().fingerprint()
    once = build_model()
    assert model.config()["backbone"]["twice"] is True
    assert "twice" not in once.config()["backbone"]
    assert "twice" not in about_backbone(once.backbone)
    assert about_backbone(model.backbone) != about_backbone(once.backbone)
    assert about_backbone(model.backbone_for_heads()) == about_backbone(once.backbone)
    with pytest.raises(UsageError, match="the head takes embeddings"):
        Model(model.backbone, once.head, LABELS)


def test_training_sees_one_look_at_a_time(clips: Path, tmp_path: Path) -> None:
    """Lessons of a backbone that looks twice are its single looks to what learns, and both to what is judged."""
    backbone = twice().backbone
    store = FeatureStore(backbone, folder=tmp_path / "cache")
    lessons = Lessons(read_data(clips), store)
    once = FeatureStore(backbone.once(), folder=tmp_path / "cache")
    path = lessons.dataset.clips[3].path
    looks = [once.get(path, view).embeddings for view in ("plain", "mirror")]
    assert len(lessons.views) == 2
    # The mirrored view is made of RGB, whose rounding moves the embedding a little.
    near = {"atol": 0.005, "rtol": 0.0}
    for view, look in zip(lessons.views, looks, strict=True):
        torch.testing.assert_close(lessons.lesson(3, view).embeddings, look, **near)
    torch.testing.assert_close(lessons[3].embeddings, torch.cat(looks, 1), **near)
    assert (looks[0] - looks[1]).abs().max() > 0.05
    assert [lesson.embeddings.shape[1] for lesson in lessons.in_all_views()] == 24 * [looks[0].shape[1]]


def test_controls_take_the_mean_of_both_looks() -> None:
    """A probe's logits of a lesson with two looks are the mean of its logits of each."""
    train, judged = swings(12), swings(4, seed=5)
    fitted = probe.fit_probe(train, 0.1)
    both = [
        replace(lesson, embeddings=torch.cat([lesson.embeddings, lesson.embeddings.flip(1)], 1)) for lesson in judged
    ]
    for lesson, track in zip(judged, probe.tracks_of(fitted, both, 2), strict=True):
        logit = sum(fitted.decision_function(part.numpy()) for part in (lesson.embeddings, lesson.embeddings.flip(1)))
        np.testing.assert_allclose(track.scores[:, 1], 1 / (1 + np.exp(-logit / 2)), atol=1e-5)


def test_train_twice_leaves_a_model_that_looks_twice(
    run: Run, clips: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`train --twice` makes a model that every command takes as it is; its scores are those of both looks."""
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))
    mine = tmp_path / "mine"
    ran = run("train", clips, "-o", mine, "--backbone", model_folder, "--epochs", "2", "--twice")
    assert ran.code == 0, ran.err
    model = Model.from_pretrained(mine)
    assert model.backbone.twice and isinstance(model.head, TwiceHead)
    assert "and their mirror images" in (mine / "README.md").read_text()
    for video in json.loads((mine / "evaluation.json").read_text())["videos"]:
        said = [prediction.label for _, prediction in predict(clips / video["name"], model)]
        assert [model.labels[place] for place in video["memory"]] == said
    arguments = ("--compare", "--folds", "2", "--seeds", "1", "--json", tmp_path / "compare.json")
    ran = run("eval", clips, "-m", mine, *arguments)
    assert ran.code == 0, ran.err
    names = [row["name"] for row in json.loads((tmp_path / "compare.json").read_text())["compare"]["rows"]]
    assert {"gated", "gru", "gated reset", "probe", "hmm_forward", "pooled"} <= set(names)
    for options in ((), ("--adaptive",)):
        ran = run("infer", clips / "slow" / "0.mp4", "-m", mine, "--no-save", *options)
        assert ran.code == 0 and "12 frames" in ran.out, ran.err
    ran = run("extract", clips, "-m", mine)
    assert ran.code == 0 and "nothing to embed" in ran.out
    ran = run("extract", clips, "-m", mine, "--twice")
    assert ran.code == 2 and "--twice" in one_line(ran)


def test_cross_validation_looks_twice(
    run: Run, clips: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`train --twice --folds` judges the clips of each fold by both looks, and keeps a model that does so too."""
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "cache"))
    options = ("--backbone", model_folder, "--epochs", "2", "--folds", "3", "--twice")
    ran = run("train", clips, "-o", tmp_path / "mine", *options)
    assert ran.code == 0, ran.err
    told = json.loads((tmp_path / "mine" / "evaluation.json").read_text())
    assert told["data"]["videos"] == 12 and Model.from_pretrained(tmp_path / "mine").backbone.twice


def test_heads_that_the_page_teaches_see_the_first_look() -> None:
    """On the page the loaded model looks twice, and a head that is taught sees the pictures themselves."""
    model = twice()
    sight, gaze = Sight(model), Gaze(model.backbone)
    frame = picture_frames(1)[0]
    speaking, teachable = sight.look(gaze, frame)
    assert teachable is not None
    torch.testing.assert_close(speaking, model.embed([frame.image]))
    torch.testing.assert_close(teachable, sight.teachable.embed([frame.image]), atol=1e-5, rtol=1e-4)
    assert [part.shape[1] for part in sight.look(gaze, frame, taught=True) if part is not None] == 2 * [
        Backbone.once(model.backbone).dim
    ]
