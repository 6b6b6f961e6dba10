// The panel where classes are shown, trained, corrected, saved and loaded.

import { colourOf, renameColour } from "./view.js";

const $ = (id) => document.getElementById(id);
const ENOUGH = 3; // examples of a class
const CORRECTED = 2; // seconds that "that was it" goes back

/**
 * Make the children of `list` those of `keys`, which stand in their dataset under `name`, in that order. A child whose
 * key stays is kept where it is: a button that is held, or has the focus, must not vanish.
 * @param make makes the child of the key of a given index
 */
function renew(list, name, keys, make) {
  const kept = new Map([...list.children].map((child) => [child.dataset[name], child]));
  for (const [key, child] of kept) if (!keys.includes(key)) child.remove();
  keys.forEach((key, i) => {
    const child = kept.get(key) ?? make(i);
    if (list.children[i] !== child) list.insertBefore(child, list.children[i] ?? null);
  });
}

/**
 * @param send sends a command over the socket
 * @param thumbnail gives a small picture of the camera now, as a data URL
 * @param address makes the address of an export or import
 */
export function teaching({ send, thumbnail, address }) {
  let state = { classes: [], recording: null, can_undo: false, learnt: null };
  let known = new Set(); // examples that the page has seen
  let held = null; // {label, picture} while a class is shown
  let pending = null; // picture of the example that comes next
  let busy = false;
  const pictures = new Map(); // example to data URL

  const examples = () => state.classes.flatMap((each) => each.examples);
  const picture = () => ($("keep-pictures").checked ? thumbnail() : null);

  function hold(label) {
    if (held) return;
    held = { label, picture: picture() };
    send({ type: "record", label });
    draw();
  }

  function release() {
    if (!held) return;
    send({ type: "stop" });
    pending = held.picture;
    held = null;
    draw();
  }

  function was(label) {
    pending = picture();
    send({ type: "correct", label, seconds: CORRECTED });
    if (state.learnt) send({ type: "train" });
  }

  function rename(label) {
    const to = prompt(`Another name for “${label}”`, label)?.trim();
    if (!to || to === label) return;
    renameColour(label, to);
    send({ type: "rename", label, to });
  }

  function add(label) {
    label = label.trim();
    if (label) send({ type: "add", label });
    $("new-label").value = "";
  }

  function card(each) {
    const item = $("class-card").content.firstElementChild.cloneNode(true);
    const of = (name) => item.querySelector(name);
    item.dataset.label = each.label;
    of(".swatch").style.background = colourOf(each.label);
    of(".name").textContent = each.label;
    of(".rename").setAttribute("aria-label", `Rename ${each.label}`);
    of(".delete").setAttribute("aria-label", `Delete ${each.label} and its examples`);
    of(".rename").onclick = () => rename(each.label);
    of(".delete").onclick = () => send({ type: "delete", label: each.label });
    const button = of(".show");
    button.setAttribute("aria-label", `Hold to show ${each.label}`);
    button.onpointerdown = (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      hold(each.label);
    };
    button.onpointerup = button.onpointercancel = release;
    button.oncontextmenu = (event) => event.preventDefault();
    button.onkeydown = (event) => {
      if ((event.key === " " || event.key === "Enter") && !event.repeat) hold(each.label);
    };
    button.onkeyup = (event) => {
      if (event.key === " " || event.key === "Enter") release();
    };
    of(".was").title = `The last ${CORRECTED} seconds become an example of it`;
    of(".was").setAttribute("aria-label", `The last ${CORRECTED} seconds were ${each.label}`);
    of(".was").onclick = () => was(each.label);
    return item;
  }

  function draw() {
    const list = $("classes");
    const labels = state.classes.map((each) => each.label);
    renew(list, "label", labels, (i) => card(state.classes[i]));
    state.classes.forEach((each, i) => {
      const item = list.children[i];
      const short = ENOUGH - each.examples.length;
      item.querySelector(".count").textContent = short > 0 ? `${each.examples.length} of ${ENOUGH}` : `${each.examples.length} examples`;
      const now = held?.label === each.label;
      item.querySelector(".show").classList.toggle("held", now);
      item.querySelector(".show").textContent = now ? "Showing…" : "Hold to show";
      item.querySelector(".show").title = i < 9 ? `or hold the key ${i + 1}` : "";
      const ids = each.examples.map((one) => String(one.example));
      renew(item.querySelector(".shots"), "example", ids, (j) => shot(each.label, each.examples[j]));
    });
    $("recording").hidden = !held;
    $("recording-label").textContent = held ? held.label : "";
    $("add-nothing").hidden = labels.includes("nothing");
    $("undo").disabled = !state.can_undo;
    $("export-model").disabled = !state.learnt;
    $("export-examples").disabled = !examples().length;
    $("train").disabled = state.classes.filter((each) => each.examples.length).length < 2;
    if (!busy) $("train-text").textContent = state.learnt ? "Train again" : "Train";
  }

  function shot(label, one) {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "shot";
    chip.dataset.example = one.example;
    chip.textContent = `${one.seconds.toFixed(1)} s`;
    chip.setAttribute("aria-label", `Delete an example of ${label}, ${one.seconds.toFixed(1)} seconds`);
    chip.onclick = () => send({ type: "forget", example: one.example });
    if (pictures.has(one.example)) {
      chip.classList.add("pictured");
      chip.style.backgroundImage = `url(${pictures.get(one.example)})`;
    }
    return chip;
  }

  async function load(file) {
    $("trained").textContent = `loading ${file.name} …`;
    const answer = await fetch(address("import"), { method: "POST", body: file }).catch((error) => error);
    const text = answer instanceof Error ? answer.message : await answer.text();
    if (answer.ok) take(JSON.parse(text).teaching);
    $("trained").textContent = answer.ok ? JSON.parse(text).text : `${file.name}: ${text.trim()}`;
  }

  async function save(what) {
    const answer = await fetch(address(`export/${what}`)).catch((error) => error);
    if (!answer.ok) {
      $("trained").textContent = answer instanceof Error ? answer.message : (await answer.text()).trim();
      return;
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = what === "model" ? "taught.zip" : "examples.zip";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  function take(message) {
    state = message;
    const now = new Set(examples().map((one) => one.example));
    for (const example of now) {
      if (!known.has(example) && pending) {
        pictures.set(example, pending);
        pending = null;
      }
    }
    known = new Set([...known, ...now]);
    if (held) {
      if (state.recording === held.label) held.begun = true;
      else if (held.begun) held = null; // it was long enough, and the server ended it
    }
    draw();
  }

  $("add").onsubmit = (event) => {
    event.preventDefault();
    add($("new-label").value);
  };
  $("add-nothing").onclick = () => add("nothing");
  $("train").onclick = () => send({ type: "train" });
  $("undo").onclick = () => send({ type: "undo" });
  $("export-model").onclick = () => save("model");
  $("export-examples").onclick = () => save("examples");
  $("import-file").onchange = (event) => {
    if (event.target.files.length) load(event.target.files[0]);
    event.target.value = "";
  };

  const typing = (event) => event.target.matches("input[type=text]") || event.ctrlKey || event.metaKey || event.altKey;
  const classOf = (event) => (/^Digit[1-9]$/.test(event.code) ? state.classes[Number(event.code[5]) - 1] : null);
  addEventListener("keydown", (event) => {
    if (typing(event) || event.repeat) return;
    const each = classOf(event);
    if (each) (event.shiftKey ? was : hold)(each.label);
    if (event.key === "t" && !$("train").disabled) send({ type: "train" });
    if (event.key === "u" && state.can_undo) send({ type: "undo" });
  });
  addEventListener("keyup", (event) => {
    if (classOf(event)) release();
  });
  addEventListener("blur", release);

  return {
    take,
    recording: () => held !== null,
    training({ done, of }) {
      busy = true;
      $("train-bar").style.transform = `scaleX(${of ? done / of : 0})`;
      $("train-text").textContent = "Learning…";
    },
    trained(message) {
      busy = false;
      $("train-bar").style.transform = "scaleX(0)";
      $("trained").textContent = `Learnt from ${message.examples} examples in ${message.seconds.toFixed(1)} s; it knows ${message.right} of them again.`;
      draw();
    },
    /** No training is under way; `gone`: nor is a class shown, for the connection was lost. */
    rest({ gone }) {
      busy = false;
      if (gone) held = null;
      $("train-bar").style.transform = "scaleX(0)";
      draw();
    },
    mark(label) {
      for (const item of $("classes").children) item.classList.toggle("now", state.learnt !== null && item.dataset.label === label);
    },
  };
}
