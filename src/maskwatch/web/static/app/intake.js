// Photos come in by choosing, dropping and pasting.

import { find } from "./dom.js";
import { STRINGS } from "./strings.js";

/** @param {(files: File[]) => void} open */
export function takePhotos(open) {
  const chooser = /** @type {HTMLInputElement} */ (find("#chooser"));
  find("#choose").addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", () => {
    const files = [...(chooser.files ?? [])];
    chooser.value = "";
    if (files.length > 0) open(files);
  });
  takeDrops(open);
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter(isPicture).map(
      (file) => new File([file], file.name && file.name !== "image.png" ? file.name : STRINGS.pasted, { type: file.type }),
    );
    if (files.length > 0) open(files);
  });
}

/** @param {(files: File[]) => void} open */
function takeDrops(open) {
  const stage = find("#stage");
  let depth = 0;
  const mark = (/** @type {number} */ now) => {
    depth = Math.max(0, now);
    stage.classList.toggle("dropping", depth > 0);
  };
  document.addEventListener("dragenter", (event) => {
    if (event.dataTransfer?.types.includes("Files")) mark(depth + 1);
  });
  document.addEventListener("dragleave", () => mark(depth - 1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(0);
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length > 0) open(files);
  });
}

/** @param {File} file */
const isPicture = (file) => file.type.startsWith("image/");
