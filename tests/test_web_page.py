"""The page in Chromium with a rendered clip as its camera: what a user sees and does."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from conftest import picture
from web import Clients, RunningServer, browser, dot, encode_jpeg, running, until

from liquidvision import Model, Preprocessing
from liquidvision.models.folder import find_model, read_model_config
from tools.browser import y4m

LABELS = set(read_model_config(find_model("actions"))["labels"])
RATE = 12  # frames per second; a busy machine can follow
BLANK = np.full((240, 320, 3), 40, np.uint8)
SWIPE_FRAMES, REST_FRAMES = 14, 8  # of a swipe, and between two

# A simulated user: holds the key of the class while the disc is visible, and records the predictions.
USER = """
const video = document.getElementById("video"), canvas = document.createElement("canvas");
[canvas.width, canvas.height] = [32, 24];
const pen = canvas.getContext("2d", {willReadFrequently: true});
const user = window.user = {teaching: arguments[0], swipes: [], predictions: []};
let swipe = null, sawRest = false; // skip a swipe that has already started
function key(kind, code) {
  document.body.dispatchEvent(new KeyboardEvent(kind, {code, key: code.at(-1), bubbles: true}));
}
function watch() {
  pen.drawImage(video, 0, 0, 32, 24);
  const row = pen.getImageData(0, 12, 32, 1).data;
  let sum = 0, count = 0;
  for (let x = 0; x < 32; x++) if (row[4 * x] > 140) { sum += x; count += 1; }
  const time = liquidvision.last?.time;
  sawRest ||= !count;
  if (count && !swipe && sawRest) {
    swipe = {label: sum / count < 16 ? "right" : "left", from: time, held: user.teaching};
    if (swipe.held) key("keydown", swipe.label === "left" ? "Digit1" : "Digit2");
  } else if (!count && swipe) {
    swipe.to = time;
    if (swipe.held) key("keyup", swipe.label === "left" ? "Digit1" : "Digit2");
    user.swipes.push(swipe);
    swipe = null;
  }
  const last = liquidvision.last;
  if (last && user.predictions.at(-1)?.time !== last.time)
    user.predictions.push({time: last.time, label: last.top[0][0]});
  video.requestVideoFrameCallback(watch);
}
video.requestVideoFrameCallback(watch);
"""


def cycle() -> list[np.ndarray]:
    """Return a swipe to the right, a rest, the same pictures in reverse, and a rest."""
    swipe = [dot(i / (SWIPE_FRAMES - 1), 320, 240) for i in range(SWIPE_FRAMES)]
    return [*swipe, *[BLANK] * REST_FRAMES, *swipe[::-1], *[BLANK] * REST_FRAMES]


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """Run a server of a bundled model at 96 pixels, which a busy machine can follow."""
    model = Model.from_pretrained("actions", device="cpu")
    model.backbone.preprocessing = Preprocessing(size=(96, 96))
    with running(model) as server:
        yield server


@pytest.fixture(scope="module")
def page(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Open the page and wait for predictions."""
    folder = tmp_path_factory.mktemp("browser")
    clip = y4m(cycle(), folder / "clip.y4m", RATE)
    with browser(clip, folder / "profile") as page:
        page.get(server.address)
        until(page, lambda: page.execute_script("return window.liquidvision?.delays.length > 10"))
        yield page


def find(page: Any, selector: str) -> Any:
    return page.find_element("css selector", selector)


def classes(page: Any) -> dict[str, int]:
    """Return the classes on the page and how many examples each shows."""
    cards = page.find_elements("css selector", "#classes .class")
    return {card.get_dom_attribute("data-label"): len(card.find_elements("css selector", ".example")) for card in cards}


def correct(page: Any, label: str) -> bool:
    """Press "Use last 2 s" of a class; return whether that made an example, as it does if enough frames came in."""
    count = classes(page)[label]
    page.execute_script("document.getElementById('toast').hidden = true")
    find(page, f'[data-label="{label}"] .correct').click()
    until(page, lambda: classes(page)[label] > count or find(page, "#toast").is_displayed())
    return classes(page)[label] > count


def console_errors(page: Any) -> list[str]:
    """Return the errors in the browser's console."""
    return [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"]


def test_the_page_shows_predictions(page: Any) -> None:
    """Label, bars, timeline and timing appear without a click, and Δt follows the camera's clock."""
    label = find(page, "#label").text
    assert label.rpartition(" ")[0].rpartition(" ")[0] in LABELS and label.endswith("%")
    assert {row.text for row in page.find_elements("css selector", "#bars .text")} < LABELS
    until(page, lambda: "ms to label" in find(page, "#timing").text)
    assert find(page, "#status").text == "live" and not find(page, "#curtain").is_displayed()
    drawn = page.execute_script(
        "return ['timeline', 'taus'].map(id => { const c = document.getElementById(id);"
        "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v) })"
    )
    assert drawn == [True, True]
    steps = page.execute_script("return liquidvision.last.dt")
    assert 0 < steps < 5
    assert console_errors(page) == []


def test_every_control_has_a_name(page: Any) -> None:
    """Every button and field has an accessible name, and label changes are announced."""
    unnamed = page.execute_script(
        "return [...document.querySelectorAll('button, input')].filter(e => !(e.innerText.trim() || e.ariaLabel ||"
        "e.labels?.[0]?.innerText.trim())).map(e => e.outerHTML)"
    )
    assert [text for text in unnamed if "hidden" not in text] == []
    assert find(page, "#announcement").get_dom_attribute("aria-live") == "polite"
    assert page.execute_script("return document.documentElement.lang") == "en"


def test_teach_two_swipes(page: Any, server: RunningServer, tmp_path: Path) -> None:
    """A head taught in the page distinguishes a swipe from its reverse, and `infer` runs the saved model."""
    for label in ("left", "right"):
        find(page, "#new-label").send_keys(label + "\n")
        until(page, lambda label=label: label in classes(page))
    page.execute_script(USER, True)
    until(page, lambda: min(classes(page).values()) >= 3)
    page.execute_script("user.teaching = false")
    until(page, lambda: not find(page, "#recording").is_displayed())
    assert not find(page, "#export-model").is_enabled()
    find(page, "#train").click()
    until(page, lambda: "Trained on" in find(page, "#trained").text)
    # A swipe during which the head changed does not count.
    start = page.execute_script("user.swipes = user.swipes.slice(0, 0); return liquidvision.last.time")
    until(page, lambda: page.execute_script("return user.swipes.length") >= 5)
    user = page.execute_script("return {swipes: user.swipes.slice(1), predictions: user.predictions}")
    right = 0
    for swipe in user["swipes"]:
        middle = (swipe["from"] + swipe["to"]) / 2
        labels = [each["label"] for each in user["predictions"] if max(start, middle) < each["time"] <= swipe["to"]]
        right += 2 * labels.count(swipe["label"]) > len(labels)
    assert right >= 3 and {swipe["label"] for swipe in user["swipes"]} == {"left", "right"}, user

    async def other() -> set[str]:
        async with Clients(server) as clients:
            return {
                label for label, _ in (await (await clients.connect()).send_frame(0.0, encode_jpeg(picture(0))))["top"]
            }

    assert server.run(other()) < LABELS
    find(page, "#export-model").click()
    folder = Path(page.capabilities["chrome"]["userDataDir"])
    until(page, lambda: list(folder.glob("taught*.zip")))
    zipfile.ZipFile(io.BytesIO(next(folder.glob("taught*.zip")).read_bytes())).extractall(tmp_path)
    # In a separate process, because torch.fx cannot build networks while another thread runs one.
    command = [sys.executable, "-m", "liquidvision", "infer", mp4(cycle() * 2, tmp_path / "clip.mp4")]
    command += ["--device", "cpu", "-m", tmp_path / "taught", "--no-save", "--save-json", tmp_path / "r.jsonl"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    # The accuracy depends on how many frames were recorded while it was taught.
    assert {line["top"][0]["label"] for line in lines} == {"left", "right"}
    assert console_errors(page) == []


def mp4(pictures: list[np.ndarray], path: Path) -> Path:
    """Write the same clip as a file."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for i, image in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_correct_undo_rename_delete_and_reload(page: Any) -> None:
    """The mouse works like the keys, a reloaded page restores its classes, and thumbnails are kept on request."""
    before = classes(page)
    until(page, lambda: correct(page, "left"))
    assert classes(page) == before | {"left": before["left"] + 1}
    until(page, lambda: find(page, "#undo").is_enabled())
    find(page, "#undo").click()
    until(page, lambda: classes(page) == before)
    find(page, "#keep-pictures").click()
    from selenium.webdriver import ActionChains

    hold = ActionChains(page).click_and_hold(find(page, '[data-label="left"] .record'))
    hold.perform()
    until(page, lambda: find(page, "#recording").is_displayed())
    seen = page.execute_script("return liquidvision.delays.length + liquidvision.last.index")
    until(page, lambda: page.execute_script("return liquidvision.delays.length + liquidvision.last.index") > seen + 12)
    ActionChains(page).release().perform()
    until(page, lambda: page.find_elements("css selector", '[data-label="left"] .example.pictured'))
    find(page, '[data-label="left"] .rename').click()
    until(page, lambda: page.switch_to.alert)
    page.switch_to.alert.send_keys("to the left")
    page.switch_to.alert.accept()
    until(page, lambda: "to the left" in classes(page))
    find(page, '[data-label="to the left"] .example').click()
    until(page, lambda: classes(page)["to the left"] == before["left"])
    page.refresh()
    until(page, lambda: classes(page) == {"to the left": before["left"], "right": before["right"]})
    until(page, lambda: page.execute_script("return liquidvision.delays.length > 3"))
    find(page, '[data-label="right"] .delete').click()
    until(page, lambda: list(classes(page)) == ["to the left"])
    assert console_errors(page) == []


def test_a_closed_connection_can_be_retried(page: Any) -> None:
    """If the server closes the connection for good, the page says why and reconnects on request."""
    page.execute_script("liquidvision.send({type: 'nonsense'})")
    until(page, lambda: find(page, "#curtain").is_displayed())
    assert "type is one of" in find(page, "#curtain-text").text
    find(page, "#retry").click()
    until(page, lambda: not find(page, "#curtain").is_displayed() and find(page, "#status").text == "live")
