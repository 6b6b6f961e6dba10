"""The motion crop: a square follows motion through a stream, and the backbone embeds it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Run
from conftest import LABELS, build_model, picture

from liquidvision import (
    Backbone,
    Frame,
    LiquidHead,
    LiquidHeadConfig,
    Model,
    Preprocessing,
    Session,
    open_video,
    predict,
)
from liquidvision.data.embedding_file import backbone_identity, encode_embedding_file
from liquidvision.data.embeddings import EmbeddingStore
from liquidvision.errors import ModelError, SourceError
from liquidvision.models.motion_crop import MotionCrop
from liquidvision.models.preprocessing import CropSquare
from liquidvision.video.pixels import Pixels
from liquidvision.web.shared_model import SharedModel

WIDTH, HEIGHT = 320, 240
MILLI = Fraction(1, 1000)
SMALL = Preprocessing((96, 96))


def backbone_of(motion_crop: bool, preprocessing: Preprocessing = SMALL) -> Backbone:
    torch.manual_seed(0)
    nodes = {"features.3": 1, "features.1": 2}
    return Backbone(
        "mobilenet_v3_small", weights=None, nodes=nodes, preprocessing=preprocessing, motion_crop=motion_crop
    )


def model_of(motion_crop: bool) -> Model:
    backbone = backbone_of(motion_crop)
    head = LiquidHead(LiquidHeadConfig(backbone.layouts, len(LABELS), components=8, taus=(0.1, 0.5), width=8, units=6))
    torch.nn.init.normal_(head.whitening, std=0.2)
    return Model(backbone, head, LABELS, name="tiny")


def waving(seconds: float, rate: float, *, at: tuple[int, int] = (250, 60)) -> list[Frame]:
    """Yield frames of a small chequered object that swings around a point (x, y) of a still, textured picture."""
    ground = picture(0, WIDTH, HEIGHT)
    frames = []
    for i in range(round(seconds * rate)):
        image = ground.copy()
        x, y = at[0] + round(12 * np.sin(i / rate * 12)), at[1]
        image[y - 15 : y + 15, x - 15 : x + 15] = 255 * (np.indices((30, 30)).sum(0) // 10 % 2)[..., None]
        frames.append(Frame(image, i, round(1000 * i / rate), MILLI))
    return frames


def squares(frames: Sequence[Frame], preprocessing: Preprocessing = SMALL) -> list[CropSquare]:
    backbone = backbone_of(True, preprocessing)
    motion_crop = MotionCrop(backbone)
    return [motion_crop.next_square(backbone.prepare_whole(frame.pixels)[0], frame) for frame in frames]


@pytest.mark.parametrize("at", [(250, 60), (60, 180), (160, 120)])
def test_the_crop_follows_motion(at: tuple[int, int]) -> None:
    """After a second the square surrounds the moving object, and is inside the picture and much smaller."""
    first, *_, (top, left, side) = squares(waving(1.2, 25, at=at))
    assert first == CropSquare(0, 40, 240)
    assert side <= 140
    assert left <= at[0] - 25
    assert at[0] + 25 <= left + side
    assert top <= at[1] - 15
    assert at[1] + 15 <= top + side
    assert 0 <= top <= HEIGHT - side
    assert 0 <= left <= WIDTH - side


def test_the_frame_rate_changes_little() -> None:
    """At 12 and 50 frames per second the square is about where it is at 25."""
    usual = np.array(squares(waving(1.2, 25))[-1])
    for rate in (12.5, 50):
        assert np.abs(np.array(squares(waving(1.2, rate))[-1]) - usual).max() <= 16


def test_without_motion_the_crop_is_the_centre() -> None:
    """A still, noisy picture gets the largest square in its centre, also some time after motion ended."""
    rng = np.random.default_rng(0)
    noisy = [
        Frame(
            np.clip(picture(0, WIDTH, HEIGHT) + rng.normal(0, 4, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8),
            i,
            40 * i,
            MILLI,
        )
        for i in range(20)
    ]
    assert set(squares(noisy)) == {CropSquare(0, 40, 240)}
    moved = waving(1.0, 25)
    still = [Frame(moved[-1].pixels, i, 1000 + 40 * i, MILLI) for i in range(300)]
    assert squares([*moved, *still])[-1] == CropSquare(0, 40, 240)


def test_the_mirrored_stream_gets_the_mirrored_square() -> None:
    """The square of a mirrored stream is the mirrored square."""
    frames = waving(1.0, 25)
    mirrored = [Frame(frame.image[:, ::-1], frame.index, frame.pts, MILLI) for frame in frames]
    for here, there in zip(squares(frames), squares(mirrored), strict=True):
        assert abs(here.left - (WIDTH - there.left - there.side)) <= 4
        assert (here.top, here.side) == pytest.approx((there.top, there.side), abs=2)


def test_the_crop_stays_in_the_visible_region() -> None:
    """If the preprocessing crops the centre of pictures, the square stays inside that region."""
    cropped = Preprocessing((96, 96), shorter=128)
    for top, left, side in squares(waving(1.0, 25, at=(290, 20)), cropped):
        assert top >= 30
        assert top + side <= HEIGHT - 30
        assert left >= 70
        assert left + side <= WIDTH - 70


def test_every_inference_path_gives_the_same(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    """Frames pushed one by one or at once, the pipeline with any batch, and the cache give the same predictions."""
    model = model_of(True)
    video = make_video(size=(160, 120))
    with open_video(video) as reader:
        frames = list(reader)
    one_by_one = Session(model)
    wanted = np.stack([one_by_one.push(frame).scores for frame in frames])
    at_once = np.stack([p.scores for p in Session(model).push_many(frames)])
    np.testing.assert_allclose(at_once, wanted, atol=1e-5)
    for batch in (1, 3, 8):
        piped = np.stack([p.scores for _, p in predict(video, model, batch=batch)])
        np.testing.assert_allclose(piped, wanted, atol=1e-5)
    features = EmbeddingStore(model.backbone, folder=tmp_path / "cache").get(video)
    kept = Session(model).push_embeddings(features.frames(), features.embeddings)
    np.testing.assert_allclose(np.stack([p.scores for p in kept]), wanted, atol=1e-5)


def test_the_backbone_embeds_the_crop() -> None:
    """The embedding of a stream's frame is that of the square around the motion, not of the whole picture."""
    frames, backbone = waving(0.6, 25), backbone_of(True)
    motion_crop = MotionCrop(backbone)
    *_, (top, left, side) = squares(frames)
    with torch.inference_mode():
        (*_, seen) = backbone(torch.cat([motion_crop.prepare(frame) for frame in frames]))
    (cut,) = backbone_of(False).embed([frames[-1].image[top : top + side, left : left + side]])
    (whole,) = backbone_of(False).embed([frames[-1].image])
    assert (seen - cut).norm() < 0.3 * (seen - whole).norm()


def test_reset_restarts_the_crop() -> None:
    """`Session.reset` restarts the motion crop, and sessions do not share one."""
    model, frames = model_of(True), waving(0.8, 25)
    session = Session(model)
    fresh = session.push(frames[0]).scores
    session.push_many(frames[1:])
    session.reset()
    np.testing.assert_allclose(session.push(frames[0]).scores, fresh, atol=1e-6)


@pytest.mark.parametrize("clock", ["goes on", "starts again"])
def test_segments_give_the_predictions_of_the_whole(clock: str, tmp_path: Path) -> None:
    """Segments of a feed are cropped as the whole is, although the pipeline reads ahead of the saved state."""
    model = model_of(True)
    frames = [replace(frame, duration=40) for frame in waving(1.2, 25)]
    whole = np.stack([p.scores for p in Session(model).push_many(frames)])
    first, second = Session(model), Session(model)
    said = []
    for _, prediction in predict(frames, model, session=first, batch=8):
        said.append(prediction.scores)
        if len(said) == 13:
            break
    first.save(tmp_path / "state")
    second.load(tmp_path / "state")
    rest = (
        frames[13:] if clock == "goes on" else [replace(frame, pts=frame.pts - frames[13].pts) for frame in frames[13:]]
    )
    said += [p.scores for p in second.push_many(rest)]
    np.testing.assert_allclose(np.stack(said), whole, atol=1e-5)


def test_crops_from_planes_equal_crops_from_rgb(make_video: Callable[..., Path]) -> None:
    """A square resized from decoded planes equals that from full-size RGB within rounding, smaller or larger."""
    with open_video(make_video(size=(320, 240))) as reader:
        frame = list(reader)[7]
    assert isinstance(frame.pixels, Pixels)
    preprocessing = Preprocessing((96, 96))
    levels = torch.tensor(preprocessing.std).view(3, 1, 1) * 255
    for square in (CropSquare(20, 40, 60), CropSquare(0, 40, 240)):
        straight, plain = preprocessing.crop(frame.pixels, square), preprocessing.crop(frame.image, square)
        assert straight.shape == plain.shape == (1, 3, 96, 96)
        assert ((straight - plain) * levels).abs().mean() < 2
    part = (
        preprocessing.crop(frame.image, CropSquare(20, 40, 96)) * levels
        + torch.tensor(preprocessing.mean).view(3, 1, 1) * 255
    )
    assert (part[0].permute(1, 2, 0) - torch.from_numpy(frame.image[20:116, 40:136].copy()).float()).abs().max() < 1e-2


def test_the_server_uses_the_motion_crop() -> None:
    """The web server embeds the square of a client's frames, for the model and for taught heads."""
    model = model_of(True)
    shared, motion_crop, own = SharedModel(model), MotionCrop(model.backbone), MotionCrop(model.backbone)
    for frame in waving(0.6, 25):
        speaking, teachable = shared.embed(motion_crop, frame)
        with torch.inference_mode():
            wanted = model.backbone(own.prepare(frame))
        torch.testing.assert_close(speaking, wanted)
        assert teachable is speaking


def test_the_motion_crop_is_saved_with_the_model(tmp_path: Path) -> None:
    """A model folder stores whether the backbone has a motion crop; a folder without the key has none."""
    model = model_of(True)
    model.save_pretrained(tmp_path / "kept")
    loaded = Model.from_pretrained(tmp_path / "kept", device="cpu")
    frames = waving(0.4, 25)
    for mine, its in zip(Session(model).push_many(frames), Session(loaded).push_many(frames), strict=True):
        np.testing.assert_allclose(its.scores, mine.scores, atol=1e-6)
    assert "look" not in build_model().config()["backbone"]
    assert model.config()["backbone"]["look"] == "moving"


def test_cached_embeddings_depend_on_the_motion_crop(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    """Cached embeddings of whole pictures are not used for a backbone with a motion crop."""
    video = make_video()
    for store in [EmbeddingStore(backbone_of(motion_crop), folder=tmp_path) for motion_crop in (False, True)]:
        assert not store.has(video)
        store.get(video)
        assert store.has(video)


@pytest.mark.parametrize(("made", "wanted"), [(False, True), (True, False)])
def test_embedded_clips_of_another_crop_are_refused(
    made: bool, wanted: bool, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    """An embedding file made with another motion crop raises SourceError, which names the difference."""
    backbone = backbone_of(made)
    features = EmbeddingStore(backbone, folder=tmp_path / "cache").get(make_video())
    clip = tmp_path / "clip.safetensors"
    clip.write_bytes(encode_embedding_file(features, backbone_identity(backbone)))
    assert EmbeddingStore(backbone, folder=tmp_path / "cache").get(clip).embeddings.equal(features.embeddings)
    with pytest.raises(SourceError, match=r"embedded by another backbone \(its look differs\)"):
        EmbeddingStore(backbone_of(wanted), folder=tmp_path / "cache").get(clip)


def test_an_unknown_value_in_a_model_folder_is_refused(tmp_path: Path) -> None:
    """A config.json with an unknown crop raises ModelError."""
    model_of(True).save_pretrained(tmp_path / "kept")
    config = tmp_path / "kept" / "config.json"
    config.write_text(config.read_text().replace('"moving"', '"aside"'))
    with pytest.raises(ModelError, match="look is 'aside'; expected whole or moving"):
        Model.from_pretrained(tmp_path / "kept", device="cpu")


@pytest.mark.parametrize("kept", [False, True])
def test_frames_read_ahead_do_not_move_the_crop(kept: bool, tmp_path: Path, make_video: Callable[..., Path]) -> None:
    """After a loop ends early, the session's crop is that of the last yielded frame, closed or not."""
    model, video = model_of(True), make_video(size=(160, 120))
    with open_video(video) as reader:
        frames = list(reader)
    wanted, session = Session(model), Session(model)
    wanted.push_many(frames[:3])
    loop = predict(video, model, session=session)
    for _ in range(3):
        next(loop)
    if not kept:
        loop.close()
    assert session.motion_crop.to_tensor().equal(wanted.motion_crop.to_tensor())
    np.testing.assert_allclose(session.push(frames[3]).scores, wanted.push(frames[3]).scores, atol=1e-6)
    loop.close()


@pytest.mark.parametrize("option", [["--motion-crop"], ["--look", "moving"]])
def test_train_with_a_motion_crop(run: Run, clips: Path, model_folder: Path, tmp_path: Path, option: list[str]) -> None:
    """`train --motion-crop`, once `--look moving`, makes a model that infer runs with the same crop."""
    out = tmp_path / "taught"
    arguments = ["train", clips, "-o", out, "--backbone", model_folder, "--epochs", "2", "--cache", tmp_path / "cache"]
    done = run(*arguments, *option)
    assert done.code == 0, done.err
    assert Model.from_pretrained(out, device="cpu").backbone.motion_crop
    assert "a square crop around what moves" in (out / "README.md").read_text()
    clip = next(clips.rglob("*.mp4"))
    assert run("infer", clip, "-m", out, "--no-save").code == 0
    wrong = run(*arguments, "--exist-ok", "--look", "aside")
    assert wrong.code == 2
    assert "'aside' is not one of whole, moving" in wrong.err and wrong.err.count("\n") == 1
