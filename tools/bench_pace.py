"""Times `infer` on the bundled sample beside the clip's own length, and each part of the way there.

python tools/bench_pace.py [--rounds 5]

Medians of rounds that take turns, so that a busy machine slows all of them alike.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

from liquidvision import Model, Session, infer, open_video

SAMPLE = Path(__file__).parents[1] / "samples" / "actions.mp4"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    model = Model.from_pretrained("actions", device="cpu")
    with open_video(SAMPLE) as video:
        frames = list(video)
    embeddings = model.embed([frame.image for frame in frames])
    seconds: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "out.mp4"
            parts = {
                "decode": lambda: [None for _ in open_video(SAMPLE)],
                "backbone, batch 8": lambda: [
                    model.embed([f.image for f in frames[i : i + 8]]) for i in range(0, len(frames), 8)
                ],
                "head, 8 at a time": lambda: in_chunks(Session(model), frames, embeddings, 8),
                "head, one at a time": lambda: in_chunks(Session(model), frames, embeddings, 1),
                "infer, no video": lambda: infer(SAMPLE, model),
                "infer, video with sound": lambda to=target: infer(SAMPLE, model, video=to),
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
