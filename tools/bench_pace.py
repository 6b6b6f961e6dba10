"""Times `infer` on the bundled sample beside the clip's own length, and each part of the way there.

python tools/bench_pace.py [--rounds 5] [--model actions]

Medians of rounds that take turns, so that a busy machine slows all of them alike; with torch alone, and with OpenVINO
where it is installed.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from liquidvision import Model, Session, infer, open_video
from liquidvision.runtime import installed

SAMPLE = Path(__file__).parents[1] / "samples" / "actions.mp4"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="actions")
    options = parser.parse_args()
    devices = ["cpu", *(["openvino"] if installed() else [])]
    models = {device: Model.from_pretrained(options.model, device=device) for device in devices}
    plain = models["cpu"]
    with open_video(SAMPLE) as video:
        frames = list(video)
    embeddings = plain.embed([frame.image for frame in frames])
    seconds: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "out.mp4"
            parts: dict[str, Callable[[], object]] = {
                "decode": lambda: [None for _ in open_video(SAMPLE)],
                "head, 8 at a time": lambda: in_chunks(Session(plain), frames, embeddings, 8),
                "head, one at a time": lambda: in_chunks(Session(plain), frames, embeddings, 1),
            }
            for device, model in models.items():
                parts |= {
                    f"backbone, batch 8, {device}": lambda model=model: [
                        model.embed([f.image for f in frames[i : i + 8]]) for i in range(0, len(frames), 8)
                    ],
                    f"infer, no video, {device}": lambda model=model: infer(SAMPLE, model),
                    f"infer, video with sound, {device}": lambda model=model, to=target: infer(SAMPLE, model, video=to),
                }
            for name, run in parts.items():
                started = time.perf_counter()
                run()
                seconds.setdefault(name, []).append(time.perf_counter() - started)
    print("| part | ms a frame | times the clip's own speed |\n|---|---|---|")
    for name, taken in seconds.items():
        middle = median(taken)
        print(f"| {name} | {1000 * middle / len(frames):.2f} | {frames[-1].time / middle:.1f} |")


def in_chunks(session: Session, frames: list, embeddings, size: int) -> None:
    for start in range(0, len(frames), size):
        session.push_embeddings(frames[start : start + size], embeddings[start : start + size])


if __name__ == "__main__":
    main()
