"""Time the page: from a picture's capture to its label, and from the last example to a new head.

    python tools/bench_web.py [--model NAME] [--seconds 20] [--save-json PATH]

Headless Chromium shows the page on this machine and uses its cores too; its camera shows the bundled sample. The page
measures the delay. Without --model: mobilenet_v3_small at 224 pixels with random weights, which take as long as trained
ones. Teaching is five classes of ten examples of 1.5 s at 20 frames a second, from the end of the last example to the
message that the new head answers.
"""

import argparse
import asyncio
import os
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path

import aiohttp
import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from liquidvision import Backbone, LiquidHead, LiquidHeadConfig, Model, open_video
from liquidvision.models.runtime.openvino import OpenVINO
from liquidvision.web.server import Server
from tools.benchmark_results import add_save_option, make_result, save_result
from tools.browser import chromium, missing, y4m

SAMPLE = Path(__file__).parents[1] / "samples" / "actions.mp4"
CLASSES, EXAMPLES, FRAMES, STEP = 5, 10, 30, 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seconds", type=float, default=20.0)
    add_save_option(parser)
    options = parser.parse_args()
    if gone := missing():
        parser.error(f"needs {gone}")
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    model = Model.from_pretrained(options.model, device=options.device) if options.model else small(options.device)
    with open_video(SAMPLE) as video:
        pictures = [cv2.resize(frame.image, (640, 480)) for frame in video]
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work):
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    async def start() -> tuple[Server, str]:
        server = Server(model)
        address = await server.start("127.0.0.1", 0)
        await server.wait_until_warm()
        return server, address

    server, address = run(start())
    how = "openvino" if isinstance(model.backbone.runtime, OpenVINO) else model.device.type
    print(f"{model.name}, {model.backbone.name}, {model.backbone.preprocessing.size[0]} pixels, {how}")
    with tempfile.TemporaryDirectory() as place:
        clip = y4m(pictures, Path(place) / "clip.y4m", 30)
        with chromium(clip, Path(place) / "profile") as page:
            page.get(address)
            while not page.execute_script("return window.liquidvision?.delays.length > 30"):
                time.sleep(0.2)
            page.execute_script("liquidvision.delays.length = 0")
            began = time.perf_counter()
            time.sleep(options.seconds)
            delays = page.execute_script("return liquidvision.delays")
            rate = len(delays) / (time.perf_counter() - began)
    p50, p95 = np.percentile(delays, [50, 95])
    print(f"capture to label: p50 {p50:.0f} ms, p95 {p95:.0f} ms, {rate:.1f} frames a second, of {len(delays)} frames")
    seconds, told = run(teach(address, pictures))
    known = f"{told['right']} of {told['examples']} examples known"
    print(f"last example to new head: {seconds:.1f} s ({told['epochs']} epochs, {known})")
    name = f"{model.backbone.name}, {model.backbone.preprocessing.size[0]} pixels, {how}"
    row = {"name": name, "p50_ms": float(p50), "p95_ms": float(p95), "rate": rate, "new_head_s": seconds}
    columns = [
        {"key": "p50_ms", "title": "p50", "digits": 0, "suffix": " ms"},
        {"key": "p95_ms", "title": "p95", "digits": 0, "suffix": " ms"},
        {"key": "rate", "title": "frames/s", "digits": 0},
        {"key": "new_head_s", "title": "new head", "digits": 1, "suffix": " s"},
    ]
    title = "From a picture's capture in the browser to its label, headless Chromium beside the server"
    save_result(options.save_json, make_result(title, columns, [row]))
    run(server.stop())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def small(device: str) -> Model:
    torch.manual_seed(0)
    backbone = Backbone("mobilenet_v3_small", weights=None).place(device)
    return Model(
        backbone, LiquidHead(LiquidHeadConfig(backbone.layouts, 10)), [str(i) for i in range(10)], name="random"
    ).to(device)


async def teach(address: str, pictures: list[np.ndarray]) -> tuple[float, dict]:
    """Return the seconds from the end of the last example until the new head answers, and the server's message."""
    jpegs = [cv2.imencode(".jpg", cv2.resize(image, (320, 240)))[1].tobytes() for image in pictures]
    async with aiohttp.ClientSession() as http, http.ws_connect(address + "ws") as socket:

        async def until(kind: str) -> dict:
            while (message := await socket.receive_json())["type"] != kind:
                pass
            return message

        await until("teaching")
        now, part = 0, len(jpegs) // CLASSES  # each class is a part of the sample, its examples begin anywhere in it
        for i in range(CLASSES):
            await socket.send_json({"type": "add", "label": str(i)})
            await until("teaching")
            for k in range(EXAMPLES):
                await socket.send_json({"type": "record", "label": str(i)})
                await until("teaching")
                for j in range(FRAMES):
                    jpeg = jpegs[i * part + (k * part // EXAMPLES + j) % part]
                    await socket.send_bytes(struct.pack("<d", now * STEP) + jpeg)
                    await until("prediction")
                    now += 1
                await socket.send_json({"type": "stop"})
                await until("teaching")
        began = time.perf_counter()
        await socket.send_json({"type": "train"})
        told = await until("trained")
        return time.perf_counter() - began, told


if __name__ == "__main__":
    main()
