"""Embeddings kept on disk: equal to those of a stream, found by everything they depend on, complete or absent."""

import copy
import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from liquidvision import Backbone, Model, Preprocessing, Session, open_video, predict
from liquidvision.data.embedding_file import ClipEmbeddings
from liquidvision.data.embeddings import EmbeddingStore, default_cache_folder
from liquidvision.errors import SinkError, SourceError, UsageError
from liquidvision.models.folder import read_tensors, write_tensors
from liquidvision.video.read import file_options as reading

MakeVideo = Callable[..., Path]
VARIABLE = (0, 512, 1100, 3000, 3001, 9000, 9512, 20000, 20512, 21000, 21900)  # ticks


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def store(model: Model, cache: Path) -> EmbeddingStore:
    return EmbeddingStore(model.backbone, folder=cache)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """No test of this file leaves a reading thread behind."""
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "liquidvision-prefetch"]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def same(a: ClipEmbeddings, b: ClipEmbeddings) -> None:
    assert torch.equal(a.embeddings, b.embeddings) and a.embeddings.dtype == torch.float32
    assert torch.equal(a.pts, b.pts) and torch.equal(a.durations, b.durations)
    assert (a.time_base, a.begin, a.damaged) == (b.time_base, b.begin, b.damaged)


def scores(predictions) -> np.ndarray:
    return np.stack([np.concatenate([p.scores, p.frame_scores, p.time_constants]) for p in predictions])


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi"])
def test_a_session_of_embeddings_agrees_with_predict(model, cache, make_video, name, stride):
    """Cached embeddings pushed through a session give the predictions of predict(), at the same ticks."""
    ticks = range(0, 11 * 512, 512) if name.endswith("avi") else VARIABLE
    video = make_video(name, pts=ticks, **({"codec": "mpeg4"} if name.endswith("avi") else {}))
    EmbeddingStore(model.backbone, folder=cache, stride=stride).get(video)
    features = EmbeddingStore(model.backbone, folder=cache, stride=stride).get(video)  # read from disk
    said = Session(model).push_embeddings(features.frames(), features.embeddings)
    pairs = list(predict(open_video(video, stride=stride), model, batch=2))
    assert [f.pts for f in features.frames()] == [frame.pts for frame, _ in pairs]
    assert [f.time for f in features.frames()] == [frame.time for frame, _ in pairs]
    assert [f.duration for f in features.frames()] == [frame.duration for frame, _ in pairs]
    assert [p.dt for p in said] == [p.dt for _, p in pairs]
    np.testing.assert_allclose(scores(said), scores([p for _, p in pairs]), atol=1e-5, rtol=1e-5)


def test_embeddings_equal_the_backbones_bit_for_bit(model, cache, make_video):
    """Embeddings equal those of the backbone for the same frames in batches of the same size, bit for bit."""
    video = make_video()
    kept = EmbeddingStore(model.backbone, folder=cache, batch=8).get(video)
    with open_video(video) as reader:
        images = [frame.pixels for frame in reader]
    expected = torch.cat([model.embed(images[i : i + 8]) for i in range(0, 20, 8)])
    assert torch.equal(kept.embeddings, expected)


def test_times_count_from_the_files_beginning(store, make_video):
    """Times start at 0 if the file's clock does not, and the frames keep the file's clock."""
    video = make_video("late.mkv", pts=[25600 + i * 512 for i in range(5)])
    features = store.get(video)
    np.testing.assert_allclose(features.times, [0, 0.04, 0.08, 0.12, 0.16], atol=1e-9)
    assert features.times.dtype == np.float64
    assert features.begin == 2 and features.frames()[0].time == 2.0
    assert replace(features, begin=Fraction(1)).times[0] == 1.0


def test_a_head_can_be_trained_on_them(store, make_video):
    """Gradients flow through computations on new and on cached embeddings."""
    video = make_video()
    for features in (store.get(video), store.get(video)):
        layer = torch.nn.Linear(store.backbone.dim, 1)
        layer(features.embeddings).sum().backward()
        torch.testing.assert_close(layer.weight.grad[0], features.embeddings.sum(0))


def test_a_video_is_embedded_once(store, make_video, monkeypatch):
    """The second time, also under another name, embeddings come from disk and nothing is decoded."""
    video = make_video()
    first = store.get(video)
    monkeypatch.setattr(reading, "open_video", None)
    same(store.get(video), first)
    same(EmbeddingStore(store.backbone, folder=store.folder).get(video), first)
    twin = video.with_name("twin.mp4")
    twin.write_bytes(video.read_bytes())
    same(store.get(twin), first)
    assert store.has(twin) and len(files(store.folder)) == 1


def test_an_entry_says_where_it_comes_from(store, make_video):
    """An entry names its video without folders, the backbone, the view, the version and the number of frames."""
    store.get(make_video(), "mirror")
    _, told = read_tensors(files(store.folder)[0])
    wanted = {"source": "clip.mp4", "view": "mirror", "frames": "20", "backbone": "mobilenet_v3_small", "stride": "1"}
    assert wanted.items() <= told.items()
    assert {"content", "weights", "nodes", "preprocessing", "liquidvision"} <= told.keys()


def test_another_anything_is_another_entry(model, cache, make_video):
    """Other content, weights, nodes, preprocessing, precision, frames or views have other entries."""
    video = make_video()
    backbone = model.backbone
    store = EmbeddingStore(backbone, folder=cache)
    store.get(video)
    assert store.has(video)
    weights = copy.deepcopy(backbone)
    next(weights.extractor.parameters()).data[0] += 1e-6
    preprocessing, nodes = copy.deepcopy(backbone), copy.deepcopy(backbone)
    preprocessing.preprocessing = Preprocessing(size=(64, 64), shorter=70)
    nodes.nodes = {"features.3": 2, "features.1": 2}
    half = copy.deepcopy(backbone).place("cpu", half=True)
    others = [EmbeddingStore(other, folder=cache) for other in (weights, preprocessing, nodes, half)]
    others += [EmbeddingStore(backbone, folder=cache, stride=2), EmbeddingStore(backbone, folder=cache, max_frames=5)]
    assert not any(other.has(video) for other in others)
    assert not store.has(video, "mirror")
    assert EmbeddingStore(backbone, folder=cache, batch=3).has(video)
    assert len(others[-1].get(video).pts) == 5 and len(others[-2].get(video).pts) == 10


def test_entries_of_earlier_versions_stay_valid(model, cache, make_video):
    """The key of a float32 entry is a hash of the metadata that it had before precision was part of it."""
    video = make_video()
    store = EmbeddingStore(model.backbone, folder=cache)
    store.get(video)
    names = ("format", "version", "backbone", "nodes", "weights", "preprocessing", "device", "stride", "max_frames")
    assert tuple(store.identity) == names
    identity = {**store.identity, "content": store.hash_content(video), "view": "plain"}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    assert files(cache) == [cache / key[:2] / f"{key}.safetensors"]


def test_bfloat16_and_float32_are_different_entries(model, cache, make_video):
    """A backbone in bfloat16 neither finds nor replaces the entries of the same backbone in float32."""
    video, exact = make_video(), model.backbone
    half = copy.deepcopy(exact).place("cpu", half=True)
    first = EmbeddingStore(exact, folder=cache).get(video)
    rounded = EmbeddingStore(half, folder=cache).get(video)
    assert len(files(cache)) == 2 and not torch.equal(first.embeddings, rounded.embeddings)
    assert torch.equal(EmbeddingStore(exact, folder=cache).get(video).embeddings, first.embeddings)


def test_changed_content_is_seen_even_under_the_old_size_and_time(store, make_video):
    """A file overwritten in place, with the same size and modification time, is embedded again."""
    video = make_video()
    old, stat = store.get(video), video.stat()
    content = make_video("other.mp4", pts=range(0, 20 * 500, 500)).read_bytes()
    video.write_bytes(content[: stat.st_size].ljust(stat.st_size, b"\0"))
    os.utime(video, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert video.stat().st_size == stat.st_size and video.stat().st_mtime_ns == stat.st_mtime_ns
    assert not store.has(video)
    assert not torch.equal(store.get(video).pts, old.pts)


def test_a_stale_entry_is_refused_and_made_again(store, make_video):
    """An entry in the place of another is not used, but made again."""
    first, second = make_video("a.mp4"), make_video("b.mp4", pts=range(0, 7 * 512, 512))
    a = store.get(first)
    (place_a,) = files(store.folder)
    b = store.get(second)
    (place_b,) = set(files(store.folder)) - {place_a}
    place_a.write_bytes(place_b.read_bytes())
    assert not store.has(first) and store.has(second)
    same(store.get(first), a)
    assert store.has(first)
    same(store.get(second), b)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_an_entry_cut_short_is_made_again(store, make_video, keep):
    """A truncated entry is not used, but made again."""
    video = make_video()
    whole = store.get(video)
    (place,) = files(store.folder)
    place.write_bytes(place.read_bytes()[:keep])
    assert not store.has(video)
    same(store.get(video), whole)
    assert store.has(video)


@pytest.mark.parametrize(
    "damage",
    [
        {"frames": "many"},
        {"frames": "19"},
        {"time_base": "1/0"},
        {"begin": ""},
        {"version": "1"},
        {"format": "other"},
        {"pts": torch.arange(19)},
        {"durations": torch.zeros(20, 2, dtype=torch.int64)},
        {"embeddings": torch.zeros(20, 3)},
        {"embeddings": torch.zeros(20, 88, dtype=torch.float16)},
        {"pts": torch.arange(20).float()},
    ],
)
def test_an_entry_that_contradicts_itself_is_made_again(store, make_video, damage):
    """An entry with wrong shapes, types or metadata is not used, but made again."""
    video = make_video()
    whole = store.get(video)
    (place,) = files(store.folder)
    tensors, told = read_tensors(place)
    for name, value in damage.items():
        (told if isinstance(value, str) else tensors)[name] = value
    write_tensors(place, tensors, told)
    assert not store.has(video)
    same(store.get(video), whole)


def test_all_views_come_from_one_decoding(store, make_video, monkeypatch):
    """A video is opened once for all its views, and each view is the same as alone."""
    video, opened = make_video(), []
    monkeypatch.setattr(reading, "open_video", lambda path, **more: opened.append(path) or open_video(path, **more))
    views = ("plain", "mirror", "noise:0.1", "dark:0.2")
    seen: list[tuple[str, bool]] = []
    assert not store.fill([video], views, on_video=lambda path, view, new: seen.append((view, new)))
    assert opened == [video] and seen == [(view, True) for view in views]
    together = {view: store.get(video, view).embeddings for view in views}
    for number, view in enumerate(views):
        alone = EmbeddingStore(store.backbone, folder=store.folder.with_name(f"alone{number}")).get(video, view)
        torch.testing.assert_close(together[view], alone.embeddings, rtol=1e-4, atol=1e-5)
    assert (together["plain"] - together["mirror"]).abs().max() > 1e-3


def test_views_are_embedded_where_the_network_lies(store, make_video, monkeypatch):
    """The views of a picture are moved to the network's device, wherever they were made."""
    seen: set[str] = set()
    backbone = store.embedder.backbone = copy.deepcopy(store.backbone).to("meta")

    def forward(pixels: torch.Tensor) -> torch.Tensor:
        seen.add(pixels.device.type)
        return torch.zeros(len(pixels), backbone.dim)

    monkeypatch.setattr(backbone, "forward", forward)
    store.fill([make_video()], ("plain", "mirror"))
    assert seen == {"meta"}


def test_fill_continues_where_it_stopped(store, make_video):
    """Only missing entries are embedded, with a call per picture; existing ones are reported as such."""
    a, b = make_video("a.mp4"), make_video("b.mp4", pts=range(0, 7 * 512, 512))
    store.get(a)
    frames: list[int] = []
    done: list[tuple[str, str, bool]] = []
    failed = store.fill(
        [a, b, a],
        ["plain", "mirror"],
        on_frame=lambda: frames.append(1),
        on_video=lambda path, view, new: done.append((path.name, view, new)),
    )
    assert failed == {} and len(frames) == 20 + 2 * 7
    assert done == [
        ("a.mp4", "plain", False),
        ("a.mp4", "mirror", True),
        ("b.mp4", "plain", True),
        ("b.mp4", "mirror", True),
    ]


def test_unreadable_videos_are_collected(store, make_video, tmp_path):
    """Missing, foreign and empty files and folders are returned with errors; every other video is embedded."""
    good, last = make_video("good.mp4"), make_video("last.mp4", pts=range(0, 7 * 512, 512))
    text, empty = tmp_path / "text.mp4", tmp_path / "empty.mp4"
    text.write_text("no video")
    empty.write_bytes(b"")
    bad = [text, tmp_path / "none.mp4", empty, tmp_path]
    failed = store.fill([bad[0], good, *bad[1:], last])
    assert list(failed) == bad
    for path, error in failed.items():
        assert isinstance(error, SourceError) and path.name in str(error) and "\n" not in str(error)
    assert store.has(good) and store.has(last) and not any(store.has(path) for path in bad)
    with pytest.raises(SourceError, match=r"none\.mp4"):
        store.get(bad[1])


def test_a_video_that_breaks_off_is_not_kept(store, make_video, monkeypatch):
    """An error in the middle names the video, and leaves no entry."""

    def broken(reader):
        yield from list(iterate(reader))[:9]
        raise SourceError("reading broke off: no reason")

    video = make_video()
    kind = type(open_video(video))
    iterate = kind.__iter__
    monkeypatch.setattr(kind, "__iter__", broken)
    with pytest.raises(SourceError, match=r"clip\.mp4: reading broke off"):
        store.get(video)
    assert not files(store.folder)


def test_a_video_that_changes_while_it_is_read_is_not_kept(store, make_video):
    """Frames of a file that is still being written are not cached."""
    video = make_video()

    def grow():
        with video.open("ab") as file:
            file.write(b"more")

    with pytest.raises(SourceError, match=r"clip\.mp4 changed while it was read"):
        store.get(video, on_frame=grow)
    assert not files(store.folder)


def test_a_full_disk_is_an_error_and_leaves_nothing(store, make_video, monkeypatch):
    """On a full disk the error names the folder and the remedy, and no incomplete file stays."""
    write = Path.write_bytes

    def full(path, content):
        write(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    video = make_video()
    monkeypatch.setattr(Path, "write_bytes", full)
    for run in (store.get, lambda path: store.fill([path])):
        with pytest.raises(SinkError, match=r"cannot keep embeddings in .*cache: No space left.*--cache") as caught:
            run(video)
        assert "\n" not in str(caught.value)
    assert not files(store.folder)


def test_an_interruption_leaves_nothing_half_written(store, make_video, monkeypatch):
    """Ctrl-C while embedding or writing leaves no incomplete file; finished entries stay."""
    a, b = make_video("a.mp4"), make_video("b.mp4", pts=range(0, 7 * 512, 512))
    store.get(a)
    kept = files(store.folder)

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.fill([a, b], on_frame=interrupt)
    assert files(store.folder) == kept
    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.fill([a, b])
    assert files(store.folder) == kept


def test_an_impossible_folder_is_refused_at_once(model, tmp_path):
    """A cache folder below a file is refused in one line, before anything is read."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match=r"cannot make the cache folder .*file/cache: Not a directory") as caught:
        EmbeddingStore(model.backbone, folder=tmp_path / "file" / "cache")
    assert "\n" not in str(caught.value)


def test_invalid_arguments_are_refused(model, store, make_video, monkeypatch):
    """Numbers below 1 and unknown views are refused before a video is opened."""
    for name in ("stride", "max_frames", "batch"):
        with pytest.raises(UsageError, match=f"{name} is 0"):
            EmbeddingStore(model.backbone, folder=store.folder, **{name: 0})
    video = make_video()
    monkeypatch.setattr(reading, "open_video", None)
    with pytest.raises(UsageError, match="sepia"):
        store.get(video, "sepia")
    with pytest.raises(UsageError, match="sepia"):
        store.fill([video], ["plain", "sepia"])


def test_the_default_folder(monkeypatch, tmp_path):
    """LIQUIDVISION_CACHE names the folder; without it, it is in the user's cache folder."""
    monkeypatch.setenv("LIQUIDVISION_CACHE", str(tmp_path / "mine"))
    assert default_cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("LIQUIDVISION_CACHE")
    assert default_cache_folder().parts[-2:] == ("liquidvision", "features")


def test_processes_share_a_folder(model_folder, cache, make_video):
    """Two processes that embed the same videos at once both succeed, and leave one complete entry per video."""
    videos = [make_video(f"{i}.mp4", pts=range(0, (9 + i) * 512, 512)) for i in range(4)]
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "import torch; torch.set_num_threads(1)\n"
        "from liquidvision import Model\n"
        "from liquidvision.data.embeddings import EmbeddingStore\n"
        "store = EmbeddingStore(Model.from_pretrained(sys.argv[1], device='cpu').backbone, folder=Path(sys.argv[2]))\n"
        "print(flush=True); sys.stdin.readline()\n"  # both begin at once
        "assert not store.fill([Path(name) for name in sys.argv[3:]])\n"
    )
    command = [sys.executable, "-c", program, str(model_folder), str(cache), *map(str, videos)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    runs = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for run in runs:
        run.stdout.readline()
    for run in runs:
        _, errors = run.communicate("\n")
        assert (run.returncode, errors) == (0, "")
    kept = files(cache)
    assert len(kept) == 4 and {path.suffix for path in kept} == {".safetensors"}
    backbone: Backbone = Model.from_pretrained(model_folder, device="cpu").backbone
    shared, own = (EmbeddingStore(backbone, folder=folder) for folder in (cache, cache.with_name("own")))
    for video in videos:
        assert shared.has(video)
        theirs, mine = shared.get(video), own.get(video)
        # In batches of another size sums may be taken in another order.
        torch.testing.assert_close(theirs.embeddings, mine.embeddings, rtol=1e-4, atol=1e-5)
        assert torch.equal(theirs.pts, mine.pts)
