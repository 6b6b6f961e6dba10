"""Linear probe of a distilled backbone and its teacher on Caltech-101; prints one line of JSON.

python tools/probe_backbone.py --data DATA --backbone BACKBONE.safetensors [--teacher PATH] [--save-json PATH]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.benchmark_results import add_save_option, make_result, save_result
from tools.distill.pictures import CALTECH_LAST_TRAINING_NUMBER, caltech_number, zipped_named
from tools.distill.student import Student
from tools.distill.targets import Teacher

CHUNK = 32


def caltech(file: Path, side: int, test_per_class: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return pictures (count, side, side, 3), class numbers, and which are for training, by the distiller's rule."""
    pixels, classes, training = [], [], []
    tested: Counter[str] = Counter()
    for name, image in zipped_named(file, lambda _: True):
        kind, trains = name.split("/")[0], caltech_number(name) <= CALTECH_LAST_TRAINING_NUMBER
        if not trains and tested[kind] == test_per_class:
            continue
        tested[kind] += not trains
        pixels.append(np.asarray(image.resize((side, side), Image.Resampling.BILINEAR)))
        classes.append(kind)
        training.append(trains)
    _, numbers = np.unique(classes, return_inverse=True)
    return torch.from_numpy(np.stack(pixels)), torch.from_numpy(numbers), torch.tensor(training)


@torch.inference_mode()
def embed(network: nn.Module, pixels: Tensor) -> Tensor:
    """Return the network's pooled embeddings, the first of its outputs."""
    return torch.cat([network(part.permute(0, 3, 1, 2).float() / 255)[0] for part in pixels.split(CHUNK)]).clone()


def probe(features: Tensor, classes: Tensor, training: Tensor, decay: float = 1e-3) -> float:
    """Return the class-averaged test accuracy of a logistic regression on standardised features."""
    known = features[training]
    features = (features - known.mean(0)) / (known.std(0) + 1e-6)
    head = nn.Linear(features.shape[1], int(classes.max()) + 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimiser = torch.optim.LBFGS(head.parameters(), max_iter=150, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = functional.cross_entropy(head(features[training]), classes[training])
        loss = loss + decay * head.weight.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    with torch.inference_mode():
        right = head(features[~training]).argmax(1) == classes[~training]
    tested = classes[~training]
    return float(np.mean([right[tested == kind].float().mean().item() for kind in tested.unique()]))


def main() -> None:
    """Run the program."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True, help="folder with images/caltech101.zip")
    options.add_argument("--backbone", type=Path, required=True, help="the distilled backbone's safetensors")
    options.add_argument("--teacher", type=Path, help="state dict of torchvision's mobilenet_v2, for comparison")
    options.add_argument("--side", type=int, default=160)
    options.add_argument("--test-per-class", type=int, default=20)
    add_save_option(options)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    pixels, classes, training = caltech(chosen.data / "images" / "caltech101.zip", chosen.side, chosen.test_per_class)
    student = Student().eval()
    student.network.load_state_dict(load_file(chosen.backbone))
    result = {"side": chosen.side, "training": int(training.sum()), "test": int((~training).sum())}
    result["student"] = round(probe(embed(student, pixels), classes, training), 4)
    if chosen.teacher is not None:
        result["teacher"] = round(probe(embed(Teacher(chosen.teacher), pixels), classes, training), 4)
    print(json.dumps(result))
    names = {"student": str(chosen.backbone), "teacher": "MobileNetV2, the teacher"}
    rows = [{"name": name, "accuracy": 100 * result[key]} for key, name in names.items() if key in result]
    title = f"Linear probe on frozen embeddings, Caltech-101, {chosen.side} pixels, class-averaged accuracy"
    columns = [{"key": "accuracy", "title": "accuracy, %", "digits": 1}]
    notes = [f"{result['training']} training pictures, {result['test']} test pictures."]
    save_result(chosen.save_json, make_result(title, columns, rows, notes=notes))


if __name__ == "__main__":
    main()
