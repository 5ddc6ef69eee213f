// One camera on the dashboard: its picture, its state, who is in view, and compliance over time.

import { Chart } from "./chart.js";
import { facts, find, setText, stamp } from "./dom.js";
import { percent } from "./faces.js";
import { showCounts } from "./results.js";
import { request } from "./session.js";
import { STRINGS } from "./strings.js";

/**
 * @typedef {import("./news.js").Camera} Camera
 * @typedef {[time: number, compliance: number | null, people: number]} Moment
 */

const MOMENT_S = 2;
const MOMENTS_KEPT = 1800;
const AGAIN_MS = 2000;
const REFRESH_MS = 60_000;

export class CameraCard {
  /** @param {string} name @param {number} place @param {boolean} hasPictures @param {Moment[]} moments */
  constructor(name, place, hasPictures, moments) {
    this.name = name;
    this.moments = moments;
    this.hours = 1;
    this.element = stamp("camera");
    setText(find("h2", this.element), name);
    this.chart = new Chart(find(".chart", this.element));
    this.showPicture(place, hasPictures);
    this.offerSpans();
  }

  /** @param {number} place @param {boolean} hasPictures */
  showPicture(place, hasPictures) {
    const picture = /** @type {HTMLImageElement} */ (find("img", this.element));
    picture.hidden = !hasPictures;
    if (!hasPictures) return;
    picture.alt = STRINGS.cameraPicture(this.name);
    picture.src = `v1/cameras/${place}/pictures`;
    picture.addEventListener("error", () => {
      setTimeout(() => (picture.src = `v1/cameras/${place}/pictures?${Date.now()}`), AGAIN_MS);
    });
  }

  /** Longer times come from the event store, where there is one. */
  offerSpans() {
    const spans = find(".spans", this.element);
    spans.hidden = facts.events !== "yes";
    for (const button of spans.querySelectorAll("button")) {
      button.addEventListener("click", () => {
        this.hours = Number(button.dataset.hours);
        for (const other of spans.querySelectorAll("button")) {
          other.setAttribute("aria-pressed", String(other === button));
        }
        this.drawChart();
      });
    }
    setInterval(() => this.hours > 1 && this.drawChart(), REFRESH_MS);
  }

  /** @param {Camera} camera @param {import("./news.js").State} state */
  show(camera, state) {
    const card = this.element;
    card.dataset.state = camera.state;
    const pill = find(".state", card);
    pill.dataset.state = camera.state;
    setText(pill, STRINGS.state[camera.state] ?? camera.state);
    const why = whyOf(camera);
    setText(find(".why", card), why);
    find(".why", card).hidden = why === "";
    const overlay = find(".overlay", card);
    const isLive = camera.state === "live";
    overlay.hidden = isLive && state.pictures;
    setText(overlay, isLive ? STRINGS.numbersOnly : STRINGS.state[camera.state]);
    setText(find(".people dd", card), isLive ? String(camera.in_view.faces) : "–");
    showCounts(isLive ? { ...camera.in_view, compliance: camera.compliance } : null, card);
    setText(find(".numbers", card), STRINGS.cameraNumbers(/** @type {any} */ (camera)));
    const last = this.moments.at(-1);
    if (last && state.now - last[0] < MOMENT_S) return;
    this.moments.push([state.now, camera.compliance, camera.in_view.faces]);
    if (this.moments.length > MOMENTS_KEPT) this.moments.shift();
    if (this.hours === 1) this.drawChart();
  }

  async drawChart() {
    const now = this.moments.at(-1);
    this.chart.name(STRINGS.chartNow(this.name, percent(now?.[1] ?? null), now?.[2] ?? 0));
    const hours = this.hours;
    if (hours === 1) return this.chart.draw(this.moments);
    const answer = await request(`v1/compliance?hours=${hours}`).catch(() => null);
    const cameras = answer ? (await answer.json()).cameras : {};
    if (this.hours === hours) this.chart.draw(cameras[this.name] ?? []);
  }
}

/** What an operator must know beside the state: since when, and what is done about it. @param {Camera} camera */
function whyOf(camera) {
  const time = new Date(camera.since * 1000).toLocaleTimeString();
  if (camera.state === "ended") return STRINGS.endedSince(time);
  if (camera.state !== "lost") return "";
  return `${STRINGS.lostSince(time)}. ${STRINGS.reconnecting(camera.attempt, camera.reason)}`;
}
