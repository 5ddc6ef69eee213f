// The panel beside the picture: counts, a table of faces, and downloads.

import { find, make, setText } from "./dom.js";
import { LOOKS } from "./drawing.js";
import { percent, VERDICTS } from "./faces.js";
import { STRINGS } from "./strings.js";

/**
 * @typedef {import("./faces.js").Face} Face
 * @typedef {import("./faces.js").Summary} Summary
 */

/** The numbers of a summary; null where nobody is looking, which is not the same as nobody there.
 * @param {Summary | null} summary @param {ParentNode} [parent] */
export function showCounts(summary, parent = document) {
  for (const verdict of VERDICTS) setText(find(`.${verdict} dd`, parent), summary ? String(summary[verdict]) : "–");
  setText(find(".compliance dd", parent), percent(summary?.compliance ?? null));
}

/** One row a face. `choose` hears of the row that is pointed at or has the focus, −1 for none.
 * @param {Face[]} faces @param {(place: number) => void} choose */
export function showTable(faces, choose) {
  const rows = find("#faces tbody");
  const isTracked = faces.some((face) => face.track_id !== undefined);
  rows.replaceChildren(
    ...faces.map((face, place) => {
      const { x1, y1, x2, y2 } = face.box;
      const look = LOOKS[face.verdict];
      const badge = make("span", { class: `badge ${face.verdict}`, "aria-hidden": "true" }, look.badge);
      const number = isTracked && face.track_id !== undefined ? `#${face.track_id}` : String(place + 1);
      const row = make(
        "tr",
        { tabindex: "0" },
        make("th", { scope: "row" }, number),
        make("td", {}, badge, STRINGS[face.verdict]),
        make("td", { class: "number" }, percent(face.score)),
        make("td", { class: "number box" }, `${Math.round(x2 - x1)} × ${Math.round(y2 - y1)}`),
      );
      row.addEventListener("mouseenter", () => choose(place));
      row.addEventListener("mouseleave", () => choose(-1));
      row.addEventListener("focus", () => choose(place));
      row.addEventListener("blur", () => choose(-1));
      return row;
    }),
  );
  find("#faces").hidden = faces.length === 0;
}

/** Let the browser save a file. @param {Blob} content @param {string} name */
export function save(content, name) {
  const address = URL.createObjectURL(content);
  const link = make("a", { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
