"""How much of the backbone's work `--adaptive` spares on clips, and how often the label stays the same.

python tools/bench_adaptive.py CLIP... [--model objects]
"""

import argparse
from pathlib import Path

from liquidvision import Model, predict
from liquidvision.prediction import Prediction


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--model", default="objects")
    options = parser.parse_args()
    model = Model.from_pretrained(options.model, device="auto")
    print("| clip | frames | embedded | the same label | the same within 5 frames |\n|---|---|---|---|---|")
    for clip in options.clips:
        plain = list(predicted(clip, model, adaptive=False))
        calls: list[int] = []
        forward = type(model.backbone).forward

        def counted(self, pixels, forward=forward, calls=calls):  # type: ignore[no-untyped-def]
            calls.append(len(pixels))
            return forward(self, pixels)

        type(model.backbone).forward = counted  # type: ignore[method-assign]
        try:
            spared = list(predicted(clip, model, adaptive=True))
        finally:
            type(model.backbone).forward = forward  # type: ignore[method-assign]
        same = sum(a.label == b.label for a, b in zip(plain, spared, strict=True)) / len(plain)
        near = sum(b.label in {a.label for a in plain[max(0, i - 5) : i + 6]} for i, b in enumerate(spared)) / len(
            plain
        )
        print(f"| {clip.name} | {len(plain)} | {sum(calls) / len(plain):.0%} | {same:.1%} | {near:.1%} |", flush=True)


def predicted(clip: Path, model: Model, *, adaptive: bool) -> list[Prediction]:
    return [prediction for _, prediction in predict(clip, model, adaptive=adaptive)]


if __name__ == "__main__":
    main()
