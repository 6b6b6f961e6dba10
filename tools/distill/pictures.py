"""Pictures for distillation: reads each source once and stores it as square uint8 arrays on disk."""

from __future__ import annotations

import io
import json
import os
import random
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

# Caltech-101 pictures numbered above this within their class are kept out of training, for the linear probe's test.
CALTECH_LAST_TRAINING_NUMBER = 20
FRAMES_PER_CLIP = 4
RENDERED_SEEDS = 3000
RENDERED_FRAMES_PER_SEED = 3
RENDERED_SECONDS = 12.0

UNKNOWN = -1  # the class of a picture that has no label here


@dataclass(frozen=True)
class Item:
    """A picture, the joints of the figure on it, and its ImageNet class, where these are known."""

    image: Image.Image
    joints: np.ndarray | None = None
    label: int = UNKNOWN


@dataclass(frozen=True)
class Source:
    """One set of pictures: where it comes from, how it is stored, and how much of each batch it fills."""

    name: str
    read: Callable[[], Iterator[Item]]
    side: int  # pictures are stored as side x side
    teacher_size: int  # the teacher sees them at this size
    views: int  # the whole picture, and views - 1 random crops
    weight: float  # relative part of each batch


def caltech_number(path: str) -> int:
    """The number of a picture within its Caltech-101 class (CLASS/image_0012.webp is 12)."""
    return int(Path(path).stem.removeprefix("image_"))


def zipped_named(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, Image.Image]]:
    """Names and pictures of a zip file whose names are wanted, in the order of their names."""
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".webp") and wanted(name):
                yield name, Image.open(io.BytesIO(archive.read(name))).convert("RGB")


def zipped(
    path: Path, wanted: Callable[[str], bool], label: Callable[[str], int] = lambda _: UNKNOWN
) -> Iterator[Item]:
    """Pictures of a zip file whose names are wanted, without joints; `label` returns the class for a name."""
    for name, image in zipped_named(path, wanted):
        yield Item(image, label=label(name))


def imagenet_classes(images: Path) -> dict[str, int]:
    """The number of each ImageNet class by its WordNet id: torchvision's classes are in the order of these."""
    with zipfile.ZipFile(images / "imagenet_one_per_class.zip") as archive:
        ids = sorted(Path(name).stem.split("_")[0] for name in archive.namelist() if name.endswith(".webp"))
    return {wnid: number for number, wnid in enumerate(ids)}


def video_frames(folder: Path) -> Iterator[Item]:
    """A few evenly spaced frames of every clip listed in a folder's index.csv."""
    import av

    lines = (folder / "index.csv").read_text(encoding="utf-8").splitlines()[1:]
    for line in lines:
        with av.open(str(folder / line.split(",")[0])) as container:
            frames = list(container.decode(video=0))
        for part in range(FRAMES_PER_CLIP):
            yield Item(frames[len(frames) * (2 * part + 1) // (2 * FRAMES_PER_CLIP)].to_image())


def rendered_frames(side: int) -> Iterator[Item]:
    """Frames of the project's own renderer at scattered times, each with its figure's joints."""
    from tools.figures import render_clip

    for seed in range(RENDERED_SEEDS):
        chance = random.Random(seed)
        times = sorted(chance.uniform(0.0, RENDERED_SECONDS) for _ in range(RENDERED_FRAMES_PER_SEED))
        for frame in render_clip(seed, split="train", times=times, size=(side, side)):
            yield Item(Image.fromarray(np.ascontiguousarray(frame.image)), np.asarray(frame.joints, np.float32))


def renderer_ready() -> bool:
    """Whether the project's renderer can be imported."""
    try:
        from tools.figures import render_clip  # noqa: F401
    except ImportError:
        return False
    return True


def sources(data: Path) -> list[Source]:
    """Every source of training pictures that is there; tiny ImageNet's val part is left out.

    Labels are read of tiny ImageNet alone, whose classes are those of `objects`.
    """
    images, video = data / "images", data / "video"
    classes = imagenet_classes(images)

    def caltech_training(name: str) -> bool:
        return caltech_number(name) <= CALTECH_LAST_TRAINING_NUMBER

    found = [
        Source("caltech", lambda: zipped(images / "caltech101.zip", caltech_training), 160, 160, 4, 0.13),
        Source("imagenet", lambda: zipped(images / "imagenet_one_per_class.zip", lambda _: True), 160, 160, 4, 0.10),
        Source("fights", lambda: video_frames(video / "fights"), 160, 160, 2, 0.04),
        Source("gestures", lambda: video_frames(video / "gestures"), 160, 160, 2, 0.03),
        Source(
            "tiny_imagenet",
            lambda: zipped(
                images / "tiny_imagenet_200.zip",
                lambda name: name.startswith("train/"),
                lambda name: classes[name.split("/")[1]],
            ),
            64, 128, 1, 0.53,
        ),
    ]  # fmt: skip
    if renderer_ready():
        found.append(Source("rendered", lambda: rendered_frames(160), 160, 128, 1, 0.36))
    return found


def stored(source: Source, folder: Path) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """The source's pictures (count, side, side, 3), joints and labels (count,), read once, then mapped from disk."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels_file, about_file = folder / f"{source.name}.u8", folder / f"{source.name}.json"
    joints_file, labels_file = folder / f"{source.name}.joints.npy", folder / f"{source.name}.labels.npy"
    if not about_file.exists():
        labels, joints = [], []
        with pixels_file.open("wb") as out:
            for item in source.read():
                image = item.image
                if image.size != (source.side, source.side):
                    image = image.resize((source.side, source.side), Image.Resampling.BILINEAR)
                out.write(np.asarray(image, np.uint8).tobytes())
                labels.append(item.label)
                if item.joints is not None:
                    joints.append(item.joints)
        np.save(labels_file, np.array(labels, np.int64))
        if joints:
            np.save(joints_file, np.stack(joints))
        # Written last: without it a killed run reads the source again.
        partial = about_file.with_suffix(".partial")
        partial.write_text(json.dumps({"count": len(labels), "side": source.side}), encoding="utf-8")
        os.replace(partial, about_file)
    about = json.loads(about_file.read_text(encoding="utf-8"))
    pixels = np.memmap(pixels_file, np.uint8, "r", shape=(about["count"], about["side"], about["side"], 3))
    return pixels, np.load(joints_file) if joints_file.exists() else None, np.load(labels_file)
