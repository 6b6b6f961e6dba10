"""Chromium without a screen, whose camera shows a rendered clip."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

PROGRAMS = ("chromium", "chromedriver")


def missing() -> str:
    """Return what `chromium` needs and this machine lacks; empty where nothing is missing."""
    gone = [program for program in PROGRAMS if shutil.which(program) is None]
    return ", ".join([*gone, *(["selenium"] if find_spec("selenium") is None else [])])


@contextmanager
def chromium(clip: Path, folder: Path, *, size: tuple[int, int] = (1280, 980)) -> Iterator[Any]:
    """Return Selenium's driver of a browser whose camera shows `clip`, a .y4m or .mjpeg, again and again.

    Args:
        clip: see `y4m`.
        folder: for the browser's profile, and what it downloads; to be made.
        size: of its window.
    """
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which(PROGRAMS[0])
    for argument in (
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
        *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
        *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
        *(
            f"--use-file-for-fake-video-capture={clip}",
            f"--user-data-dir={folder}",
            f"--window-size={size[0]},{size[1]}",
        ),
    ):
        options.add_argument(argument)
    folder.mkdir(parents=True)
    preferences = {"download.default_directory": str(folder), "download.prompt_for_download": False}
    options.add_experimental_option("prefs", preferences)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    page = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which(PROGRAMS[1])))
    try:
        yield page
    finally:
        page.quit()


def y4m(pictures: Sequence[np.ndarray], path: Path, rate: int) -> Path:
    """Write a clip for the camera: pictures (h, w, 3) uint8 RGB of even sides, at `rate` a second."""
    height, width = pictures[0].shape[:2]
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{rate}:1 Ip A1:1 C420jpeg\n".encode())
        for picture in pictures:
            file.write(b"FRAME\n" + cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420).tobytes())
    return path
