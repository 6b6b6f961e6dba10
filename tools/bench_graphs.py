"""Time a backbone on a CUDA GPU, kernel by kernel and with recorded graphs: milliseconds per batch.

    python tools/bench_graphs.py [-m objects] [--rounds 50] [--save-json PATH]

Batches are on the GPU already and run one after the other, after five that are not counted.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from liquidvision import Model
from tools.benchmark_results import add_save_option, make_result, save_result

BATCHES = (1, 8, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="objects")
    parser.add_argument("--rounds", type=int, default=50)
    add_save_option(parser)
    options = parser.parse_args()
    rows = []
    if not torch.cuda.is_available():
        parser.exit(2, "bench_graphs.py needs a CUDA GPU\n")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {options.model}")
    print("| numbers | pictures | kernel by kernel, ms | recorded, ms |\n|---|---|---|---|")
    for half in (False, True):
        backbone = Model.from_pretrained(options.model, device="cuda", half=half).backbone
        for count in BATCHES:
            pixels = torch.randn(count, 3, *backbone.preprocessing.size, device="cuda")
            plain, recorded = (milliseconds(each, pixels, options.rounds) for each in (backbone.plain, backbone))
            numbers = "bfloat16" if half else "float32"
            rows.append({"name": f"{numbers}, {count}", "plain_ms": plain, "recorded_ms": recorded})
            print(f"| {numbers} | {count} | {plain:.2f} | {recorded:.2f} |", flush=True)
    columns = [
        {"key": "plain_ms", "title": "kernel by kernel, ms", "digits": 2},
        {"key": "recorded_ms", "title": "recorded, ms", "digits": 2},
    ]
    title = f"The network of {options.model}, milliseconds per batch"
    save_result(options.save_json, make_result(title, columns, rows, row_title="numbers, pictures"))


@torch.inference_mode()
def milliseconds(network: Callable[[torch.Tensor], torch.Tensor], pixels: torch.Tensor, rounds: int) -> float:
    """Return the mean milliseconds of one batch."""
    for _ in range(5):
        network(pixels)
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(rounds):
        network(pixels)
    torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - started) / rounds


if __name__ == "__main__":
    main()
