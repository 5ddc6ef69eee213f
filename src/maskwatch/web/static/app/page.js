// The page for pictures: photos, the webcam, or a running camera, looked at by the engine of one's choice.

import * as carry from "./carry.js";
import { facts, fillWords, find, make, setText } from "./dom.js";
import { draw } from "./drawing.js";
import { Engines } from "./engines.js";
import { inWords, summarise } from "./faces.js";
import { takePhotos } from "./intake.js";
import { LiveView } from "./live.js";
import { Photos, wordsOf } from "./photos.js";
import { save, showCounts, showTable } from "./results.js";
import { STRINGS } from "./strings.js";
import { Webcam } from "./webcam.js";

/**
 * @typedef {import("./faces.js").Look} Look
 * @typedef {import("./faces.js").Face} Face
 */

const canvas = /** @type {HTMLCanvasElement} */ (find("#picture"));
const camera = new Webcam();
const engines = new Engines(() => photos.again());
const photos = new Photos((file) => engines.look(file), showPhotos);
const live = new LiveView(showFaces);
let chosen = -1;
/** @type {Look | null} the last picture of the webcam */
let webcamLook = null;

/** Faces of whatever is open. @param {Face[]} faces @param {string} words */
function showFaces(faces, words) {
  setText(find("#words"), words);
  showCounts(summarise([faces]));
  const table = find("#faces");
  if (table.contains(document.activeElement)) return; // a row that is being read stays
  showTable(faces, (place) => {
    chosen = place;
    if (!camera.isOpen) photos.draw(canvas, chosen);
  });
}

function showPhotos() {
  const photo = photos.current;
  if (camera.isOpen || live.isOpen) return;
  chosen = -1;
  find("#empty").hidden = photo !== null;
  find("#clear").hidden = photo === null;
  canvas.hidden = photos.shown === null;
  photos.drawStrip();
  photos.draw(canvas, chosen);
  showProblem(photo?.problem ?? "");
  const words = photo ? wordsOf(photo) : STRINGS.resultsEmpty;
  showFaces(photo?.look?.faces ?? [], photo?.problem ? STRINGS.noFaces : words);
  canvas.setAttribute("aria-label", photo ? STRINGS.pictureOf(photo.file.name, words) : "");
  setText(find("#took"), photo?.look ? STRINGS.took(Math.round(photo.look.ms), photo.look.where) : "");
  allowSaving(photos.shown !== null, photos.all.some(({ look, problem }) => look || problem));
}

/** @param {string} words "" for none */
function showProblem(words) {
  setText(find("#message"), words);
  find("#message").hidden = words === "";
}

/** @param {boolean} picture @param {boolean} results */
function allowSaving(picture, results) {
  /** @type {HTMLButtonElement} */ (find("#save-png")).disabled = !picture;
  /** @type {HTMLButtonElement} */ (find("#save-json")).disabled = !results;
}

/** @param {File[]} files */
async function open(files) {
  stopWebcam();
  live.close();
  showProblem("");
  await photos.open(files);
}

/** @param {string} [id] */
async function startWebcam(id) {
  live.close();
  showProblem("");
  const button = find("#webcam");
  try {
    const devices = await camera.open(id);
    showCameras(devices);
  } catch (error) {
    showProblem(error instanceof Error ? error.message : String(error));
    return;
  }
  button.setAttribute("aria-pressed", "true");
  setText(button, STRINGS.webcamStop);
  find("#empty").hidden = true;
  find("#photos").hidden = true;
  find("#clear").hidden = true;
  canvas.hidden = false;
  setText(find("#words"), STRINGS.looking);
  await watch(camera.stream);
}

/** One picture after another, until the camera is closed. @param {MediaStream | null} stream */
async function watch(stream) {
  /** @type {number[]} */
  const times = [];
  try {
    while (stream !== null && camera.stream === stream) {
      const frame = await camera.next();
      const copy = await createImageBitmap(frame);
      const look = await engines.look(frame);
      if (camera.stream !== stream) return;
      webcamLook = look;
      draw(canvas, copy, [copy.width, copy.height], look.faces, copy.width / look.width, chosen);
      copy.close();
      times.push(performance.now());
      if (times.length > 30) times.shift();
      const words = inWords(summarise([look.faces]));
      showFaces(look.faces, words);
      canvas.setAttribute("aria-label", STRINGS.pictureOf(STRINGS.webcamFrame, words));
      const rate = times.length > 1 ? ((times.length - 1) * 1000) / (times[times.length - 1] - times[0]) : 0;
      setText(find("#took"), STRINGS.perSecond(Math.round(rate), Math.round(look.ms), look.where));
      allowSaving(true, true);
    }
  } catch (error) {
    stopWebcam();
    showProblem(STRINGS.failed(error instanceof Error ? error.message : String(error)));
  }
}

function stopWebcam() {
  if (!camera.isOpen) return;
  camera.close();
  webcamLook = null;
  find("#webcam").setAttribute("aria-pressed", "false");
  setText(find("#webcam"), STRINGS.webcam);
  find("#cameras").hidden = true;
  showPhotos();
}

/** @param {MediaDeviceInfo[]} devices */
function showCameras(devices) {
  const choice = /** @type {HTMLSelectElement} */ (find("#cameras select"));
  find("#cameras").hidden = devices.length < 2;
  choice.replaceChildren(
    ...devices.map((one, place) => make("option", { value: one.deviceId }, one.label || `${STRINGS.openCamera} ${place + 1}`)),
  );
  choice.value = camera.id;
  choice.onchange = () => startWebcam(choice.value);
}

async function savePicture() {
  if (live.isOpen) live.drawTo(canvas);
  const blob = await new Promise((/** @type {BlobCallback} */ resolve) => canvas.toBlob(resolve, "image/png"));
  if (blob) save(blob, `${nameOf()}-maskwatch.png`);
}

/** Results in the form of POST /v1/detect. */
function saveResults() {
  const looks = camera.isOpen ? [{ name: STRINGS.webcamFrame, look: webcamLook, problem: "" }] :
    live.isOpen ? [{ ...live.result(), problem: "" }] :
    photos.all.map(({ file, look, problem }) => ({ name: file.name, look, problem }));
  const images = looks.map(({ name, look, problem }) =>
    look
      ? { name, width: look.width, height: look.height, faces: look.faces, summary: summarise([look.faces]) }
      : { name, problem: problem ? { title: problem, status: 422 } : { title: STRINGS.notYet(name), status: 503 } },
  );
  const summary = summarise(looks.map(({ look }) => look?.faces ?? null));
  const model = looks.find(({ look }) => look)?.look?.model ?? {};
  const content = JSON.stringify({ model, images, summary }, null, 1);
  save(new Blob([content], { type: "application/json" }), `${nameOf()}-maskwatch.json`);
}

const nameOf = () => (camera.isOpen || live.isOpen ? "camera" : (photos.current?.file.name ?? "").replace(/\.[^.]*$/, ""));

async function openExample() {
  const answer = await fetch(new URL("example.jpg", import.meta.url));
  await open([new File([await answer.blob()], "example.jpg", { type: "image/jpeg" })]);
}

function start() {
  fillWords();
  showCounts(summarise([]));
  engines.start(() => photos.all.map(({ file }) => file));
  takePhotos(open);
  find("#clear").addEventListener("click", () => photos.clear());
  find("#webcam").addEventListener("click", () => (camera.isOpen ? stopWebcam() : startWebcam()));
  find("#example").addEventListener("click", openExample);
  find("#save-png").addEventListener("click", savePicture);
  find("#save-json").addEventListener("click", saveResults);
  live.offer(() => {
    stopWebcam();
    photos.clear();
    find("#empty").hidden = true;
    allowSaving(true, true);
  }, showPhotos);
  carry.take().then((files) => {
    if (files.length > 0) open(files);
  }, () => {});
  if (facts.server === "none" && "serviceWorker" in navigator) {
    import("./offline.js").then((module) => module.start(() => photos.all.length === 0 && !camera.isOpen));
  }
}

start();
