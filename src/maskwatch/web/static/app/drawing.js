// Draws faces on a picture. Colour is never the only sign: each verdict has its own line, badge and word.

import { STRINGS } from "./strings.js";

/** @typedef {import("./faces.js").Face} Face */

/** @type {Record<import("./faces.js").Verdict, {colour: string, badge: string, dashes: number[], doubled: boolean}>} */
export const LOOKS = {
  with_mask: { colour: "#00813f", badge: "✓", dashes: [], doubled: false },
  without_mask: { colour: "#cf1d2a", badge: "✕", dashes: [], doubled: true },
  mask_worn_incorrectly: { colour: "#ad5f00", badge: "!", dashes: [6, 4], doubled: false },
  uncertain: { colour: "#5f6068", badge: "?", dashes: [1.5, 2.5], doubled: false },
};
const SMALLEST_TEXT_PX = 28;

/** A picture with its faces; weak faces first, sure ones over them, the chosen one on top.
 * @param {HTMLCanvasElement} canvas @param {CanvasImageSource} picture @param {[number, number]} size of the canvas
 * @param {Face[]} faces @param {number} scale canvas px for each px of the boxes @param {number} [chosen] */
export function draw(canvas, picture, size, faces, scale, chosen = -1) {
  if (canvas.width !== size[0] || canvas.height !== size[1]) {
    canvas.width = size[0];
    canvas.height = size[1];
  }
  const pen = canvas.getContext("2d");
  if (!pen) return;
  pen.drawImage(picture, 0, 0, ...size);
  const base = Math.max(...size);
  const order = faces.map((_, place) => place).reverse();
  if (chosen >= 0 && chosen < faces.length) order.push(chosen);
  for (const place of order) drawFace(pen, faces[place], place, scale, base, place === chosen);
}

/** @param {CanvasRenderingContext2D} pen @param {Face} face @param {number} place @param {number} scale
 * @param {number} base @param {boolean} isChosen */
function drawFace(pen, face, place, scale, base, isChosen) {
  const look = LOOKS[face.verdict];
  const [x, y, x2, y2] = [face.box.x1, face.box.y1, face.box.x2, face.box.y2].map((value) => value * scale);
  const [width, height] = [x2 - x, y2 - y];
  const line = Math.max(1.5, Math.min(base / 320, width / 10)) * (isChosen ? 1.8 : 1);
  pen.setLineDash([]);
  pen.strokeStyle = "#fff";
  pen.lineWidth = line + 2;
  pen.strokeRect(x, y, width, height);
  pen.strokeStyle = look.colour;
  pen.lineWidth = line;
  pen.setLineDash(look.dashes.map((part) => part * line));
  pen.strokeRect(x, y, width, height);
  if (look.doubled && width > 10 * line) {
    const gap = 2 * line;
    pen.lineWidth = line / 2;
    pen.strokeRect(x + gap, y + gap, width - 2 * gap, height - 2 * gap);
  }
  pen.setLineDash([]);
  drawTag(pen, face, place, { x, y, y2, width, base });
}

/** A strip above the box (below, where there is no room) with the face's number, badge, word and score.
 * @param {CanvasRenderingContext2D} pen @param {Face} face @param {number} place
 * @param {{x: number, y: number, y2: number, width: number, base: number}} at */
function drawTag(pen, face, place, { x, y, y2, width, base }) {
  const look = LOOKS[face.verdict];
  const px = Math.max(10, Math.min(base / 38, width / 5.2, 48));
  const number = face.track_id === undefined ? `${place + 1}` : `#${face.track_id}`;
  const words = `${number} ${look.badge} ${STRINGS.tag[face.verdict]} ${Math.round(face.score * 100)} %`;
  const text = width >= SMALLEST_TEXT_PX ? words : look.badge;
  pen.font = `600 ${px}px system-ui, sans-serif`;
  pen.textBaseline = "middle";
  const strip = pen.measureText(text).width + px * 0.8;
  const height = px * 1.5;
  const left = Math.max(0, Math.min(x - 1, pen.canvas.width - strip));
  const top = y >= height ? y - height : Math.min(y2, pen.canvas.height - height);
  pen.fillStyle = look.colour;
  pen.fillRect(left, top, strip, height);
  pen.fillStyle = "#fff";
  pen.fillText(text, left + px * 0.4, top + height / 2);
}
