"""The loop that a user writes by hand, to compare `infer` with in `bench_infer.py`: OpenCV, torchvision and ncps.

    python tools/naive_loop.py INPUT OUTPUT [BACKBONE]

Prints the frames per second of the second of two passes. Random weights, since speed does not depend on them; no sound
and no frame times, as such loops have none.
"""

import sys
import time

import cv2
import torch
from ncps.torch import LTC
from torchvision.models import get_model


def main(source: str, target: str, name: str = "mobilenet_v3_small") -> None:
    torch.set_grad_enabled(False)
    net = get_model(name, weights=None).eval()
    for last in ("classifier", "fc", "heads"):
        if hasattr(net, last):
            setattr(net, last, torch.nn.Identity())
            break
    head = LTC(net(torch.zeros(1, 3, 224, 224)).shape[-1], 64, batch_first=True).eval()
    readout = torch.nn.Linear(64, 10).eval()
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

    def run() -> float:
        video = cv2.VideoCapture(source)
        size = int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT))
        writer = cv2.VideoWriter(target, cv2.VideoWriter_fourcc(*"mp4v"), video.get(cv2.CAP_PROP_FPS), size)
        state, frames, started = None, 0, time.perf_counter()
        while True:
            ok, frame = video.read()
            if not ok:
                break
            image = cv2.cvtColor(cv2.resize(frame, (224, 224)), cv2.COLOR_BGR2RGB)
            pixels = (torch.from_numpy(image).permute(2, 0, 1).float() / 255 - mean) / std
            out, state = head(net(pixels[None])[:, None], state)
            scores = readout(out[:, -1]).softmax(-1)
            best = int(scores.argmax())
            text = f"{best} {float(scores[0, best]):.2f}"
            cv2.putText(frame, text, (20, 50), cv2.FONT_HERSHEY_SIMPLEX, 1, (0, 255, 0), 2)
            writer.write(frame)
            frames += 1
        writer.release()
        return frames / (time.perf_counter() - started)

    run()
    print(f"{run():.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
