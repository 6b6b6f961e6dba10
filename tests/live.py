"""A live HTTP server on loopback that sends MPEG-TS or JPEG pictures in real time; tests stop, start and change it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import av
from conftest import picture

RATE = 25


def segment(count: int, size: tuple[int, int], first: int = 0) -> list[bytes]:
    """Return a transport stream of `count` pictures, starting with picture `first`, as one piece per picture."""
    out, pieces = BytesIO(), []
    container = av.open(out, "w", format="mpegts", options={"flush_packets": "1"})
    stream = container.add_stream(
        "libx264", rate=RATE, options={"preset": "ultrafast", "tune": "zerolatency", "g": "5"}
    )
    stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
    place = 0
    for number in range(first, first + count):
        frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24")
        container.mux(stream.encode(frame))
        pieces.append(out.getvalue()[place:])
        place = len(out.getvalue())
    container.mux(stream.encode(None))
    container.close()
    pieces.append(out.getvalue()[place:])
    return pieces


def photographs(count: int, size: tuple[int, int]) -> list[bytes]:
    """Return JPEG pictures without times, as parts of multipart/x-mixed-replace, as cameras send them over HTTP."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = *size, "yuvj420p", Fraction(1, RATE)
    parts = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24").reformat(format="yuvj420p")
        frame.pts = number
        for packet in encoder.encode(frame):
            head = f"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {packet.size}\r\n\r\n"
            parts.append(head.encode() + bytes(packet) + b"\r\n")
    return parts


class Station:
    """Sends `pieces` to each client, from the first one, `pace` seconds apart.

    Attributes:
        pieces: the data to send.
        kind: its media type.
        on: whether it sends; otherwise it answers with 503.
        requests: number of requests so far.
        pace: seconds between pieces.
        silent: whether connections stay open after the last piece, without sending anything.
    """

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.kind = "video/mp2t"
        self.on, self.requests, self.pace, self.silent = True, 0, 1 / RATE, False
        self.closed = threading.Event()
        self.url = ""

    def hang_up(self) -> None:
        """Refuse requests from now on, and end open connections at their next piece."""
        self.on = False


@contextmanager
def station() -> Iterator[Station]:
    """Run a station on loopback inside the block."""
    sender = Station()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sender.requests += 1
            if not sender.on:
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", sender.kind)
            self.end_headers()
            try:
                for piece in list(sender.pieces):
                    if not sender.on:
                        return
                    self.wfile.write(piece)
                    self.wfile.flush()
                    sender.closed.wait(sender.pace)
                if sender.silent:
                    sender.closed.wait()
            except OSError:  # the client has gone
                pass

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    sender.url = f"http://user:pa55@127.0.0.1:{server.server_port}/live.ts?token=pa55"
    try:
        yield sender
    finally:
        sender.on = False
        sender.closed.set()
        server.shutdown()
        server.server_close()
        thread.join()
