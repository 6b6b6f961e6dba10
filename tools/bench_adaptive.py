"""Measure how many frames `--adaptive` embeds, and how often the label stays the same.

python tools/bench_adaptive.py CLIP... [--model objects] [--save-json PATH]
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from liquidvision import Model, predict
from liquidvision.prediction import Prediction
from tools.benchmark_results import add_save_option, make_result, save_result

COLUMNS = [
    {"key": "model", "title": "model"},
    {"key": "frames", "title": "frames"},
    {"key": "embedded", "title": "embedded", "digits": 0, "suffix": " %"},
    {"key": "same", "title": "same label", "digits": 1, "suffix": " %"},
    {"key": "near", "title": "same within 5 frames", "digits": 1, "suffix": " %"},
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--model", default="objects")
    add_save_option(parser)
    options = parser.parse_args()
    rows = []
    model = Model.from_pretrained(options.model, device="auto")
    print("| clip | frames | embedded | same label | same within 5 frames |\n|---|---|---|---|---|")
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
        shares = {"embedded": 100 * sum(calls) / len(plain), "same": 100 * same, "near": 100 * near}
        rows.append({"name": clip.name, "model": options.model, "frames": len(plain), **shares})
        print(f"| {clip.name} | {len(plain)} | {sum(calls) / len(plain):.0%} | {same:.1%} | {near:.1%} |", flush=True)
    title = "Share of frames that --adaptive embeds, and of frames that keep their label"
    save_result(options.save_json, make_result(title, COLUMNS, rows))


def predicted(clip: Path, model: Model, *, adaptive: bool) -> list[Prediction]:
    return [prediction for _, prediction in predict(clip, model, adaptive=adaptive)]


if __name__ == "__main__":
    main()
