// The camera, the socket, and the frames between them: one in flight, each with the time at which it was captured.

import { clear, show } from "./view.js";
import { teaching } from "./teach.js";

const $ = (id) => document.getElementById(id);
const QUALITY = 0.85; // of the JPEGs
const FINAL = new Set([1007, 1008, 1009, 4000]); // close codes after which trying again would not help
const given = new URLSearchParams(location.search);

const video = $("video");
const canvas = document.createElement("canvas");
let socket = null;
let hello = null;
let waiting = null; // what is known of the frame in flight
let paused = false;
let facing = "user";
let attempts = 0;

/** What the page measures, for the line below the picture, and for programs that drive it. */
const measured = { delays: [], frames: 0, since: performance.now(), label: "", last: null };
window.liquidvision = measured;

function address(path, more = {}) {
  const url = new URL(path, location.href);
  url.search = new URLSearchParams({ ...(given.has("token") && { token: given.get("token") }), ...more });
  return url;
}

const send = (command) => {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(command));
  else toast("not connected");
};
measured.send = send;
const panel = teaching({ send, thumbnail, address: (path) => address(path, { session: hello?.session ?? "" }) });

function connect() {
  const url = address("ws", { resume: sessionStorage.getItem("session") ?? "" });
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  socket.onmessage = (event) => receive(JSON.parse(event.data));
  socket.onclose = (event) => {
    waiting = null;
    panel.rest();
    status(event.reason || "no connection");
    if (FINAL.has(event.code)) curtain(`The server closed the connection: ${event.reason || event.code}`, connect);
    else setTimeout(connect, Math.min(8000, 500 * 2 ** attempts++));
  };
}

function receive(message) {
  if (message.type === "hello") {
    hello = message;
    attempts = 0;
    sessionStorage.setItem("session", message.session);
    $("model").textContent = `${message.model} · ${message.labels} labels`;
    if (video.srcObject) curtain("");
    status("connected");
  } else if (message.type === "prediction") {
    const sent = waiting;
    waiting = null;
    measure(sent);
    show(message, panel.recording());
    panel.mark(message.top[0][0]);
    measured.label = message.top[0][0];
    measured.last = message;
  } else if (message.type === "teaching") panel.take(message);
  else if (message.type === "training") panel.training(message);
  else if (message.type === "trained") panel.trained(message);
  else if (message.type === "note") {
    panel.rest();
    toast(message.text);
  }
}

/** Count a label that came back: how long after its frame was captured, and how many in a second. */
function measure(sent) {
  if (!sent) return; // of a connection that was lost
  measured.delays.push(performance.now() - sent.captured);
  if (measured.delays.length > 3000) measured.delays.shift();
  measured.frames += 1;
  const seconds = (performance.now() - measured.since) / 1000;
  if (seconds < 1) return;
  const lately = measured.delays.slice(-measured.frames).sort((a, b) => a - b);
  const middle = lately[Math.floor(lately.length / 2)];
  $("timing").textContent = `${(measured.frames / seconds).toFixed(0)} frames/s · ${middle.toFixed(0)} ms to label`;
  status("live", true);
  [measured.frames, measured.since] = [0, performance.now()];
}

/** A new picture of the camera is there: it goes out, unless one is under way. */
function onFrame(now, metadata) {
  nextFrame();
  if (paused || waiting || !hello || socket?.readyState !== WebSocket.OPEN || !video.videoWidth) return;
  const captured = metadata?.captureTime ?? now;
  waiting = { captured };
  const mine = socket;
  const scale = Math.min(1, hello.side / Math.min(video.videoWidth, video.videoHeight));
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d", { alpha: false }).drawImage(video, 0, 0, canvas.width, canvas.height);
  canvas.toBlob(async (blob) => {
    const time = new DataView(new ArrayBuffer(8));
    time.setFloat64(0, captured / 1000, true);
    if (!blob) waiting = null;
    else if (mine.readyState === WebSocket.OPEN) mine.send(await new Blob([time.buffer, blob]).arrayBuffer());
  }, "image/jpeg", QUALITY);
}

function nextFrame() {
  if ("requestVideoFrameCallback" in HTMLVideoElement.prototype) video.requestVideoFrameCallback(onFrame);
  else requestAnimationFrame((now) => onFrame(now));
}

async function openCamera() {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  try {
    if (!navigator.mediaDevices) throw new Error("the browser gives no camera to pages without https; use a proxy with https, or localhost");
    video.srcObject = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: facing, width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } },
    });
    await video.play();
    curtain("");
    const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((each) => each.kind === "videoinput");
    $("turn").hidden = cameras.length < 2;
    video.srcObject.getTracks()[0].onended = () => curtain("The camera was taken away.", openCamera);
  } catch (error) {
    curtain(error.name === "NotAllowedError" ? "The camera is not allowed: allow it in the address bar." : `No camera: ${error.message}`, openCamera);
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
  $("again").hidden = !action;
  $("again").onclick = () => {
    curtain("One moment …");
    action();
  };
}

function status(text, live = false) {
  $("status").textContent = text;
  $("status").classList.toggle("live", live);
}

let toasting = 0;
function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toasting);
  toasting = setTimeout(() => ($("toast").hidden = true), 5000);
}

function pressed(button, on) {
  button.setAttribute("aria-pressed", String(on));
}

function pause() {
  paused = !paused;
  pressed($("pause"), paused);
  if (paused) video.pause();
  else video.play();
  status(paused ? "paused" : "live", !paused);
}

function forget() {
  send({ type: "reset" });
  clear();
}

function mirror(on) {
  video.classList.toggle("mirrored", on);
  pressed($("mirror"), on);
}

$("pause").onclick = pause;
$("forget").onclick = forget;
$("mirror").onclick = () => mirror(!video.classList.contains("mirrored"));
$("turn").onclick = () => {
  facing = facing === "user" ? "environment" : "user";
  mirror(facing === "user");
  openCamera();
};
addEventListener("keydown", (event) => {
  if (event.target.matches("input[type=text]") || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "r") forget();
  if (event.key === "p") pause();
});

mirror(true);
nextFrame();
connect();
openCamera();
