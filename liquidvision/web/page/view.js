// Draws what the model says: label, bars, the last seconds, the time constants.

const SHOWN = 12; // seconds of the timeline
const PALETTE = ["#1c7ed6", "#e8590c", "#2f9e44", "#ae3ec9", "#f08c00", "#0c8599", "#e03131", "#6741d9", "#66a80f", "#c2255c", "#846358", "#4c6ef5"];
const colours = new Map();

const $ = (id) => document.getElementById(id);

/** The colour of a label, the same as long as the page lives. */
export function colourOf(label) {
  if (!colours.has(label)) colours.set(label, PALETTE[colours.size % PALETTE.length]);
  return colours.get(label);
}

/** A class keeps its colour under another name. */
export function renameColour(label, to) {
  colours.set(to, colourOf(label));
}

const past = []; // {time, label, alone, recording}
let spokenAt = 0;
let spoken = "";

/** Take in a prediction; it is drawn at once, or with the next picture. */
export function show(prediction, recording) {
  const [label, score] = prediction.top[0];
  const [alone] = prediction.frame_top[0];
  if (past.length && prediction.time < past[past.length - 1].time) past.length = 0;
  past.push({ time: prediction.time, label, alone, recording });
  while (past[0].time < prediction.time - SHOWN - 1) past.shift();
  $("label").textContent = `${label} ${Math.round(100 * score)} %`;
  $("alone").textContent = alone === label ? "" : `▏this frame alone: ${alone}`;
  bars(prediction);
  timeline(prediction.time);
  taus(prediction.time_constants);
  say(label);
}

/** Empty all, as for a new stream. */
export function clear() {
  past.length = 0;
  timeline(0);
}

/** Tell a screen reader of changes, but not of each flicker. */
function say(label) {
  const now = performance.now();
  if (label !== spoken && now - spokenAt > 1500) {
    [spoken, spokenAt] = [label, now];
    $("spoken").textContent = label;
  }
}

function bars(prediction) {
  const list = $("bars");
  const alone = new Map(prediction.frame_top);
  while (list.children.length > prediction.top.length) list.lastChild.remove();
  while (list.children.length < prediction.top.length) {
    const row = document.createElement("li");
    row.innerHTML = '<span class="text"></span><span class="track"><span class="fill"></span><span class="mark"></span></span><span class="number"></span>';
    list.append(row);
  }
  prediction.top.forEach(([label, score], i) => {
    const row = list.children[i];
    row.querySelector(".text").textContent = label;
    row.querySelector(".number").textContent = `${Math.round(100 * score)} %`;
    const fill = row.querySelector(".fill");
    fill.style.transform = `scaleX(${score})`;
    fill.style.background = colourOf(label);
    const mark = row.querySelector(".mark");
    mark.hidden = !alone.has(label);
    mark.style.left = `${100 * (alone.get(label) ?? 0)}%`;
  });
}

/** A canvas's context in CSS pixels, its backing store as fine as the screen. */
function sheet(canvas) {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = Number(canvas.getAttribute("height-css") ?? canvas.getAttribute("height"));
  if (!canvas.hasAttribute("height-css")) {
    canvas.setAttribute("height-css", height);
    canvas.style.height = `${height}px`;
  }
  if (canvas.width !== Math.round(width * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  return { pen, width, height, style: getComputedStyle(canvas) };
}

function timeline(now) {
  const { pen, width, height, style } = sheet($("timeline"));
  const left = 62;
  const x = (time) => left + ((width - left) * (time - now + SHOWN)) / SHOWN;
  const lanes = [["alone", "alone", 4, 18], ["label", "memory", 28, 28]];
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  pen.fillStyle = style.color;
  for (const [, title, top, tall] of lanes) pen.fillText(title, 0, top + tall / 2);
  pen.globalAlpha = 0.5;
  for (let back = 0; back <= SHOWN; back += 2) {
    pen.textAlign = back === 0 ? "right" : "center";
    if (x(now - back) > left + 8) pen.fillText(back === 0 ? "now" : `−${back} s`, x(now - back), height - 7);
  }
  pen.globalAlpha = 1;
  pen.textAlign = "left";
  for (const [key, , top, tall] of lanes) {
    let start = 0;
    for (let i = 1; i <= past.length; i++) {
      if (i < past.length && past[i][key] === past[start][key]) continue;
      const from = Math.max(left, x(past[start].time));
      const to = i < past.length ? x(past[i].time) : x(now);
      if (to > left && to > from) {
        pen.fillStyle = colourOf(past[start][key]);
        pen.beginPath();
        pen.roundRect(from, top, Math.max(1, to - from - 1), tall, 3);
        pen.fill();
        const text = past[start][key];
        if (key === "label" && pen.measureText(text).width < to - from - 10) {
          pen.fillStyle = "#fff";
          pen.fillText(text, from + 6, top + tall / 2);
        }
      }
      start = i;
    }
  }
  pen.fillStyle = "#e03131";
  for (let i = 1; i < past.length; i++) {
    if (past[i].recording) pen.fillRect(Math.max(left, x(past[i - 1].time)), 58, x(past[i].time) - x(past[i - 1].time) + 1, 3);
  }
}

function taus(values) {
  const { pen, width, height } = sheet($("taus"));
  if (!values || !values.length) {
    $("tau-range").textContent = "this cell has none";
    return;
  }
  const columns = Math.ceil(Math.sqrt((values.length * width) / height));
  const rows = Math.ceil(values.length / columns);
  const [wide, tall] = [width / columns, height / rows];
  values.forEach((tau, i) => {
    const share = Math.min(1, Math.max(0, (Math.log10(tau) + 2) / 4)); // from 0.01 s to 100 s
    const most = Math.min(wide, tall, 23) / 2 - 1;
    pen.fillStyle = `oklch(0.68 0.15 ${40 + 200 * share})`;
    pen.beginPath();
    pen.arc((0.5 + (i % columns)) * wide, (0.5 + Math.floor(i / columns)) * tall, Math.max(1.5, most * (0.2 + 0.8 * share)), 0, 7);
    pen.fill();
  });
  const few = (tau) => (tau < 10 ? tau.toPrecision(2) : Math.round(tau));
  $("tau-range").textContent = `quick ${few(Math.min(...values))} s … slow ${few(Math.max(...values))} s`;
}
