// Sends camera frames with their capture times over a WebSocket, one at a time, and receives predictions.

import { clear, correct, show } from "./view.js";
import { teachingPanel } from "./teach.js";

const $ = (id) => document.getElementById(id);
const JPEG_QUALITY = 0.85;
const FINAL_CODES = new Set([1007, 1008, 1009, 4000]); // close codes after which the page does not reconnect
const parameters = new URLSearchParams(location.search);

const video = $("video");
const canvas = document.createElement("canvas");
let socket = null;
let hello = null;
let inFlight = null; // the frame that awaits its prediction
let paused = false;
let facing = "user";
let attempts = 0;

/** Measurements, for display and for programs that control the page. */
const measured = { delays: [], frames: 0, since: performance.now(), label: "", last: null };
window.liquidvision = measured;

function address(path, more = {}) {
  const url = new URL(path, location.href);
  url.search = new URLSearchParams({ ...(parameters.has("token") && { token: parameters.get("token") }), ...more });
  return url;
}

const send = (command) => {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(command));
  else toast("not connected");
};
measured.send = send;
const panel = teachingPanel({ send, thumbnail, address: (path) => address(path, { session: hello?.session ?? "" }) });

function connect() {
  const url = address("ws", { resume: sessionStorage.getItem("session") ?? "" });
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  socket.onmessage = (event) => receive(JSON.parse(event.data));
  socket.onclose = (event) => {
    inFlight = null;
    panel.endTraining({ disconnected: true });
    status(event.reason || "no connection");
    if (FINAL_CODES.has(event.code)) curtain(`The server closed the connection: ${event.reason || event.code}`, connect);
    else setTimeout(connect, Math.min(8000, 500 * 2 ** attempts++));
  };
}

function receive(message) {
  if (message.type === "hello") {
    hello = message;
    attempts = 0;
    sessionStorage.setItem("session", message.session);
    $("model").textContent = `${message.model} · ${message.labels} labels`;
    $("ahead").textContent = "";
    $("ahead").hidden = !message.look_ahead;
    if (video.srcObject) curtain("");
    status("connected");
  } else if (message.type === "prediction") {
    const sent = inFlight;
    inFlight = null;
    measure(sent);
    show(message, panel.recording());
    panel.highlight(message.top[0][0]);
    measured.label = message.top[0][0];
    measured.last = message;
  } else if (message.type === "ahead") {
    correct(message);
    measured.ahead = message;
  } else if (message.type === "teaching") panel.update(message);
  else if (message.type === "training") panel.training(message);
  else if (message.type === "trained") panel.trained(message);
  else if (message.type === "note") {
    panel.endTraining({ disconnected: false });
    toast(message.text);
  }
}

/** Measure the delay from the capture of a frame to its prediction, and the frame rate. */
function measure(sent) {
  if (!sent) return; // sent over a lost connection
  measured.delays.push(performance.now() - sent.captured);
  if (measured.delays.length > 3000) measured.delays.shift();
  measured.frames += 1;
  const seconds = (performance.now() - measured.since) / 1000;
  if (seconds < 1) return;
  const recent = measured.delays.slice(-measured.frames).sort((a, b) => a - b);
  const median = recent[Math.floor(recent.length / 2)];
  $("timing").textContent = `${(measured.frames / seconds).toFixed(0)} frames/s · ${median.toFixed(0)} ms to label`;
  status("live", true);
  [measured.frames, measured.since] = [0, performance.now()];
}

/** Send a new camera frame unless another one is in flight. */
function onFrame(now, metadata) {
  nextFrame();
  if (paused || inFlight || !hello || socket?.readyState !== WebSocket.OPEN || !video.videoWidth) return;
  const captured = metadata?.captureTime ?? now;
  inFlight = { captured };
  const target = socket;
  const scale = Math.min(1, hello.side / Math.min(video.videoWidth, video.videoHeight));
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d", { alpha: false }).drawImage(video, 0, 0, canvas.width, canvas.height);
  canvas.toBlob(async (blob) => {
    const time = new DataView(new ArrayBuffer(8));
    time.setFloat64(0, captured / 1000, true);
    if (!blob) inFlight = null;
    else if (target.readyState === WebSocket.OPEN) target.send(await new Blob([time.buffer, blob]).arrayBuffer());
  }, "image/jpeg", JPEG_QUALITY);
}

function nextFrame() {
  if ("requestVideoFrameCallback" in HTMLVideoElement.prototype) video.requestVideoFrameCallback(onFrame);
  else requestAnimationFrame((now) => onFrame(now));
}

async function openCamera() {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  try {
    if (!navigator.mediaDevices) throw new Error("browsers allow the camera only on https pages and on localhost");
    video.srcObject = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: facing, width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } },
    });
    await video.play();
    curtain("");
    const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((each) => each.kind === "videoinput");
    $("switch-camera").hidden = cameras.length < 2;
    video.srcObject.getTracks()[0].onended = () => curtain("The camera was disconnected.", openCamera);
  } catch (error) {
    curtain(error.name === "NotAllowedError" ? "Camera access is blocked. Allow it in the address bar, then try again." : `No camera: ${error.message}`, openCamera);
  }
}

function thumbnail() {
  const small = document.createElement("canvas");
  small.width = 120;
  small.height = 90;
  small.getContext("2d").drawImage(video, 0, 0, small.width, small.height);
  return small.toDataURL("image/jpeg", 0.7);
}

function curtain(text, action = null) {
  $("curtain").hidden = !text;
  $("curtain-text").textContent = text;
  $("retry").hidden = !action;
  $("retry").onclick = () => {
    curtain("Connecting …");
    action();
  };
}

function status(text, live = false) {
  $("status").textContent = text;
  $("status").classList.toggle("live", live);
}

let toastTimer = 0;
function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => ($("toast").hidden = true), 5000);
}

function setPressed(button, on) {
  button.setAttribute("aria-pressed", String(on));
}

function togglePause() {
  paused = !paused;
  setPressed($("pause"), paused);
  if (paused) video.pause();
  else video.play();
  status(paused ? "paused" : "live", !paused);
}

function resetMemory() {
  send({ type: "reset" });
  clear();
}

function setMirrored(on) {
  video.classList.toggle("mirrored", on);
  setPressed($("mirror"), on);
}

$("pause").onclick = togglePause;
$("reset").onclick = resetMemory;
$("mirror").onclick = () => setMirrored(!video.classList.contains("mirrored"));
$("switch-camera").onclick = () => {
  facing = facing === "user" ? "environment" : "user";
  setMirrored(facing === "user");
  openCamera();
};
addEventListener("keydown", (event) => {
  if (event.target.matches("input[type=text]") || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "r") resetMemory();
  if (event.key === "p") togglePause();
});

setMirrored(true);
nextFrame();
connect();
openCamera();
