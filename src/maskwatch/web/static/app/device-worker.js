// Detection in a thread of its own: loads onnxruntime and the model, and looks at one picture after another.

import { isWorthACloserLook } from "./closer.js";
import { facesOf, letterbox } from "./codec.js";
import { bestScore, betterWay, isBetter, OTHER_WAYS, turnedBack, turnedSize, turning } from "./turns.js";

/**
 * @typedef {import("./codec.js").Card} Card
 * @typedef {"wasm" | "webgpu"} Backend
 * @typedef {{base: string, card: Card, backend: Backend, threads: number}} LoadRequest
 * @typedef {{source: Blob | ImageBitmap, maxSide: number, scoreThreshold: number}} DetectRequest
 * @typedef {{kind: "load", id: number} & LoadRequest | {kind: "detect", id: number} & DetectRequest
 *   | {kind: "cards", id: number, base: string}} Request
 */

/** @type {{ort: any, session: any, card: Card, canvas: OffscreenCanvas} | null} */
let loaded = null;

/** @param {LoadRequest} request */
async function load({ base, card, backend, threads }) {
  const started = performance.now();
  const vendor = `${base}vendor/ort/`;
  const variant = backend === "webgpu" ? ".asyncify" : "";
  const model = fetched(`${base}models/${card.file}`);
  model.catch(() => {}); // told below, should the runtime not fail first
  const ort = await import(`${vendor}ort.${backend}.min.mjs`).catch(() => {
    throw new Error("runtime");
  });
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  ort.env.wasm.wasmPaths = {
    mjs: `${vendor}ort-wasm-simd-threaded${variant}.mjs`,
    wasm: `${vendor}ort-wasm-simd-threaded${variant}.wasm`,
  };
  const session = await ort.InferenceSession.create(await model, {
    executionProviders: backend === "webgpu" ? ["webgpu", "wasm"] : ["wasm"],
    logSeverityLevel: 3,
  });
  loaded = { ort, session, card, canvas: new OffscreenCanvas(1, 1) };
  const blank = new Uint8Array(64 * 64 * 4);
  await run(loaded, blank, [64, 64], 0.5); // compiles, so that the first picture need not
  return { backend, threads: self.crossOriginIsolated ? ort.env.wasm.numThreads : 1, ms: performance.now() - started };
}

/** @param {DetectRequest} request */
async function detect({ source, maxSide, scoreThreshold }) {
  if (!loaded) throw new Error("no model is loaded");
  const isPhoto = source instanceof Blob; // a camera's pictures come as bitmaps
  const bitmap = isPhoto ? await decoded(source) : source;
  const { width, height } = bitmap;
  const side = maxSide || loaded.card.max_side;
  let faces = await look(loaded, bitmap, 0, side, scoreThreshold);
  if (isPhoto) {
    const turned = await lookTurned(loaded, bitmap, faces, side, scoreThreshold);
    const isCloser = !maxSide && isWorthACloserLook([width, height], side, turned.faces, loaded.card);
    faces = isCloser
      ? await look(loaded, bitmap, turned.way, loaded.card.closer_side, scoreThreshold)
      : turned.faces;
  }
  bitmap.close();
  return { width, height, faces };
}

/** Faces of a picture that is turned before, in px of the picture as it is.
 * @param {NonNullable<typeof loaded>} model @param {ImageBitmap} bitmap @param {number} way @param {number} maxSide
 * @param {number} scoreThreshold */
async function look(model, bitmap, way, maxSide, scoreThreshold) {
  const size = /** @type {[number, number]} */ ([bitmap.width, bitmap.height]);
  const turned = turnedSize(way, size);
  const boxed = letterbox(...turned, maxSide, model.card);
  const outputs = await run(model, drawn(model.canvas, bitmap, boxed, way), boxed.padded, scoreThreshold);
  return turnedBack(facesOf(outputs, boxed, turned, model.card), way, size);
}

/** In how many quarter turns a photo shows its faces best, and these: those found in it as it is, or better ones.
 * @param {NonNullable<typeof loaded>} model @param {ImageBitmap} bitmap @param {import("./faces.js").Face[]} faces
 * @param {number} maxSide @param {number} scoreThreshold */
async function lookTurned(model, bitmap, faces, maxSide, scoreThreshold) {
  const { card } = model;
  const shown = bestScore(faces);
  if (shown >= card.upright_score) return { way: 0, faces };
  const glances = [];
  for (const way of OTHER_WAYS) {
    glances.push(bestScore(await look(model, bitmap, way, Math.min(maxSide, card.glance_side), card.turned_score)));
  }
  const way = betterWay(shown, glances, card);
  if (way === 0) return { way, faces };
  const found = await look(model, bitmap, way, maxSide, scoreThreshold);
  return isBetter(bestScore(found), shown, card) ? { way, faces: found } : { way: 0, faces };
}

/** Pixels as they are stored, upright, without a colour profile applied, as Python reads them.
 * @param {Blob} blob */
const decoded = (blob) =>
  createImageBitmap(blob, { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" });

/** RGBA of the letterboxed picture, turned. @param {OffscreenCanvas} canvas @param {ImageBitmap} bitmap
 * @param {import("./codec.js").Letterbox} boxed @param {number} way quarter turns against the clock */
function drawn(canvas, bitmap, boxed, way) {
  const [width, height] = boxed.padded;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  if (!pen) throw new Error("no canvas");
  pen.resetTransform();
  pen.clearRect(0, 0, width, height);
  pen.imageSmoothingQuality = "high";
  const upright = turnedSize(way, boxed.content);
  pen.setTransform(...turning(way, upright));
  pen.drawImage(bitmap, 0, 0, ...upright);
  return pen.getImageData(0, 0, width, height).data;
}

/** @param {NonNullable<typeof loaded>} model @param {Uint8Array | Uint8ClampedArray} pixels
 * @param {[number, number]} size @param {number} scoreThreshold */
async function run({ ort, session, card }, pixels, [width, height], scoreThreshold) {
  const bytes = new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.length);
  const outputs = await session.run(
    {
      images: new ort.Tensor("uint8", bytes, [1, height, width, 4]),
      score_threshold: new ort.Tensor("float32", [scoreThreshold], [1]),
      iou_threshold: new ort.Tensor("float32", [card.iou_threshold], [1]),
      max_detections: new ort.Tensor("int64", [BigInt(card.max_detections)], [1]),
    },
    ["xyxy", "label_scores"],
  );
  return { xyxy: outputs.xyxy.data, label_scores: outputs.label_scores.data };
}

/** @param {string} address */
async function fetched(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error("model");
  return new Uint8Array(await answer.arrayBuffer());
}

/** @param {string} base @returns {Promise<Card[]>} */
async function cards(base) {
  const answer = await fetch(`${base}models/index.json`);
  if (!answer.ok) throw new Error("model");
  return (await answer.json()).models;
}

/** @param {Request} request */
function answer(request) {
  if (request.kind === "cards") return cards(request.base);
  return request.kind === "load" ? load(request) : detect(request);
}

self.addEventListener("message", async ({ data }) => {
  try {
    self.postMessage({ id: data.id, value: await answer(data) });
  } catch (error) {
    self.postMessage({ id: data.id, error: error instanceof Error ? error.message : String(error) });
  }
});
