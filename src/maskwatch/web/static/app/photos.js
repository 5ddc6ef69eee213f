// The photos of this session: opened one after another, shown one at a time, and looked at again when asked.

import { find, make } from "./dom.js";
import { draw } from "./drawing.js";
import { inWords, summarise } from "./faces.js";
import { STRINGS } from "./strings.js";

/**
 * @typedef {import("./faces.js").Look} Look
 * @typedef {{file: File, thumb: HTMLCanvasElement, look: Look | null, problem: string}} Photo
 */

const MOST_PX = 4096;
const THUMB_PX = 96;

export class Photos {
  /** @param {(file: File) => Promise<Look>} look @param {() => void} changed */
  constructor(look, changed) {
    this.look = look;
    this.changed = changed;
    /** @type {Photo[]} */
    this.all = [];
    this.place = -1;
    /** @type {ImageBitmap | null} what is shown, at most MOST_PX large */
    this.shown = null;
    this.turn = 0;
  }

  get current() {
    return this.all[this.place] ?? null;
  }

  /** Add files and look at each. @param {File[]} files */
  async open(files) {
    const first = this.all.length;
    for (const file of files) {
      this.all.push({ file, thumb: make("canvas", { width: `${THUMB_PX}`, height: `${THUMB_PX}` }), look: null, problem: "" });
    }
    await this.select(first);
    await this.lookAtAll(this.all.slice(first));
  }

  /** Look at all again, after a setting was changed. */
  async again() {
    for (const photo of this.all) photo.look = null;
    this.changed();
    await this.lookAtAll([...this.all]);
  }

  /** @param {Photo[]} photos */
  async lookAtAll(photos) {
    const turn = ++this.turn;
    for (const photo of this.all) if (!photos.includes(photo) && !photo.look && !photo.problem) photos.push(photo);
    for (const photo of photos) {
      if (turn !== this.turn || !this.all.includes(photo)) return; // a newer wish takes over
      await this.lookAt(photo);
      this.changed();
    }
  }

  /** @param {Photo} photo */
  async lookAt(photo) {
    try {
      const bitmap = await bitmapOf(photo.file, THUMB_PX * 2);
      drawThumb(photo.thumb, bitmap);
    } catch {
      photo.problem = STRINGS.unreadable(photo.file.name);
      return;
    }
    try {
      photo.look = await this.look(photo.file);
      photo.problem = "";
    } catch (error) {
      photo.problem = STRINGS.failed(error instanceof Error ? error.message : String(error));
    }
  }

  /** Show the photo at that place. @param {number} place */
  async select(place) {
    this.place = place;
    const photo = this.current;
    this.shown?.close();
    this.shown = null;
    if (photo) {
      const bitmap = await bitmapOf(photo.file, MOST_PX).catch(() => null);
      if (this.current !== photo) return bitmap?.close();
      this.shown = bitmap;
    }
    this.changed();
  }

  clear() {
    this.turn += 1;
    this.all = [];
    this.select(-1);
  }

  /** The current photo with its faces. @param {HTMLCanvasElement} canvas @param {number} chosen */
  draw(canvas, chosen) {
    if (!this.shown) return;
    const look = this.current?.look;
    const size = /** @type {[number, number]} */ ([this.shown.width, this.shown.height]);
    draw(canvas, this.shown, size, look?.faces ?? [], look ? size[0] / look.width : 1, chosen);
  }

  /** The strip of small pictures. */
  drawStrip() {
    const strip = find("#photos");
    strip.hidden = this.all.length < 2;
    strip.replaceChildren(
      ...this.all.map((photo, place) => {
        const button = make("button", { type: "button", "aria-current": String(place === this.place) }, photo.thumb);
        button.setAttribute("aria-label", STRINGS.photoOf(photo.file.name, wordsOf(photo)));
        button.addEventListener("click", async () => {
          await this.select(place);
          /** @type {HTMLElement | null} */ (strip.children[place]?.firstElementChild)?.focus();
        });
        return make("li", { class: photo.problem ? "failed" : worst(photo.look) }, button);
      }),
    );
  }
}

/** What is known of a photo, in words. @param {Photo} photo */
export function wordsOf(photo) {
  if (photo.problem) return photo.problem;
  return photo.look ? inWords(summarise([photo.look.faces])) : STRINGS.looking;
}

/** The verdict that most needs attention. @param {Look | null} look */
function worst(look) {
  const verdicts = new Set(look?.faces.map((face) => face.verdict));
  const order = /** @type {const} */ (["without_mask", "mask_worn_incorrectly", "uncertain", "with_mask"]);
  return order.find((verdict) => verdicts.has(verdict)) ?? "";
}

/** A picture, upright, with its longer side at most `most` px. @param {File} file @param {number} most */
async function bitmapOf(file, most) {
  const whole = await createImageBitmap(file, { imageOrientation: "from-image" });
  const scale = most / Math.max(whole.width, whole.height);
  if (scale >= 1) return whole;
  const [resizeWidth, resizeHeight] = [whole.width, whole.height].map((side) => Math.max(1, Math.round(side * scale)));
  const small = await createImageBitmap(whole, { resizeWidth, resizeHeight, resizeQuality: "medium" });
  whole.close();
  return small;
}

/** The middle of a picture. @param {HTMLCanvasElement} canvas @param {ImageBitmap} bitmap */
function drawThumb(canvas, bitmap) {
  const side = Math.min(bitmap.width, bitmap.height);
  const [left, top] = [(bitmap.width - side) / 2, (bitmap.height - side) / 2];
  canvas.getContext("2d")?.drawImage(bitmap, left, top, side, side, 0, 0, canvas.width, canvas.height);
  bitmap.close();
}
