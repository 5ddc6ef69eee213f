// The page of `maskwatch live`: listens to /news and shows what it hears.

/**
 * @typedef {{faces: number, with_mask: number, without_mask: number,
 *   mask_worn_incorrectly: number, uncertain: number}} InView
 * @typedef {{name: string, state: string, reason: string, attempt: number, fps: number, dropped: number,
 *   losses: number, lost_s: number, latency_p50_s: number, latency_p95_s: number, alerts: number,
 *   compliance: number | null, in_view: InView}} Camera
 * @typedef {{number: number, kind: string, source_id: string, wall_time: number, message: string}} Alert
 * @typedef {{cameras: Camera[], alerts: Alert[], pictures: boolean, troubles: string[],
 *   now: number}} State
 * @typedef {[time: number, compliance: number | null, people: number]} Moment
 */

const VERDICTS = ["with_mask", "without_mask", "mask_worn_incorrectly", "uncertain"];
const MOMENTS_KEPT = 1800;
const WORDS = {
  connecting: "… connecting",
  live: "● live",
  lost: "▲ LOST: nobody is being watched",
  ended: "■ ended",
  online: "connected",
  offline: "No connection to maskwatch; trying again …",
  numbersOnly: "Numbers only: pictures are switched off",
  notStored: "▲ NOT STORED:",
  soundOn: "Sound: on",
  soundOff: "Sound: off",
};

/** @type {Map<string, {card: HTMLElement, moments: Moment[]}>} */
const cameras = new Map();
let lastAlert = -1;
/** @type {AudioContext | null} */
let sound = null;

/** @template {Element} T @param {ParentNode} parent @param {string} selector @returns {T} */
const find = (parent, selector) => /** @type {T} */ (parent.querySelector(selector));

/** @param {number | null} share */
const percent = (share) => (share === null ? "–" : `${Math.round(share * 100)} %`);

/** @param {Camera} camera @param {number} number @param {boolean} pictures */
function cardOf(camera, number, pictures) {
  const known = cameras.get(camera.name);
  if (known) return known;
  const template = /** @type {HTMLTemplateElement} */ (document.getElementById("camera"));
  const card = /** @type {HTMLElement} */ (template.content.cloneNode(true).firstElementChild);
  find(card, "h2").textContent = camera.name;
  const picture = /** @type {HTMLImageElement} */ (find(card, "img"));
  if (pictures) {
    picture.alt = `Live picture of ${camera.name} with the faces found`;
    picture.src = `pictures/${number}`;
    picture.addEventListener("error", () => setTimeout(() => (picture.src = `pictures/${number}?${Date.now()}`), 2000));
  } else {
    picture.hidden = true;
  }
  find(document, "#cameras").append(card);
  const entry = { card, moments: /** @type {Moment[]} */ ([]) };
  cameras.set(camera.name, entry);
  return entry;
}

/** @param {Camera} camera @param {number} number @param {State} state */
function showCamera(camera, number, state) {
  const { card, moments } = cardOf(camera, number, state.pictures);
  card.dataset.state = camera.state;
  const words = WORDS[/** @type {keyof WORDS} */ (camera.state)] ?? camera.state;
  const reason = camera.reason ? ` (${camera.reason}; try ${camera.attempt})` : "";
  setText(find(card, ".state"), words + reason);
  const overlay = /** @type {HTMLElement} */ (find(card, ".overlay"));
  overlay.hidden = camera.state === "live" && state.pictures;
  setText(overlay, camera.state === "live" ? WORDS.numbersOnly : words);
  for (const verdict of VERDICTS) {
    setText(find(card, `.${verdict} dd`), String(camera.in_view[/** @type {keyof InView} */ (verdict)]));
  }
  setText(find(card, ".compliance dd"), percent(camera.compliance));
  setText(
    find(card, ".numbers"),
    `${camera.fps.toFixed(1)} fps, latency ${Math.round(camera.latency_p50_s * 1000)} ms ` +
      `(95 %: ${Math.round(camera.latency_p95_s * 1000)} ms), ${camera.dropped} pictures dropped, ` +
      `lost ${camera.losses}×, ${camera.lost_s.toFixed(0)} s in all`,
  );
  const last = moments.at(-1);
  if (!last || state.now - last[0] >= 2) {
    moments.push([state.now, camera.compliance, camera.in_view.faces]);
    if (moments.length > MOMENTS_KEPT) moments.shift();
    draw(/** @type {HTMLCanvasElement} */ (find(card, "canvas")), moments);
  }
}

/** Only a change touches the page, so that screen readers are not told the same again.
 * @param {Element} element @param {string} text */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Compliance over time as a line, people in view as columns behind it.
 * @param {HTMLCanvasElement} canvas @param {Moment[]} moments */
function draw(canvas, moments) {
  const style = getComputedStyle(document.documentElement);
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth || 600;
  const height = canvas.clientHeight || 112;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d");
  if (!pen || moments.length === 0) return;
  pen.scale(ratio, ratio);
  pen.font = "11px system-ui, sans-serif";
  const [left, right, top, bottom] = [36, 8, 8, 18];
  const begin = moments[0][0];
  const span = Math.max(moments[moments.length - 1][0] - begin, 30);
  /** @param {number} time */
  const x = (time) => left + ((time - begin) / span) * (width - left - right);
  /** @param {number} share */
  const y = (share) => top + (1 - share) * (height - top - bottom);
  pen.strokeStyle = pen.fillStyle = style.getPropertyValue("--line");
  for (const share of [0, 0.5, 1]) {
    pen.fillStyle = style.getPropertyValue("--faint");
    pen.fillText(percent(share), 0, y(share) + 4);
    pen.beginPath();
    pen.moveTo(left, y(share));
    pen.lineTo(width - right, y(share));
    pen.stroke();
  }
  const most = Math.max(4, ...moments.map((moment) => moment[2]));
  pen.fillStyle = style.getPropertyValue("--line");
  for (const [time, , people] of moments) {
    pen.fillRect(x(time) - 1, y(people / most), 2, y(0) - y(people / most));
  }
  pen.strokeStyle = style.getPropertyValue("--accent");
  pen.lineWidth = 2;
  pen.beginPath();
  let down = false;
  for (const [time, compliance] of moments) {
    if (compliance !== null) down ? pen.lineTo(x(time), y(compliance)) : pen.moveTo(x(time), y(compliance));
    down = compliance !== null;
  }
  pen.stroke();
  pen.fillStyle = style.getPropertyValue("--faint");
  pen.fillText(new Date(begin * 1000).toLocaleTimeString(), left, height - 4);
  const end = new Date((begin + span) * 1000).toLocaleTimeString();
  pen.fillText(end, width - right - pen.measureText(end).width, height - 4);
  const now = moments[moments.length - 1];
  canvas.setAttribute("aria-label", `Compliance over time, now ${percent(now[1])}; columns: people in view, now ${now[2]}`);
}

/** @param {string[]} troubles What is not stored now, if anything. */
function showTroubles(troubles) {
  const shown = /** @type {HTMLElement} */ (find(document, "#troubles"));
  shown.hidden = troubles.length === 0;
  setText(shown, troubles.length ? `${WORDS.notStored} ${troubles.join("; ")}` : "");
}

/** @param {Alert[]} alerts */
function showAlerts(alerts) {
  const list = find(document, "#alerts");
  const isFirst = lastAlert < 0;
  const fresh = alerts.filter((alert) => alert.number > lastAlert);
  for (const alert of fresh) {
    const item = document.createElement("li");
    const time = document.createElement("time");
    time.textContent = new Date(alert.wall_time * 1000).toLocaleTimeString();
    item.append(time, alert.kind === "alert" ? `${alert.source_id}: ${alert.message}` : alert.message);
    list.prepend(item);
    lastAlert = alert.number;
  }
  lastAlert = Math.max(lastAlert, 0);
  while (list.childElementCount > 50) list.lastElementChild?.remove();
  /** @type {HTMLElement} */ (find(document, "#no-alerts")).hidden = list.childElementCount > 0;
  if (fresh.length > 0 && !isFirst) beep();
}

function beep() {
  if (!sound) return;
  const tone = sound.createOscillator();
  const volume = sound.createGain();
  volume.gain.setValueAtTime(0.25, sound.currentTime);
  volume.gain.exponentialRampToValueAtTime(0.001, sound.currentTime + 0.5);
  tone.frequency.setValueAtTime(880, sound.currentTime);
  tone.frequency.setValueAtTime(660, sound.currentTime + 0.2);
  tone.connect(volume).connect(sound.destination);
  tone.start();
  tone.stop(sound.currentTime + 0.5);
}

find(document, "#sound").addEventListener("click", (event) => {
  const button = /** @type {HTMLButtonElement} */ (event.currentTarget);
  if (sound) sound.close();
  sound = sound ? null : new AudioContext();
  button.setAttribute("aria-pressed", String(sound !== null));
  button.textContent = sound ? WORDS.soundOn : WORDS.soundOff;
  beep();
});

/** @param {string} words */
const showConnection = (words) => setText(find(document, "#connection"), words);

async function start() {
  const answer = await fetch("history");
  /** @type {Record<string, Moment[]>} */
  const history = await answer.json();
  const news = new EventSource("news");
  news.onopen = () => showConnection(WORDS.online);
  news.onerror = () => showConnection(WORDS.offline);
  news.onmessage = (message) => {
    /** @type {State} */
    const state = JSON.parse(message.data);
    state.cameras.forEach((camera, number) => {
      const entry = cardOf(camera, number, state.pictures);
      if (entry.moments.length === 0) entry.moments.push(...(history[camera.name] ?? []));
      showCamera(camera, number, state);
    });
    showAlerts(state.alerts);
    showTroubles(state.troubles);
  };
}

start().catch(() => showConnection(WORDS.offline));
