// Large photos that are worth a look from closer, told as closer.py does it.

/**
 * @typedef {import("./codec.js").Card} Card
 * @typedef {import("./faces.js").Face} Face
 */

/** Whether small faces, or all, may have been lost when a photo of that size was scaled down to `side` px.
 * @param {[number, number]} size @param {number} side @param {Face[]} faces those found then @param {Card} card */
export function isWorthACloserLook(size, side, faces, card) {
  const scale = Math.max(...size) / side;
  if (scale < card.closer_scale) return false;
  const sure = faces.filter((face) => face.score >= card.score_threshold);
  const px = (/** @type {Face["box"]} */ { x1, y1, x2, y2 }) => Math.sqrt(Math.max(0, x2 - x1) * Math.max(0, y2 - y1)) / scale;
  return sure.length === 0 || sure.some((face) => px(face.box) < card.closer_px);
}
