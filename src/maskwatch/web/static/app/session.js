// Requests to the server. Where it asks for a key, the page asks once, and the browser keeps a cookie.

import { make, setText } from "./dom.js";
import { STRINGS } from "./strings.js";

/** @type {Promise<void> | null} */
let asking = null;

/** `fetch`, and again after the key was given; a refusal is an error in the server's own words.
 * @param {string} address @param {RequestInit} [options] @returns {Promise<Response>} */
export async function request(address, options) {
  const answer = await fetch(address, options);
  if (answer.status === 401) {
    asking ??= askForKey().finally(() => (asking = null));
    await asking;
    return request(address, options);
  }
  if (!answer.ok) throw new Error(await reasonOf(answer));
  return answer;
}

/** @param {Response} answer */
async function reasonOf(answer) {
  const isProblem = answer.headers.get("content-type")?.startsWith("application/problem+json");
  return isProblem ? (await answer.json()).detail : `${answer.status} ${answer.statusText}`;
}

/** Show a dialog until the key fits. */
function askForKey() {
  const title = make("h2", { id: "key-title" }, STRINGS.keyTitle);
  const field = make("input", { id: "key-field", type: "password", autocomplete: "current-password", required: "" });
  const label = make("label", { class: "setting" }, make("span", {}, STRINGS.keyLabel), field);
  const message = make("p", { id: "key-message", class: "message", role: "alert" });
  const open = make("button", { type: "submit", class: "primary" }, STRINGS.keyOpen);
  const form = make("form", { method: "dialog" }, title, make("p", {}, STRINGS.keyHint), label, message, open);
  const dialog = make("dialog", { id: "key", "aria-labelledby": "key-title" }, form);
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  document.body.append(dialog);
  dialog.showModal();
  field.focus();
  return new Promise((/** @type {(value: void) => void} */ resolve) => {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const body = JSON.stringify({ key: field.value });
      const headers = { "Content-Type": "application/json" };
      const answer = await fetch("v1/session", { method: "POST", headers, body });
      setText(message, answer.ok ? "" : STRINGS.keyWrong);
      field.value = "";
      if (!answer.ok) return;
      dialog.remove();
      resolve();
    });
  });
}
