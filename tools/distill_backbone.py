"""Distils the small bundled backbone from a larger ImageNet teacher: python tools/distill_backbone.py --help."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.distill.pictures import sources, stored
from tools.distill.targets import Pool, Teacher, with_targets
from tools.distill.training import EXPORT, Settings, distil


def parse_sizes(text: str) -> tuple[tuple[int, float], ...]:
    """Sizes and the part of the run each is used for: "96:0.5,160:0.5"."""
    sizes = tuple((int(size), float(part)) for size, part in (one.split(":") for one in text.split(",")))
    if abs(sum(part for _, part in sizes) - 1) > 1e-6:
        raise argparse.ArgumentTypeError("the parts must add up to 1")
    return sizes


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    options.add_argument("--data", type=Path, required=True, help="folder with images/ and video/")
    options.add_argument("--teacher", type=Path, required=True, help="state dict of torchvision's mobilenet_v2")
    options.add_argument("--work", type=Path, required=True, help="folder for decoded pictures, targets, checkpoints")
    options.add_argument("--images", type=int, default=130_000, help="how many images the student sees in all")
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--sizes", type=parse_sizes, default="128:0.5,160:0.5", help="size:part,...")
    options.add_argument("--rate", type=float, default=1e-4, help="peak learning rate")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--save-every", type=float, default=240, help="seconds between checkpoints")
    options.add_argument("--log-every", type=float, default=20, help="seconds between lines of progress")
    options.add_argument("--prepare-only", action="store_true", help="stop once pictures and targets are on disk")
    return options


def prepare(data: Path, teacher_weights: Path, work: Path, seed: int) -> list[Pool]:
    """Every source's pictures with the teacher's targets, from the work folder where an earlier run left them."""
    teacher = Teacher(teacher_weights)
    pools = []
    for source in sources(data):
        pixels, joints, labels = stored(source, work / "pictures")
        pool = with_targets(
            source.name,
            pixels,
            joints,
            labels,
            teacher,
            work / "targets",
            views=source.views,
            teacher_size=source.teacher_size,
            weight=source.weight,
            seed=seed,
        )
        print(f"{source.name}: {len(pixels)} pictures, {source.views} views of each", flush=True)
        pools.append(pool)
    return pools


def main() -> None:
    """Run the program; started again with the same work folder it goes on where it was."""
    options = parser().parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    pools = prepare(options.data, options.teacher, options.work, options.seed)
    if options.prepare_only:
        return
    settings = Settings(
        images=options.images,
        batch=options.batch,
        sizes=options.sizes,
        rate=options.rate,
        seed=options.seed,
        save_every=options.save_every,
        log_every=options.log_every,
    )
    distil(pools, options.work, settings, teacher=options.teacher)
    print(f"done: {options.work / EXPORT}")


if __name__ == "__main__":
    main()
