// Draws predictions: the label, bars of scores, a timeline of recent labels, and the time constants.

const TIMELINE_SECONDS = 12;
const PALETTE = ["#1c7ed6", "#e8590c", "#2f9e44", "#ae3ec9", "#f08c00", "#0c8599", "#e03131", "#6741d9", "#66a80f", "#c2255c", "#846358", "#4c6ef5"];
const colours = new Map();

const $ = (id) => document.getElementById(id);

/** Return the colour of a label, which stays the same until the page is closed. */
export function labelColour(label) {
  if (!colours.has(label)) colours.set(label, PALETTE[colours.size % PALETTE.length]);
  return colours.get(label);
}

/** Keep the colour of a class that is renamed. */
export function renameColour(label, to) {
  colours.set(to, labelColour(label));
}

const history = []; // {time, label, frameLabel, recording}
let announcedAt = 0;
let announced = "";

/** Draw a prediction. */
export function show(prediction, recording) {
  const [label, score] = prediction.top[0];
  const [frameLabel] = prediction.frame_top[0];
  if (history.length && prediction.time < history[history.length - 1].time) history.length = 0;
  history.push({ time: prediction.time, label, frameLabel, recording });
  while (history[0].time < prediction.time - TIMELINE_SECONDS - 1) history.shift();
  $("label").textContent = `${label} ${Math.round(100 * score)} %`;
  $("frame-label").textContent = frameLabel === label ? "" : `▏this frame alone: ${frameLabel}`;
  drawBars(prediction);
  drawTimeline(prediction.time);
  drawTimeConstants(prediction.time_constants);
  announce(label);
}

/** Correct the label of an earlier frame by a prediction that has seen the seconds after it. */
export function correct({ time, look_ahead, top: [[label, score]] }) {
  const entry = history.findLast((each) => each.time === time);
  if (entry) entry.label = label;
  $("ahead").textContent = `${look_ahead} s ago, looking ahead: ${label} ${Math.round(100 * score)} %`;
}

/** Clear the timeline, as for a new stream. */
export function clear() {
  history.length = 0;
  drawTimeline(0);
}

/** Announce a new label to screen readers, at most every 1.5 s. */
function announce(label) {
  const now = performance.now();
  if (label !== announced && now - announcedAt > 1500) {
    [announced, announcedAt] = [label, now];
    $("announcement").textContent = label;
  }
}

function drawBars(prediction) {
  const list = $("bars");
  const frameScores = new Map(prediction.frame_top);
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
    fill.style.background = labelColour(label);
    const mark = row.querySelector(".mark");
    mark.hidden = !frameScores.has(label);
    mark.style.left = `${100 * (frameScores.get(label) ?? 0)}%`;
  });
}

/** Clear a canvas and return its context, scaled to CSS pixels at the resolution of the screen. */
function prepareCanvas(canvas) {
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

function drawTimeline(now) {
  const { pen, width, height, style } = prepareCanvas($("timeline"));
  const left = 62;
  const x = (time) => left + ((width - left) * (time - now + TIMELINE_SECONDS)) / TIMELINE_SECONDS;
  const lanes = [["frameLabel", "frame", 4, 18], ["label", "memory", 28, 28]];
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  pen.fillStyle = style.color;
  for (const [, title, top, tall] of lanes) pen.fillText(title, 0, top + tall / 2);
  pen.globalAlpha = 0.5;
  for (let back = 0; back <= TIMELINE_SECONDS; back += 2) {
    pen.textAlign = back === 0 ? "right" : "center";
    if (x(now - back) > left + 8) pen.fillText(back === 0 ? "now" : `−${back} s`, x(now - back), height - 7);
  }
  pen.globalAlpha = 1;
  pen.textAlign = "left";
  for (const [key, , top, tall] of lanes) {
    let start = 0;
    for (let i = 1; i <= history.length; i++) {
      if (i < history.length && history[i][key] === history[start][key]) continue;
      const from = Math.max(left, x(history[start].time));
      const to = i < history.length ? x(history[i].time) : x(now);
      if (to > left && to > from) {
        pen.fillStyle = labelColour(history[start][key]);
        pen.beginPath();
        pen.roundRect(from, top, Math.max(1, to - from - 1), tall, 3);
        pen.fill();
        const text = history[start][key];
        if (key === "label" && pen.measureText(text).width < to - from - 10) {
          pen.fillStyle = "#fff";
          pen.fillText(text, from + 6, top + tall / 2);
        }
      }
      start = i;
    }
  }
  pen.fillStyle = "#e03131";
  for (let i = 1; i < history.length; i++) {
    if (history[i].recording) pen.fillRect(Math.max(left, x(history[i - 1].time)), 58, x(history[i].time) - x(history[i - 1].time) + 1, 3);
  }
}

function drawTimeConstants(values) {
  const { pen, width, height } = prepareCanvas($("taus"));
  if (!values || !values.length) {
    $("tau-range").textContent = "none in this cell";
    return;
  }
  const columns = Math.ceil(Math.sqrt((values.length * width) / height));
  const rows = Math.ceil(values.length / columns);
  const [wide, tall] = [width / columns, height / rows];
  values.forEach((tau, i) => {
    const share = Math.min(1, Math.max(0, (Math.log10(tau) + 2) / 4)); // from 0.01 s to 100 s
    const maxRadius = Math.min(wide, tall, 23) / 2 - 1;
    pen.fillStyle = `oklch(0.68 0.15 ${40 + 200 * share})`;
    pen.beginPath();
    pen.arc((0.5 + (i % columns)) * wide, (0.5 + Math.floor(i / columns)) * tall, Math.max(1.5, maxRadius * (0.2 + 0.8 * share)), 0, 7);
    pen.fill();
  });
  const short = (tau) => (tau < 10 ? tau.toPrecision(2) : Math.round(tau));
  $("tau-range").textContent = `${short(Math.min(...values))} s (fast) to ${short(Math.max(...values))} s (slow)`;
}
