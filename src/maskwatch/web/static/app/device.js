// The engine on this device: a worker with onnxruntime-web. Nothing it does can leave the browser.

import { STRINGS } from "./strings.js";

/**
 * @typedef {import("./codec.js").Card} Card
 * @typedef {import("./device-worker.js").Backend} Backend
 * @typedef {import("./faces.js").Look} Look
 * @typedef {{maxSide: number, scoreThreshold: number}} Wish `maxSide` 0: as the card says, and closer where it pays
 */

const BASE = new URL("./", import.meta.url).href;
const MOST_THREADS = 4;

/** A worker that answers one request after another. It is started from a blob, as such a worker is bound by the
 * page's own content security policy, wherever the page is served from. */
class Asked {
  constructor() {
    const code = `import ${JSON.stringify(`${BASE}device-worker.js`)};`;
    const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    this.worker = new Worker(address, { type: "module" });
    /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void}>} */
    this.waiting = new Map();
    this.last = 0;
    this.worker.addEventListener("message", ({ data }) => {
      const asked = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if (data.error === undefined) asked?.resolve(data.value);
      else asked?.reject(new Error(data.error));
    });
    this.worker.addEventListener("error", (event) => {
      for (const { reject } of this.waiting.values()) reject(new Error(event.message || "runtime"));
      this.waiting.clear();
    });
  }

  /** @param {Record<string, unknown>} request @param {Transferable[]} [transfer] @returns {Promise<any>} */
  ask(request, transfer = []) {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, ...request }, transfer);
    });
  }

  end() {
    this.worker.terminate();
    for (const { reject } of this.waiting.values()) reject(new Error("ended"));
    this.waiting.clear();
  }
}

export class DeviceEngine {
  name = "device";

  constructor() {
    this.asked = new Asked();
    /** @type {Card | null} */
    this.card = null;
    this.where = "";
  }

  /** The detectors that are offered. @returns {Promise<Card[]>} */
  cards() {
    return worded(this.asked.ask({ kind: "cards", base: BASE }));
  }

  /** @param {Card} card @param {Backend} backend @param {number} [threads] */
  async load(card, backend, threads = mostThreads()) {
    const done = await worded(this.asked.ask({ kind: "load", base: BASE, card, backend, threads }));
    this.card = card;
    this.where = done.backend === "webgpu" ? STRINGS.webgpu : STRINGS.wasm(done.threads);
    return done;
  }

  /** Faces of one picture; an ImageBitmap is used up. @param {Blob | ImageBitmap} source @param {Wish} wish
   * @returns {Promise<Look>} */
  async detect(source, wish) {
    if (!this.card) throw new Error(STRINGS.loading);
    const started = performance.now();
    const transfer = source instanceof ImageBitmap ? [source] : [];
    const found = await this.asked.ask({ kind: "detect", source, ...wish }, transfer);
    const { name, version, sha256 } = this.card;
    return { ...found, ms: performance.now() - started, where: this.where, model: { name, version, sha256 } };
  }

  end() {
    this.asked.end();
  }
}

/** Threads worth having: without isolation there is one, and small pictures gain nothing from many. */
export function mostThreads() {
  return self.crossOriginIsolated ? Math.max(1, Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1)) : 1;
}

/** Whether a graphics card can be asked that is not a slow imitation. */
export async function hasWebGpu() {
  const gpu = /** @type {any} */ (navigator).gpu;
  const adapter = await gpu?.requestAdapter().catch(() => null);
  return Boolean(adapter && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter));
}

/** @template T @param {Promise<T>} promise @returns {Promise<T>} */
const worded = (promise) =>
  promise.catch((error) => {
    if (error.message === "runtime") throw new Error(STRINGS.runtimeMissing);
    if (error.message === "model") throw new Error(STRINGS.modelMissing);
    throw error;
  });
