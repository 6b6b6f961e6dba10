// The panel where users record examples of classes, train, correct, save and load.

import { labelColour, renameColour } from "./view.js";

const $ = (id) => document.getElementById(id);
const RECOMMENDED_EXAMPLES = 3; // per class
const CORRECTION_SECONDS = 2; // that "Use last 2 s" goes back

/**
 * Give `list` one child per key, in order; children carry their key in their dataset under `name`. A child whose key
 * stays is kept, because a button that is held or focused must not be replaced.
 * @param make creates the child for the key at a given index
 */
function updateChildren(list, name, keys, make) {
  const kept = new Map([...list.children].map((child) => [child.dataset[name], child]));
  for (const [key, child] of kept) if (!keys.includes(key)) child.remove();
  keys.forEach((key, i) => {
    const child = kept.get(key) ?? make(i);
    if (list.children[i] !== child) list.insertBefore(child, list.children[i] ?? null);
  });
}

/**
 * @param send sends a command over the socket
 * @param thumbnail returns a small picture of the camera as a data URL
 * @param address returns the address of an export or import
 */
export function teachingPanel({ send, thumbnail, address }) {
  let state = { classes: [], recording: null, can_undo: false, learnt: null };
  let known = new Set(); // numbers of all examples so far
  let recording = null; // {label, picture} while the user holds a class
  let pendingPicture = null; // of the next new example
  let training = false;
  const pictures = new Map(); // example number to data URL

  const examples = () => state.classes.flatMap((each) => each.examples);
  const picture = () => ($("keep-pictures").checked ? thumbnail() : null);

  function startRecording(label) {
    if (recording) return;
    recording = { label, picture: picture() };
    send({ type: "record", label });
    draw();
  }

  function stopRecording() {
    if (!recording) return;
    send({ type: "stop" });
    pendingPicture = recording.picture;
    recording = null;
    draw();
  }

  function correct(label) {
    pendingPicture = picture();
    send({ type: "correct", label, seconds: CORRECTION_SECONDS });
    if (state.learnt) send({ type: "train" });
  }

  function rename(label) {
    const to = prompt(`New name for “${label}”`, label)?.trim();
    if (!to || to === label) return;
    renameColour(label, to);
    send({ type: "rename", label, to });
  }

  function add(label) {
    label = label.trim();
    if (label) send({ type: "add", label });
    $("new-label").value = "";
  }

  function makeCard(each) {
    const item = $("class-card").content.firstElementChild.cloneNode(true);
    const find = (selector) => item.querySelector(selector);
    item.dataset.label = each.label;
    find(".swatch").style.background = labelColour(each.label);
    find(".name").textContent = each.label;
    find(".rename").setAttribute("aria-label", `Rename ${each.label}`);
    find(".delete").setAttribute("aria-label", `Delete ${each.label} and its examples`);
    find(".rename").onclick = () => rename(each.label);
    find(".delete").onclick = () => send({ type: "delete", label: each.label });
    const button = find(".record");
    button.setAttribute("aria-label", `Hold to record an example of ${each.label}`);
    button.onpointerdown = (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      startRecording(each.label);
    };
    button.onpointerup = button.onpointercancel = stopRecording;
    button.oncontextmenu = (event) => event.preventDefault();
    button.onkeydown = (event) => {
      if ((event.key === " " || event.key === "Enter") && !event.repeat) startRecording(each.label);
    };
    button.onkeyup = (event) => {
      if (event.key === " " || event.key === "Enter") stopRecording();
    };
    find(".correct").title = `Make the last ${CORRECTION_SECONDS} seconds an example of this class`;
    find(".correct").setAttribute("aria-label", `Make the last ${CORRECTION_SECONDS} seconds an example of ${each.label}`);
    find(".correct").onclick = () => correct(each.label);
    return item;
  }

  function draw() {
    const list = $("classes");
    const labels = state.classes.map((each) => each.label);
    updateChildren(list, "label", labels, (i) => makeCard(state.classes[i]));
    state.classes.forEach((each, i) => {
      const item = list.children[i];
      const count = each.examples.length;
      item.querySelector(".count").textContent = count < RECOMMENDED_EXAMPLES ? `${count} of ${RECOMMENDED_EXAMPLES}` : `${count} examples`;
      const active = recording?.label === each.label;
      const button = item.querySelector(".record");
      button.classList.toggle("held", active);
      button.textContent = active ? "Recording…" : "Hold to record";
      button.title = i < 9 ? `Or hold the key ${i + 1}` : "";
      const ids = each.examples.map((one) => String(one.example));
      updateChildren(item.querySelector(".examples"), "example", ids, (j) => makeChip(each.label, each.examples[j]));
    });
    $("recording").hidden = !recording;
    $("recording-label").textContent = recording ? recording.label : "";
    $("add-nothing").hidden = labels.includes("nothing");
    $("undo").disabled = !state.can_undo;
    $("export-model").disabled = !state.learnt;
    $("export-examples").disabled = !examples().length;
    $("train").disabled = state.classes.filter((each) => each.examples.length).length < 2;
    if (!training) $("train-text").textContent = state.learnt ? "Train again" : "Train";
  }

  function makeChip(label, one) {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "example";
    chip.dataset.example = one.example;
    chip.textContent = `${one.seconds.toFixed(1)} s`;
    chip.setAttribute("aria-label", `Delete an example of ${label} of ${one.seconds.toFixed(1)} seconds`);
    chip.onclick = () => send({ type: "forget", example: one.example });
    if (pictures.has(one.example)) {
      chip.classList.add("pictured");
      chip.style.backgroundImage = `url(${pictures.get(one.example)})`;
    }
    return chip;
  }

  async function load(file) {
    $("trained").textContent = `Loading ${file.name} …`;
    const answer = await fetch(address("import"), { method: "POST", body: file }).catch((error) => error);
    const text = answer instanceof Error ? answer.message : await answer.text();
    if (answer.ok) update(JSON.parse(text).teaching);
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

  function update(message) {
    state = message;
    const current = new Set(examples().map((one) => one.example));
    for (const example of current) {
      if (!known.has(example) && pendingPicture) {
        pictures.set(example, pendingPicture);
        pendingPicture = null;
      }
    }
    known = new Set([...known, ...current]);
    if (recording) {
      if (state.recording === recording.label) recording.confirmed = true;
      else if (recording.confirmed) recording = null; // the server ended it at the maximum length
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

  const isTyping = (event) => event.target.matches("input[type=text]") || event.ctrlKey || event.metaKey || event.altKey;
  const classForKey = (event) => (/^Digit[1-9]$/.test(event.code) ? state.classes[Number(event.code[5]) - 1] : null);
  addEventListener("keydown", (event) => {
    if (isTyping(event) || event.repeat) return;
    const each = classForKey(event);
    if (each) (event.shiftKey ? correct : startRecording)(each.label);
    if (event.key === "t" && !$("train").disabled) send({ type: "train" });
    if (event.key === "u" && state.can_undo) send({ type: "undo" });
  });
  addEventListener("keyup", (event) => {
    if (classForKey(event)) stopRecording();
  });
  addEventListener("blur", stopRecording);

  return {
    update,
    recording: () => recording !== null,
    training({ done, of }) {
      training = true;
      $("train-bar").style.transform = `scaleX(${of ? done / of : 0})`;
      $("train-text").textContent = "Training…";
    },
    trained(message) {
      training = false;
      $("train-bar").style.transform = "scaleX(0)";
      $("trained").textContent = `Trained on ${message.examples} examples in ${message.seconds.toFixed(1)} s; classifies ${message.right} of them correctly.`;
      draw();
    },
    /** End the display of a training, and of a recording if the connection is lost. */
    endTraining({ disconnected }) {
      training = false;
      if (disconnected) recording = null;
      $("train-bar").style.transform = "scaleX(0)";
      draw();
    },
    /** Highlight the class that is predicted now. */
    highlight(label) {
      for (const item of $("classes").children) item.classList.toggle("current", state.learnt !== null && item.dataset.label === label);
    },
  };
}
