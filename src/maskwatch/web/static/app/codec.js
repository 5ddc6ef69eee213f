// Pictures to what the network sees and its outputs back to faces, as codec.py does; both are tested on the
// same golden answers. All numbers come from the model's card.

/**
 * @typedef {import("./faces.js").Face} Face
 * @typedef {import("./faces.js").Label} Label
 * @typedef {import("./faces.js").Verdict} Verdict
 * @typedef {{name: string, version: string, sha256: string, file: string, bytes: number, labels: Label[],
 *   verdicts: Verdict[], size_multiple: number, score_threshold: number, iou_threshold: number,
 *   certainty_threshold: number, max_side: number, max_detections: number, large_face_px: number,
 *   part_covered: number, part_least: number, part_most: number, upright_score: number, glance_side: number,
 *   turned_score: number, turned_gain: number, closer_side: number, closer_px: number, closer_scale: number}} Card
 * @typedef {{content: [number, number], padded: [number, number]}} Letterbox sizes in px, width first
 * @typedef {{xyxy: Float32Array, label_scores: Float32Array}} Outputs of one picture, row by row
 * @typedef {[number, number, number, number]} Corners
 */

/** Scale down to at most `maxSide` px, never up, and pad at the right and the bottom.
 * @param {number} width @param {number} height @param {number} maxSide @param {Card} card @returns {Letterbox} */
export function letterbox(width, height, maxSide, card) {
  const scale = Math.min(1, maxSide / Math.max(width, height));
  const multiple = card.size_multiple;
  const fit = (/** @type {number} */ side) => Math.max(1, roundHalfToEven(side * scale));
  const pad = (/** @type {number} */ side) => Math.ceil(side / multiple) * multiple;
  const content = /** @type {[number, number]} */ ([fit(width), fit(height)]);
  return { content, padded: [pad(content[0]), pad(content[1])] };
}

/** The network's outputs as faces in px of the original, best first.
 * @param {Outputs} outputs @param {Letterbox} boxed @param {[number, number]} size @param {Card} card
 * @returns {Face[]} */
export function facesOf(outputs, boxed, size, card) {
  const count = card.labels.length;
  const rows = Array.from({ length: outputs.xyxy.length / 4 }, (_, row) => {
    const scores = outputs.label_scores.subarray(row * count, (row + 1) * count);
    const corners = /** @type {Corners} */ (Array.from(outputs.xyxy.subarray(row * 4, row * 4 + 4)));
    return { corners, scores, score: Math.max(...scores) };
  });
  rows.sort((a, b) => b.score - a.score);
  const whole = rows.filter((_, place) => !isPart(rows.slice(0, place), rows[place].corners, card));
  const factor = [size[0] / boxed.content[0], size[1] / boxed.content[1]];
  return whole.map(({ corners, scores, score }) => {
    const [x1, y1, x2, y2] = corners.map((value, side) =>
      rounded(Math.min(Math.max(value * factor[side % 2], 0), size[side % 2]), 2),
    );
    const label = scores.indexOf(score);
    const share = score / Math.max(scores.reduce((sum, one) => sum + one, 0), 1e-9);
    const byLabel = card.labels.map((name, place) => [name, rounded(scores[place], 4)]);
    return {
      box: { x1, y1, x2, y2 },
      label: card.labels[label],
      verdict: share >= card.certainty_threshold ? card.labels[label] : "uncertain",
      score: rounded(score, 4),
      label_scores: /** @type {Record<Label, number>} */ (Object.fromEntries(byLabel)),
    };
  });
}

/** Whether a box is a part of a better and large one, as `boxes.parts` has it.
 * @param {{corners: Corners}[]} better @param {Corners} box @param {Card} card */
function isPart(better, box, card) {
  const own = area(box);
  return better.some(({ corners: whole }) => {
    const ratio = own / Math.max(area(whole), 1e-6);
    return (
      Math.sqrt(area(whole)) >= card.large_face_px &&
      ratio >= card.part_least &&
      ratio <= card.part_most &&
      own > 0 &&
      area(shared(box, whole)) / own >= card.part_covered
    );
  });
}

/** @param {Corners} box */
const area = ([x1, y1, x2, y2]) => Math.max(0, x2 - x1) * Math.max(0, y2 - y1);

/** @param {Corners} a @param {Corners} b @returns {Corners} */
const shared = (a, b) => [Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])];

/** @param {number} value @param {number} digits */
const rounded = (value, digits) => Number(value.toFixed(digits));

/** Python's `round`. @param {number} value */
function roundHalfToEven(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}
