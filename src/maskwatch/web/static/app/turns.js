// Photos that lie on their side or stand on their head, told and set right as turns.py does it.

/**
 * @typedef {import("./codec.js").Card} Card
 * @typedef {import("./faces.js").Face} Face
 * @typedef {[number, number]} Size width and height in px
 */

/** Quarter turns against the clock. */
export const OTHER_WAYS = [1, 2, 3];

/** Score of the surest face, 0 without one. @param {Face[]} faces */
export const bestScore = (faces) => Math.max(0, ...faces.map((face) => face.score));

/** In how many quarter turns a photo shows its faces best; 0: as it is.
 * @param {number} shown best score of the photo as it is @param {number[]} glances those of `OTHER_WAYS` @param {Card} card */
export function betterWay(shown, glances, card) {
  const best = Math.max(...glances);
  return isBetter(best, shown, card) ? OTHER_WAYS[glances.indexOf(best)] : 0;
}

/** Whether a turned photo's surest face is so much surer than that of the photo as it is.
 * @param {number} turned @param {number} shown @param {Card} card */
export const isBetter = (turned, shown, card) =>
  turned >= card.turned_score && logOdds(turned) - logOdds(shown) >= card.turned_gain;

/** @param {number} way @param {Size} size @returns {Size} */
export const turnedSize = (way, [width, height]) => (way % 2 ? [height, width] : [width, height]);

/** What a canvas is told to turn a picture of that size. @param {number} way @param {Size} size
 * @returns {[number, number, number, number, number, number]} */
export function turning(way, [width, height]) {
  if (way === 1) return [0, -1, 1, 0, 0, width];
  if (way === 2) return [-1, 0, 0, -1, width, height];
  if (way === 3) return [0, 1, -1, 0, height, 0];
  return [1, 0, 0, 1, 0, 0];
}

/** Faces of the turned picture in px of the picture as it is, of that size.
 * @param {Face[]} faces @param {number} way @param {Size} size @returns {Face[]} */
export function turnedBack(faces, way, [width, height]) {
  /** @type {Record<number, (box: Face["box"]) => Face["box"]>} */
  const back = {
    0: (box) => box,
    1: ({ x1, y1, x2, y2 }) => ({ x1: width - y2, y1: x1, x2: width - y1, y2: x2 }),
    2: ({ x1, y1, x2, y2 }) => ({ x1: width - x2, y1: height - y2, x2: width - x1, y2: height - y1 }),
    3: ({ x1, y1, x2, y2 }) => ({ x1: y1, y1: height - x2, x2: y2, y2: height - x1 }),
  };
  return faces.map((face) => ({ ...face, box: back[way](face.box) }));
}

/** @param {number} score */
function logOdds(score) {
  const bounded = Math.min(Math.max(score, 1e-6), 1 - 1e-6);
  return Math.log(bounded / (1 - bounded));
}
