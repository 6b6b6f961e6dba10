"""The window of `liquidvision webcam`: its content, its keys on a real display (Xvfb), and no display."""

import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ctypes import CDLL, c_char_p, c_long, c_ulong, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run, one_line

from liquidvision import open_video
from liquidvision.rendering.window import BACKGROUND, RED, StatusLine, check_display, compose_window

NEEDED = ("Xvfb", "xdotool")
needs_display = pytest.mark.skipif(
    not all(map(shutil.which, NEEDED)), reason=f"needs {' and '.join(NEEDED)}, which are not installed"
)
TITLE = "liquidvision · clip"
PATIENCE = 60.0  # seconds: a machine may be busy
KEYS = (("space", "pause"), ("q", "quit"))


@pytest.mark.parametrize("size", [(640, 480), (1280, 756), (64, 64), (300, 900), (1920, 200)], ids=str)
@pytest.mark.parametrize("picture", [(64, 48), (48, 64), (1920, 1080), (3, 3)], ids=str)
def test_every_window_is_filled(size: tuple[int, int], picture: tuple[int, int]) -> None:
    """The window is filled for any sizes of picture and window, and the picture keeps its proportions."""
    image = np.full((picture[1], picture[0], 3), 200, np.uint8)
    canvas = compose_window(image, 1.0, *size, StatusLine("with memory", "h: help", True, KEYS))
    assert canvas.shape == (size[1], size[0], 3) and canvas.dtype == np.uint8
    canvas = compose_window(image, 1.0, *size, StatusLine("", ""))
    rows, columns = np.nonzero((canvas == 200).all(axis=2))
    wide, tall = np.ptp(columns) + 1, np.ptp(rows) + 1
    assert wide / tall == pytest.approx(picture[0] / picture[1], rel=0.1)
    assert wide == size[0] or tall > size[1] * 0.6


def test_pixels_that_are_not_square() -> None:
    """A picture with wide pixels is shown in its display proportions."""
    canvas = compose_window(np.full((100, 100, 3), 200, np.uint8), 2.0, 640, 480, StatusLine("", ""))
    rows, columns = np.nonzero((canvas == 200).all(axis=2))
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(2, abs=0.02)


def test_status_line_and_key_list() -> None:
    """Recording draws a red dot, the list of keys covers part of the picture, and nothing else does."""
    image = np.full((480, 640, 3), 200, np.uint8)

    def drawn(status: StatusLine, color: tuple[int, int, int]) -> int:
        return int((compose_window(image, 1.0, 640, 520, status) == color).all(axis=2).sum())

    plain, dotted = StatusLine("left", "right"), StatusLine("left", "right", recording=True)
    assert drawn(plain, RED) == 0 < drawn(dotted, RED)
    assert (
        drawn(plain, (200, 200, 200))
        == drawn(dotted, (200, 200, 200))
        > drawn(plain._replace(keys=KEYS), (200, 200, 200))
    )
    assert drawn(plain._replace(keys=KEYS), BACKGROUND) > drawn(plain, BACKGROUND)


@pytest.mark.skipif(sys.platform != "linux", reason="the display is an environment variable on Linux only")
@pytest.mark.parametrize("display", [None, ":4711"])
def test_without_a_display(run: Run, monkeypatch: pytest.MonkeyPatch, display: str | None) -> None:
    """Without a display that answers, one line recommends --web, and nothing crashes."""
    check_display.cache_clear()
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", display)
    ran = run("webcam", "--source", "nothing.mp4")
    assert ran.code == 1 and "--web" in one_line(ran) and not ran.out


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """An X server without a screen."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    assert number, "Xvfb did not start"
    yield f":{number}"
    server.terminate()
    server.wait()


class Desk:
    """Run a webcam command that shows clip.mp4 on a display, and press its keys. A context manager."""

    def __init__(self, display: str, folder: Path, *arguments: str | Path) -> None:
        self.environment = {**os.environ, "DISPLAY": display, "PYTHONPATH": os.pathsep.join(sys.path)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "liquidvision", "webcam", *map(str, arguments)],
            env=self.environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.window = self.until(lambda: self.do("search", "--onlyvisible", "--name", TITLE).split()[:1])[0]

    def do(self, *arguments: str) -> str:
        """Run xdotool and return its output."""
        return subprocess.run(["xdotool", *arguments], env=self.environment, capture_output=True, text=True).stdout

    def press(self, key: str) -> None:
        # A window that is only just there may not take the focus yet, and a key goes where the focus is.
        self.until(lambda: self.do("windowfocus", self.window, "getwindowfocus").split() == [self.window])
        self.do("key", key)

    def until(self, there: Callable[[], Any]) -> Any:
        """Return the result of `there` as soon as it is not empty."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if found := there():
                return found
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.1)
        self.__exit__()
        raise AssertionError("it did not come")

    def shut(self) -> None:
        """Ask the window to close by a message, as the close button of a window manager does."""
        x = CDLL("libX11.so.6")
        x.XOpenDisplay.restype, x.XInternAtom.restype = c_void_p, c_ulong
        x.XInternAtom.argtypes, x.XSync.argtypes = [c_void_p, c_char_p, c_long], [c_void_p, c_long]
        x.XSendEvent.argtypes = [c_void_p, c_ulong, c_long, c_long, c_char_p]
        server = x.XOpenDisplay(self.environment["DISPLAY"].encode())
        protocols, delete = (x.XInternAtom(server, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW"))
        window = int(self.window)
        message = struct.pack("@iLiPLLi5l", 33, 0, 1, 0, window, protocols, 32, delete, 0, 0, 0, 0)
        x.XSendEvent(server, window, 0, 0, message.ljust(192, b"\0"))
        x.XSync(server, 0)

    def __enter__(self) -> "Desk":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def left(self) -> str:
        """Return the output of the command after it has ended."""
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0 and not err, err
        return out


@needs_display
def test_keys_record_and_quit(display: str, tmp_path: Path, make_video, model_folder: Path) -> None:
    """In a real window, v starts and stops a recording and q quits; the recording exists and is reported."""
    video = make_video(pts=range(0, 1500 * 512, 512))
    with Desk(display, tmp_path, "--source", video, "-m", model_folder, "-o", "mine") as desk:
        desk.press("v")
        desk.until(lambda: [str(path) for path in (tmp_path / "mine").glob("clip.part.mp4") if path.stat().st_size])
        desk.press("v")
        desk.until(lambda: [str(path) for path in (tmp_path / "mine").glob("clip.mp4")])
        desk.press("q")
        assert "→ mine/clip.mp4" in desk.left()
    with open_video(tmp_path / "mine" / "clip.mp4") as recorded:
        assert next(iter(recorded)).time == 0


@needs_display
def test_closing_the_window_ends_it(display: str, tmp_path: Path, make_video, model_folder: Path) -> None:
    """The close button ends the command."""
    video = make_video(pts=range(0, 1500 * 512, 512))
    with Desk(display, tmp_path, "--source", video, "-m", model_folder) as desk:
        desk.shut()
        assert "frames in" in desk.left()
