// The engine on the server: sends the picture, and gets back what the device's engine would have found.

import { request } from "./session.js";
import { STRINGS } from "./strings.js";

/**
 * @typedef {import("./codec.js").Card} Card
 * @typedef {import("./faces.js").Look} Look
 */

const JPEG_QUALITY = 0.92;

export class ServerEngine {
  name = "server";
  where = STRINGS.server;

  constructor() {
    /** @type {Card | null} */
    this.card = null;
  }

  /** The one detector of the server. @returns {Promise<Card[]>} */
  async cards() {
    return [await (await request("v1/model")).json()];
  }

  /** @param {Card} card */
  async load(card) {
    this.card = card;
  }

  /** Faces of one picture; an ImageBitmap is used up.
   * @param {Blob | ImageBitmap} source @param {import("./device.js").Wish} wish @returns {Promise<Look>} */
  async detect(source, wish) {
    const started = performance.now();
    const body = source instanceof ImageBitmap ? await jpegOf(source) : source;
    const threshold = Math.max(0.01, wish.scoreThreshold);
    const isPhoto = source instanceof Blob; // a camera's pictures come as bitmaps
    const side = isPhoto ? wish.maxSide : wish.maxSide || this.card?.max_side || 0;
    const sided = side ? `&max_side=${side}` : "";
    const address = `v1/detect?score_threshold=${threshold}&turned=${isPhoto}${sided}`;
    const headers = { "Content-Type": body.type || "application/octet-stream", Accept: "application/json" };
    const answer = await (await request(address, { method: "POST", headers, body })).json();
    const { width, height, faces } = answer.images[0];
    return { width, height, faces, ms: performance.now() - started, where: this.where, model: answer.model };
  }

  end() {}
}

/** @param {ImageBitmap} bitmap */
async function jpegOf(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY });
}
