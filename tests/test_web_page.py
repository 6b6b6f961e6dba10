"""The page in Chromium, its camera a rendered clip: what a person would see and do."""

import io
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from conftest import picture
from web import Clients, Place, browser, dot, jpeg_of, running, until

from liquidvision import Model, Preprocessing
from liquidvision.models.folder import find_model, read_model_config
from tools.browser import y4m

LABELS = set(read_model_config(find_model("actions"))["labels"])
RATE = 12  # slow enough for a busy machine to see every picture
BLANK = np.full((240, 320, 3), 40, np.uint8)
ACROSS, REST = 14, 8  # pictures of a swipe, and between two

# A person who watches the disc: holds the class's key from when it appears to when it is gone, and notes what the
# page says of frames in the swipe's second half.
PERSON = """
const video = document.getElementById("video"), canvas = document.createElement("canvas");
[canvas.width, canvas.height] = [32, 24];
const pen = canvas.getContext("2d", {willReadFrequently: true});
const person = window.person = {teaching: arguments[0], swipes: [], said: []};
let swipe = null, rested = false; // a swipe that was on its way already is nobody's
function key(kind, code) {
  document.body.dispatchEvent(new KeyboardEvent(kind, {code, key: code.at(-1), bubbles: true}));
}
function look() {
  pen.drawImage(video, 0, 0, 32, 24);
  const row = pen.getImageData(0, 12, 32, 1).data;
  let sum = 0, count = 0;
  for (let x = 0; x < 32; x++) if (row[4 * x] > 140) { sum += x; count += 1; }
  const time = liquidvision.last?.time;
  rested ||= !count;
  if (count && !swipe && rested) {
    swipe = {label: sum / count < 16 ? "right" : "left", from: time, held: person.teaching};
    if (swipe.held) key("keydown", swipe.label === "left" ? "Digit1" : "Digit2");
  } else if (!count && swipe) {
    swipe.to = time;
    if (swipe.held) key("keyup", swipe.label === "left" ? "Digit1" : "Digit2");
    person.swipes.push(swipe);
    swipe = null;
  }
  const last = liquidvision.last;
  if (last && person.said.at(-1)?.time !== last.time) person.said.push({time: last.time, label: last.top[0][0]});
  video.requestVideoFrameCallback(look);
}
video.requestVideoFrameCallback(look);
"""


def cycle() -> list[np.ndarray]:
    """A swipe to the right, a rest, the same pictures backwards, a rest."""
    across = [dot(i / (ACROSS - 1), 320, 240) for i in range(ACROSS)]
    return [*across, *[BLANK] * REST, *across[::-1], *[BLANK] * REST]


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """A server of a bundled model at 96 pixels, which a busy machine too can follow."""
    model = Model.from_pretrained("actions", device="cpu")
    model.backbone.preprocessing = Preprocessing(size=(96, 96))
    with running(model) as place:
        yield place


@pytest.fixture(scope="module")
def page(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The page, open, and showing predictions."""
    folder = tmp_path_factory.mktemp("browser")
    clip = y4m(cycle(), folder / "clip.y4m", RATE)
    with browser(clip, folder / "profile") as page:
        page.get(place.address)
        until(page, lambda: page.execute_script("return window.liquidvision?.delays.length > 10"))
        yield page


def by(page: Any, selector: str) -> Any:
    return page.find_element("css selector", selector)


def classes(page: Any) -> dict[str, int]:
    """The classes on the page, with how many examples are seen of each."""
    cards = page.find_elements("css selector", "#classes .class")
    return {card.get_dom_attribute("data-label"): len(card.find_elements("css selector", ".shot")) for card in cards}


def flows(page: Any) -> bool:
    """Whether enough frames come within the two seconds of a correction; of a stalled stream it is refused."""
    first = page.execute_script("return liquidvision.last.index")
    time.sleep(1.5)
    return page.execute_script("return liquidvision.last.index") >= first + 8


def words(page: Any) -> list[str]:
    """Errors in the page's console."""
    return [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"]


def test_the_page_shows_predictions(page: Any) -> None:
    """Label, bars and timing are there without a click, and the clock is the camera's."""
    label = by(page, "#label").text
    assert label.rpartition(" ")[0].rpartition(" ")[0] in LABELS and label.endswith("%")
    assert {row.text for row in page.find_elements("css selector", "#bars .text")} < LABELS
    until(page, lambda: "ms to label" in by(page, "#timing").text)
    assert by(page, "#status").text == "live" and not by(page, "#curtain").is_displayed()
    drawn = page.execute_script(
        "return ['timeline', 'taus'].map(id => { const c = document.getElementById(id);"
        "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v) })"
    )
    assert drawn == [True, True]
    steps = page.execute_script("return liquidvision.last.dt")
    assert 0 < steps < 5
    assert words(page) == []


def test_every_control_has_a_name(page: Any) -> None:
    """A screen reader finds a name on every button and field, and what is said aloud."""
    unnamed = page.execute_script(
        "return [...document.querySelectorAll('button, input')].filter(e => !(e.innerText.trim() || e.ariaLabel ||"
        "e.labels?.[0]?.innerText.trim())).map(e => e.outerHTML)"
    )
    assert [text for text in unnamed if "hidden" not in text] == []
    assert by(page, "#spoken").get_dom_attribute("aria-live") == "polite"
    assert page.execute_script("return document.documentElement.lang") == "en"


def test_teach_two_swipes(page: Any, place: Place, tmp_path: Path) -> None:
    """Taught in the page, a clip forwards and backwards is told apart, which no single frame of it can be; another
    client still hears the old labels; and the saved model runs in `infer`, where the clip shows both."""
    for label in ("left", "right"):
        by(page, "#new-label").send_keys(label + "\n")
        until(page, lambda label=label: label in classes(page))
    page.execute_script(PERSON, True)
    until(page, lambda: min(classes(page).values()) >= 3)
    page.execute_script("person.teaching = false")
    until(page, lambda: not by(page, "#recording").is_displayed())
    assert not by(page, "#export-model").is_enabled()
    by(page, "#train").click()
    until(page, lambda: "Learnt from" in by(page, "#trained").text)
    # A disc that was on its way while the head changed is not counted.
    start = page.execute_script("person.swipes = person.swipes.slice(0, 0); return liquidvision.last.time")
    until(page, lambda: page.execute_script("return person.swipes.length") >= 5)
    person = page.execute_script("return {swipes: person.swipes.slice(1), said: person.said}")
    right = 0
    for swipe in person["swipes"]:
        middle = (swipe["from"] + swipe["to"]) / 2
        said = [each["label"] for each in person["said"] if max(start, middle) < each["time"] <= swipe["to"]]
        right += 2 * said.count(swipe["label"]) > len(said)
    assert right >= 3 and {swipe["label"] for swipe in person["swipes"]} == {"left", "right"}, person

    async def other() -> set[str]:
        async with Clients(place) as clients:
            return {label for label, _ in (await (await clients.connect()).see(0.0, jpeg_of(picture(0))))["top"]}

    assert place.run(other()) < LABELS
    by(page, "#export-model").click()
    folder = Path(page.capabilities["chrome"]["userDataDir"])
    until(page, lambda: list(folder.glob("taught*.zip")))
    zipfile.ZipFile(io.BytesIO(next(folder.glob("taught*.zip")).read_bytes())).extractall(tmp_path)
    # In a process of its own: building networks, by torch.fx, goes with no thread that runs one.
    command = [sys.executable, "-m", "liquidvision", "infer", mp4(cycle() * 2, tmp_path / "clip.mp4")]
    command += ["--device", "cpu", "-m", tmp_path / "taught", "--no-save", "--save-json", tmp_path / "r.jsonl"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    # How often it is right hangs on how many pictures a busy machine took in while it was taught.
    assert {line["top"][0]["label"] for line in lines} == {"left", "right"}
    assert words(page) == []


def mp4(pictures: list[np.ndarray], path: Path) -> Path:
    """The same clip as a file."""
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
    """The mouse does what the keys do; a reloaded page finds its classes again; pictures are kept where wished."""
    until(page, lambda: flows(page))
    before = classes(page)
    by(page, '[data-label="left"] .was').click()
    until(page, lambda: classes(page)["left"] == before["left"] + 1)
    until(page, lambda: by(page, "#undo").is_enabled())
    by(page, "#undo").click()
    until(page, lambda: classes(page) == before)
    by(page, "#keep-pictures").click()
    from selenium.webdriver import ActionChains

    hold = ActionChains(page).click_and_hold(by(page, '[data-label="left"] .show'))
    hold.perform()
    until(page, lambda: by(page, "#recording").is_displayed())
    seen = page.execute_script("return liquidvision.delays.length + liquidvision.last.index")
    until(page, lambda: page.execute_script("return liquidvision.delays.length + liquidvision.last.index") > seen + 12)
    ActionChains(page).release().perform()
    until(page, lambda: page.find_elements("css selector", '[data-label="left"] .shot.pictured'))
    by(page, '[data-label="left"] .rename').click()
    until(page, lambda: page.switch_to.alert)
    page.switch_to.alert.send_keys("to the left")
    page.switch_to.alert.accept()
    until(page, lambda: "to the left" in classes(page))
    by(page, '[data-label="to the left"] .shot').click()
    until(page, lambda: classes(page)["to the left"] == before["left"])
    page.refresh()
    until(page, lambda: classes(page) == {"to the left": before["left"], "right": before["right"]})
    until(page, lambda: page.execute_script("return liquidvision.delays.length > 3"))
    by(page, '[data-label="right"] .delete').click()
    until(page, lambda: list(classes(page)) == ["to the left"])
    assert words(page) == []


def test_a_server_that_goes(page: Any) -> None:
    """Where the server closes the connection for good, the page says why, and connects again when asked."""
    page.execute_script("liquidvision.send({type: 'nonsense'})")
    until(page, lambda: by(page, "#curtain").is_displayed())
    assert "type is one of" in by(page, "#curtain-text").text
    by(page, "#again").click()
    until(page, lambda: not by(page, "#curtain").is_displayed() and by(page, "#status").text == "live")
