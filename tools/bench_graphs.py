"""A backbone on a CUDA GPU, kernel by kernel and by recorded graphs: milliseconds a batch.

    python tools/bench_graphs.py [-m objects] [--rounds 50]

Times are those of batches that lie on the GPU already, one after the other, after five that are not counted.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from liquidvision import Model

BATCHES = (1, 8, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="objects")
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(2, "bench_graphs.py needs a CUDA GPU\n")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {options.model}")
    print("| numbers | pictures | kernel by kernel, ms | recorded, ms |\n|---|---|---|---|")
    for half in (False, True):
        backbone = Model.from_pretrained(options.model, device="cuda", half=half).backbone
        for count in BATCHES:
            pixels = torch.randn(count, 3, *backbone.preprocessing.size, device="cuda")
            plain, recorded = (milliseconds(each, pixels, options.rounds) for each in (backbone.plain, backbone))
            print(f"| {'bfloat16' if half else 'float32'} | {count} | {plain:.2f} | {recorded:.2f} |", flush=True)


@torch.inference_mode()
def milliseconds(network: Callable[[torch.Tensor], torch.Tensor], pixels: torch.Tensor, rounds: int) -> float:
    """Milliseconds of one batch, on average."""
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
