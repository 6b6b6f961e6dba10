"""Streams that a sender pushes, MPEG-TS over TCP and UDP and RTMP, and addresses where no sender comes."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path

import pytest
from commands import Run, one_line
from live import RATE, segment

from liquidvision import LiveOptions, open_video

COUNT = 50
# Sends a file's packets at their own pace; a process of its own, since PyAV lets no other thread run while it connects.
PUSH = """
import sys, time, av
source, out = av.open(sys.argv[1]), av.open(sys.argv[2], "w", format="flv")
stream = out.add_stream_from_template(source.streams.video[0])
began = time.monotonic()
for packet in source.demux(video=0):
    if packet.size:
        time.sleep(max(0.0, began + float(packet.dts * packet.time_base) - time.monotonic()))
        packet.stream = stream
        out.mux(packet)
out.close()
"""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(type=kind) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def sending(port: int, kind: socket.SocketKind) -> Iterator[None]:
    """Send MPEG-TS to a local port at its own pace, from when something listens there until the end of the context."""
    pieces, stop = segment(COUNT, (64, 48)), threading.Event()

    def send() -> None:
        with closing(socket.socket(type=kind)) as to:
            while to.connect_ex(("127.0.0.1", port)) and not stop.wait(0.05):
                pass
            for piece in pieces:
                for place in range(0, len(piece), 1316):
                    try:
                        to.send(piece[place : place + 1316])
                    except OSError:  # over UDP: nobody listens yet
                        continue
                if stop.wait(1 / RATE):
                    return

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def times(url: str, count: int | None = None) -> list[float]:
    """Return the times of a stream's frames, to its end or for `count` frames."""
    with open_video(url, live=LiveOptions(policy="wait", reconnect=0, timeout=10)) as video:
        assert video.info.live and (video.info.width, video.info.height) == (64, 48)
        return [frame.time for frame in islice(video, count)]


def test_a_sender_comes_over_tcp() -> None:
    """`tcp://...?listen=1` waits for a sender, and reads everything it sends."""
    port = free_port()
    with sending(port, socket.SOCK_STREAM):
        taken = times(f"tcp://127.0.0.1:{port}?listen=1")
    assert taken == pytest.approx([taken[0] + i / RATE for i in range(COUNT)], abs=1e-4)


def test_a_stream_comes_over_udp() -> None:
    """A stream over UDP is read from its first key frame on."""
    port = free_port(socket.SOCK_DGRAM)
    with sending(port, socket.SOCK_DGRAM):
        taken = times(f"udp://127.0.0.1:{port}", 10)
    assert taken == pytest.approx([taken[0] + i / RATE for i in range(10)], abs=1e-4)


@pytest.mark.skipif(sys.platform != "linux", reason="that the reader listens is seen in /proc, which is not here")
def test_a_sender_comes_by_rtmp(make_video) -> None:
    """`rtmp://...?listen=1` waits for a camera or a program that pushes a stream."""
    path, port = make_video(pts=range(0, COUNT * 512, 512)), free_port()
    pushing: list[subprocess.Popen[bytes]] = []

    def push() -> None:
        for _ in range(200):  # until the reader listens; a trial connection would count as the sender
            if f":{port:04X} " in Path("/proc/net/tcp").read_text():
                break
            time.sleep(0.05)
        pushing.append(subprocess.Popen([sys.executable, "-c", PUSH, str(path), f"rtmp://127.0.0.1:{port}/live/key"]))

    thread = threading.Thread(target=push)
    thread.start()
    try:
        taken = times(f"rtmp://127.0.0.1:{port}/live/key?listen=1", COUNT - 5)
    finally:
        thread.join()
        pushing[0].kill()
        pushing[0].wait()
    assert taken == pytest.approx([taken[0] + i / RATE for i in range(len(taken))], abs=0.002)


@pytest.mark.parametrize(
    "url", ["tcp://127.0.0.1:{}?listen=1", "udp://127.0.0.1:{}", "rtmp://127.0.0.1:{}/a/b?listen=1"]
)
def test_no_sender_comes(run: Run, model_folder: Path, url: str) -> None:
    """When no sender comes within the time-out, one line says so."""
    ran = run("infer", url.format(free_port()), "-m", model_folder, "--no-save", "--timeout", "0.5", "--reconnect", "0")
    assert ran.code == 1 and "no data arrived in time" in one_line(ran)
