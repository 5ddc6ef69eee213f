// Faces, verdicts and summaries in the one JSON form that server, client and this page share.

import { STRINGS } from "./strings.js";

/**
 * @typedef {"with_mask" | "without_mask" | "mask_worn_incorrectly"} Label
 * @typedef {Label | "uncertain"} Verdict
 * @typedef {{x1: number, y1: number, x2: number, y2: number}} Box corners in px of the upright picture
 * @typedef {{box: Box, label: Label, verdict: Verdict, score: number, label_scores: Record<Label, number>,
 *   track_id?: number}} Face
 * @typedef {{images: number, failed: number, faces: number, with_mask: number, without_mask: number,
 *   mask_worn_incorrectly: number, uncertain: number, compliance: number | null}} Summary
 * @typedef {{name: string, version: string, sha256: string}} ShortCard
 * @typedef {{width: number, height: number, faces: Face[], ms: number, where: string, model: ShortCard}} Look
 *   what an engine says of one picture; `ms` with everything, `where` in words
 */

/** @type {Verdict[]} */
export const VERDICTS = ["with_mask", "without_mask", "mask_worn_incorrectly", "uncertain"];

/** Counts over the faces of pictures; null stands for a picture that could not be read.
 * @param {(Face[] | null)[]} pictures @returns {Summary} */
export function summarise(pictures) {
  /** @type {Summary} */
  const summary = {
    images: pictures.length,
    failed: 0,
    faces: 0,
    with_mask: 0,
    without_mask: 0,
    mask_worn_incorrectly: 0,
    uncertain: 0,
    compliance: null,
  };
  for (const faces of pictures) {
    if (faces === null) summary.failed += 1;
    for (const face of faces ?? []) {
      summary.faces += 1;
      summary[face.verdict] += 1;
    }
  }
  const sure = summary.faces - summary.uncertain;
  if (sure > 0) summary.compliance = Math.round((summary.with_mask / sure) * 1e4) / 1e4;
  return summary;
}

/** A summary as one sentence. @param {Summary} summary */
export function inWords(summary) {
  if (summary.faces === 0) return STRINGS.noFaces;
  const parts = VERDICTS.filter((verdict) => summary[verdict] > 0).map(
    (verdict) => `${summary[verdict]} ${STRINGS.tag[verdict]}`,
  );
  return STRINGS.found(summary.faces, parts.join(", "));
}

/** @param {number | null} share */
export const percent = (share) => (share === null ? "–" : `${Math.round(share * 100)} %`);
