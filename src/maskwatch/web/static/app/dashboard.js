// The dashboard: cameras as they are now, alerts, and the events of the past.

import { Alerts } from "./alerts.js";
import { CameraCard } from "./cameras.js";
import { facts, fillWords, find, setText } from "./dom.js";
import { EventTable } from "./events.js";
import { follow } from "./news.js";
import { request } from "./session.js";
import { STRINGS } from "./strings.js";

/** @type {Map<string, CameraCard>} */
const cards = new Map();
const alerts = new Alerts();
const events = facts.events === "yes" ? new EventTable() : null;
/** @type {Record<string, import("./cameras.js").Moment[]>} */
let history = {};

/** @param {import("./news.js").State} state */
function show(state) {
  state.cameras.forEach((camera, place) => {
    let card = cards.get(camera.name);
    if (!card) {
      card = new CameraCard(camera.name, place, state.pictures, history[camera.name] ?? []);
      cards.set(camera.name, card);
      find("#cards").append(card.element);
      events?.offerCamera(camera.name);
    }
    card.show(camera, state);
  });
  find("#no-cameras").hidden = state.cameras.length > 0;
  showTroubles(state.troubles);
  if (alerts.show(state.alerts)) events?.refresh();
}

/** @param {string[]} troubles What is not stored now, if anything. */
function showTroubles(troubles) {
  const shown = find("#troubles");
  shown.hidden = troubles.length === 0;
  setText(shown, troubles.length ? STRINGS.notStored(troubles.join("; ")) : "");
}

/** @param {boolean} isOnline */
function showConnection(isOnline) {
  const pill = find("#connection");
  setText(pill, isOnline ? STRINGS.online : STRINGS.offline);
  pill.dataset.state = isOnline ? "live" : "lost";
}

async function start() {
  fillWords();
  for (const element of document.querySelectorAll("[data-for=serve]")) {
    if (facts.server !== "serve") element.remove();
  }
  if (facts.server === "serve" && facts.cameras !== "yes") {
    find("#no-cameras").hidden = false;
    find("#connection").hidden = true;
  } else {
    const answer = await request("v1/cameras/history").catch(() => null);
    history = answer ? await answer.json() : {};
    follow(show, showConnection);
  }
  events?.start();
}

start();
