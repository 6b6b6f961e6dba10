"""A live server on loopback: MPEG-TS or JPEG pictures over HTTP at its own pace, which tests stop, start and change."""

import threading
import time
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
    """A transport stream of `count` pictures from number `first` on, a piece for each picture."""
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
    """JPEG pictures as cameras send them over HTTP, without any times: parts of multipart/x-mixed-replace."""
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
    """Sends what `pieces` holds to each client, from its beginning, 1 / RATE seconds apart.

    Attributes:
        pieces: what is sent.
        kind: its media type.
        on: False answers with 503.
        clients: how often it was asked.
        pace: seconds between pieces.
    """

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.kind = "video/mp2t"
        self.on, self.clients, self.pace = True, 0, 1 / RATE
        self.url = ""

    def hang_up(self) -> None:
        """Refuse from now on, and end what is being sent at its next piece."""
        self.on = False


@contextmanager
def station() -> Iterator[Station]:
    """A server on loopback, closed in the end."""
    said = Station()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said.clients += 1
            if not said.on:
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", said.kind)
            self.end_headers()
            try:
                for piece in list(said.pieces):
                    if not said.on:
                        return
                    self.wfile.write(piece)
                    self.wfile.flush()
                    time.sleep(said.pace)
            except OSError:  # the client has gone
                pass

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    said.url = f"http://user:pa55@127.0.0.1:{server.server_port}/live.ts?token=pa55"
    try:
        yield said
    finally:
        said.on = False
        server.shutdown()
        server.server_close()
        thread.join()
