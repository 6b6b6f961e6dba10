"""Check whether a live run outlives its source: stop and start a real RTSP server, and check what `infer` wrote.

    python tools/try_outages.py [--outages 20] [--model actions] [--python /usr/bin/python3]

Needs GStreamer's RTSP server for the Python named (Debian: python3-gi gir1.2-gst-rtsp-server-1.0
gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly). In the middle the picture's size changes. Prints for each outage
how long the server was away, how long the gap on the frames' clock was and how much memory was resident; and what was
lost beside the gaps.
"""

import argparse
import logging
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from liquidvision import LiveOptions, Model, Prediction, Session, infer, open_video

SERVER = Path(__file__).parent / "live" / "rtsp_server.py"
RATE = 25
LONGEST_STEP = 0.5  # seconds; a longer one is a gap


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def start(python: str, port: int, size: tuple[int, int]) -> subprocess.Popen[bytes]:
    """Start a server and wait until it answers."""
    server = subprocess.Popen([python, str(SERVER), str(port), *map(str, size), str(RATE)])
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return server
        except OSError:
            time.sleep(0.1)
    server.kill()
    raise SystemExit("the RTSP server does not answer; is GStreamer's RTSP server installed for this Python?")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outages", type=int, default=20)
    parser.add_argument("--model", default="actions")
    parser.add_argument("--python", default="/usr/bin/python3", help="one that has GStreamer's gi")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    port, sizes = free_port(), [(320, 240), (480, 360)]
    server = start(options.python, port, sizes[0])
    away: list[float] = []
    memory: list[float] = []
    times: list[float] = []
    until = 3 * RATE

    def seen(prediction: Prediction) -> None:
        nonlocal server, until
        times.append(prediction.time)
        if len(times) < until or len(away) == options.outages:
            return
        memory.append(resident())
        server.kill()
        server.wait()
        stopped = time.monotonic()
        time.sleep(0.5 + (len(away) % 4) * 0.5)
        server = start(options.python, port, sizes[len(away) >= options.outages // 2])
        away.append(time.monotonic() - stopped)
        until = len(times) + 3 * RATE

    live = LiveOptions(policy="wait", reconnect=None, timeout=3.0)
    model = Model.from_pretrained(options.model)
    session = Session(model, max_gap=LONGEST_STEP)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mp4"
        try:
            summary = infer(
                open_video(f"rtsp://127.0.0.1:{port}/live", live=live),
                model,
                video=out,
                session=session,
                max_frames=(options.outages + 1) * 3 * RATE + 2 * RATE,
                on_frame=seen,
            )
        finally:
            server.kill()
        with open_video(out) as video:
            written = [picture.pts * picture.time_base for picture in video.pictures()]
            size = video.info.width, video.info.height
    steps = np.diff(times)
    gaps = steps[steps > LONGEST_STEP]
    print(f"{'server away, s':>15} {'gap on the clock, s':>20} {'resident before, MB':>20}")
    for gone, gap, before in zip(away, gaps, memory, strict=False):
        print(f"{gone:15.2f} {gap:20.2f} {before:20.0f}")
    usual = steps[steps <= LONGEST_STEP]
    lost = int(np.round(usual * RATE - 1).clip(0).sum())
    print(f"{len(away)} outages, {summary.reconnects} reconnections, {len(gaps)} gaps, {session.gaps} marked")
    print(
        f"frames: {summary.frames} predicted, {len(written)} written in {size[0]} x {size[1]}; {lost} lost in between"
    )
    print(f"steps but for gaps: {usual.min():.4f} to {usual.max():.4f} s")
    good = len(gaps) == session.gaps == summary.reconnects == len(away) and not lost
    sys.exit(0 if good and len(written) == summary.frames else 1)


def resident() -> float:
    """Return the megabytes of memory that this process uses."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    main()
