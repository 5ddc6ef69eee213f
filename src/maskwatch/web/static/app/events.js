// Events of the past, from the event store: filtered, a page at a time, and as a CSV file.

import { find, make, setText } from "./dom.js";
import { VERDICTS } from "./faces.js";
import { request } from "./session.js";
import { STRINGS } from "./strings.js";

/**
 * @typedef {{kind: string, source_id: string, wall_time: number | null, track_id: number | null, verdict: string,
 *   duration_s: number, message: string}} StoredEvent
 */

const AT_ONCE = 50;
const AFTER_ALERT_MS = 1500;

export class EventTable {
  constructor() {
    this.form = /** @type {HTMLFormElement} */ (find("#filters"));
    this.rows = find("#events tbody");
    this.turn = 0;
  }

  start() {
    find("#events").hidden = false;
    const kinds = Object.entries(STRINGS.kind);
    find("select[name=kind]").append(...kinds.map(([value, words]) => make("option", { value }, words)));
    find("select[name=verdict]").append(...VERDICTS.map((value) => make("option", { value }, STRINGS[value])));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.load(0);
    });
    this.form.addEventListener("change", () => this.load(0));
    find("#more").addEventListener("click", () => this.load(this.rows.childElementCount));
    this.load(0);
  }

  /** @param {string} name */
  offerCamera(name) {
    find("select[name=camera]").append(make("option", { value: name }, name));
  }

  /** Show what came since, once the store has it. */
  refresh() {
    const isAtTop = this.rows.childElementCount <= AT_ONCE;
    if (isAtTop) setTimeout(() => this.load(0), AFTER_ALERT_MS);
  }

  /** The chosen filters, as a query. */
  query() {
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(this.form)) {
      if (value === "") continue;
      if (name === "hours") query.set("since", String(Math.floor(Date.now() / 1000 - Number(value) * 3600)));
      else query.set(name, String(value));
    }
    return query;
  }

  /** @param {number} offset 0 starts anew */
  async load(offset) {
    const query = this.query();
    const turn = ++this.turn;
    /** @type {HTMLAnchorElement} */ (find("#csv")).href = `v1/events.csv?${new URLSearchParams([...query, ["limit", "100000"]])}`;
    query.set("limit", String(AT_ONCE));
    query.set("offset", String(offset));
    try {
      const { total, events } = await (await request(`v1/events?${query}`)).json();
      if (turn !== this.turn) return;
      if (offset === 0) this.rows.replaceChildren();
      this.rows.append(...events.map(rowOf));
      const shown = this.rows.childElementCount;
      setText(find("#events-total"), total === 0 ? STRINGS.eventsNone : STRINGS.eventsTotal(shown, total));
      find("#more").hidden = shown >= total;
    } catch (error) {
      setText(find("#events-total"), error instanceof Error ? error.message : String(error));
    }
  }
}

/** @param {StoredEvent} event */
function rowOf(event) {
  const time = event.wall_time === null ? "" : new Date(event.wall_time * 1000).toLocaleString();
  const kind = STRINGS.kind[/** @type {keyof typeof STRINGS.kind} */ (event.kind)] ?? event.kind;
  const verdict = STRINGS[/** @type {import("./faces.js").Verdict} */ (event.verdict)] ?? "";
  const person = event.track_id === null ? "" : STRINGS.person(event.track_id);
  return make(
    "tr",
    {},
    make("td", { class: "number" }, time),
    make("td", {}, event.source_id),
    make("td", {}, make("span", { class: `kind ${event.kind}` }, kind)),
    make("td", {}, verdict && make("span", { class: `dot ${event.verdict}`, "aria-hidden": "true" }), verdict),
    make("td", { class: "number" }, event.duration_s > 0 ? STRINGS.seconds(event.duration_s.toFixed(1)) : ""),
    make("td", {}, event.message || person),
  );
}
