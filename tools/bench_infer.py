"""Time `infer` beside a loop written by hand and, where it is installed, ultralytics: the same clip, in turns.

    python tools/bench_infer.py CLIP [--times 5] [--rounds 3] [--backbone mobilenet_v3_small]
        [--save-json PATH]

The clip is laid end to end `--times` times by stream copy. In each round each contender runs in a process of its own
and is timed in its second pass, so that a busy machine slows all of them alike. Prints medians. Backbones have random
weights and see 224 pixels; the heads have 64 units and 10 classes. `infer` writes H.264 with the clip's sound and JSONL
records; the loop writes MPEG-4 without sound.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import av

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.benchmark_results import add_save_option, make_result, save_result

HERE = Path(__file__)
INFER = ("infer with video", "infer without video")
CONTENDERS = ("loop", *INFER, *(f"{name}, torch" for name in INFER))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backbone", default="mobilenet_v3_small")
    add_save_option(parser)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(f"{one(options.one, options.clip, options.backbone):.2f}")
        return
    contenders = [*CONTENDERS, *(["ultralytics"] if find_spec("ultralytics") else [])]
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    with tempfile.TemporaryDirectory() as folder:
        clip = lay_end_to_end(options.clip, Path(folder) / f"clip{options.clip.suffix}", options.times)
        for _ in range(options.rounds):
            for name in contenders:
                command = [sys.executable, str(HERE), str(clip), "--one", name, "--backbone", options.backbone]
                if name == "loop":
                    loop = HERE.with_name("naive_loop.py")
                    command = [sys.executable, str(loop), str(clip), f"{folder}/loop.mp4", options.backbone]
                said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                rates[name].append(float(said[-1]))
                print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    by_hand = median(rates["loop"])
    print("| | frames/s | times the loop |\n|---|---|---|")
    rows = []
    for name, found in rates.items():
        rows.append({"name": name, "frames_per_second": median(found), "times_loop": median(found) / by_hand})
        print(f"| {name} | {median(found):.1f} | {median(found) / by_hand:.2f} |")
    columns = [
        {"key": "frames_per_second", "title": "frames/s", "digits": 1},
        {"key": "times_loop", "title": "times the loop", "digits": 2},
    ]
    title = f"infer beside a loop written by hand: {options.clip.name}, {options.backbone}, {options.rounds} rounds"
    save_result(options.save_json, make_result(title, columns, rows))


def one(contender: str, clip: Path, backbone: str) -> float:
    """Return the frames per second of one contender's second pass."""
    with tempfile.TemporaryDirectory() as folder:
        if contender == "ultralytics":
            return ultralytics(clip, Path(folder))
        import torch

        from liquidvision import Backbone, LiquidHead, LiquidHeadConfig, Model, RecordSink, infer

        torch.set_num_threads(max(1, torch.get_num_threads() // 2))  # as the command does
        network = Backbone(backbone, weights=None).place("cpu" if contender.endswith("torch") else "auto")
        model = Model(network, LiquidHead(LiquidHeadConfig(network.layouts, 10)), [str(i) for i in range(10)])
        rate = 0.0
        for _ in range(2):
            video = Path(folder) / "out.mp4" if "with video" in contender else None
            done = infer(clip, model, video=video, records=[RecordSink(Path(folder) / "out.jsonl")])
            rate = done.frames / done.wall_seconds
        return rate


def ultralytics(clip: Path, folder: Path) -> float:
    """Return the frames per second of YOLO's classifier with its annotated video; random weights."""
    from ultralytics import YOLO

    model, rate = YOLO("yolov8n-cls.yaml"), 0.0
    for _ in range(2):
        started = time.perf_counter()
        shown = model.predict(str(clip), save=True, stream=True, verbose=False, imgsz=224, project=str(folder))
        frames = sum(1 for _ in shown)
        rate = frames / (time.perf_counter() - started)
    return rate


def lay_end_to_end(source: Path, target: Path, times: int) -> Path:
    """Write the clip `times` times, one after the other, its packets copied; return the target."""
    with av.open(str(target), "w") as out:
        begin, streams = 0.0, {}
        for _ in range(times):
            end = begin
            with av.open(str(source)) as clip:
                wanted = [stream for stream in clip.streams if stream.type in ("video", "audio")]
                for stream in wanted:
                    streams.setdefault(stream.index, out.add_stream_from_template(stream) if not begin else None)
                packets = [packet for packet in clip.demux(wanted) if packet.dts is not None]
                # Sound may begin before 0, by what its encoder needed to start up.
                offset = begin - min(packet.dts * packet.time_base for packet in packets) if begin else 0
                for packet in packets:
                    shift = round(offset / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                    packet.stream = streams[packet.stream.index]
                    out.mux(packet)
            begin = end
    return target


if __name__ == "__main__":
    main()
