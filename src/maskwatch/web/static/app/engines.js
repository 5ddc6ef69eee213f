// Which engine looks at pictures, with which detector and settings. Each engine has a document of its own: the one
// for detection on this device is not allowed to send anything, so changing over means loading the other one.

import * as carry from "./carry.js";
import { DeviceEngine, hasWebGpu } from "./device.js";
import { facts, find, make, setText } from "./dom.js";
import { ServerEngine } from "./server.js";
import { STRINGS } from "./strings.js";

/**
 * @typedef {import("./codec.js").Card} Card
 * @typedef {import("./faces.js").Look} Look
 */

const input = (/** @type {string} */ selector) => /** @type {HTMLInputElement} */ (find(selector));
const select = (/** @type {string} */ selector) => /** @type {HTMLSelectElement} */ (find(selector));

export class Engines {
  /** @param {() => void} changed hears that pictures should be looked at again */
  constructor(changed) {
    this.changed = changed;
    this.isServer = facts.engine === "server";
    this.engine = this.isServer ? new ServerEngine() : new DeviceEngine();
    /** @type {Card[]} */
    this.cards = [];
    this.triedGpu = false;
    /** @type {Promise<void>} */
    this.ready = Promise.resolve();
  }

  /** Load the detector; `ready` is kept once it answers. @param {() => File[]} openFiles what to carry over */
  start(openFiles) {
    this.showChoice(openFiles);
    this.ready = this.load();
    this.ready.catch((error) => setText(find("#engine-state"), error.message));
    input("#threshold").addEventListener("input", () => this.showThreshold());
    for (const id of ["#threshold", "#detail"]) find(id).addEventListener("change", this.changed);
    for (const id of ["#model", "#processor"]) {
      find(id).addEventListener("change", () => {
        this.ready = this.loadChosen();
        this.ready.then(this.changed, (error) => setText(find("#engine-state"), error.message));
      });
    }
  }

  /** Faces of one picture, once the engine is ready. @param {Blob | ImageBitmap} source @returns {Promise<Look>} */
  async look(source) {
    await this.ready;
    const wish = { maxSide: Number(select("#detail").value), scoreThreshold: Number(input("#threshold").value) / 100 };
    const look = await this.engine.detect(source, wish);
    this.tryGpu();
    return look;
  }

  async load() {
    setText(find("#engine-state"), STRINGS.loading);
    this.cards = await this.engine.cards();
    select("#model").replaceChildren(
      ...this.cards.map((card, place) => make("option", { value: String(place) }, `${card.name} ${card.version}`)),
    );
    find("#model-setting").hidden = this.cards.length < 2;
    input("#threshold").value = String(Math.round(this.cards[0].score_threshold * 100));
    this.showThreshold();
    await this.loadChosen();
  }

  async loadChosen() {
    const card = this.cards[Number(select("#model").value) || 0];
    if (this.engine instanceof DeviceEngine) {
      setText(find("#engine-state"), STRINGS.loading);
      await this.engine.load(card, select("#processor").value === "webgpu" ? "webgpu" : "wasm");
    } else {
      await this.engine.load(card);
    }
    this.showReady();
  }

  /** With the first picture done, see whether the graphics card is quicker, and take it if so. */
  async tryGpu() {
    if (this.triedGpu || !(this.engine instanceof DeviceEngine) || select("#processor").value !== "auto") return;
    this.triedGpu = true;
    const card = this.engine.card;
    if (!card || !(await hasWebGpu())) return;
    const other = new DeviceEngine();
    try {
      await other.load(card, "webgpu");
      const [mine, its] = [await paceOf(this.engine), await paceOf(other)];
      if (its >= mine || select("#processor").value !== "auto") throw new Error("slower");
      this.engine.end();
      this.engine = other;
      this.showReady();
    } catch {
      other.end();
    }
  }

  showReady() {
    const warning = !this.isServer && !self.crossOriginIsolated ? ` ${STRINGS.oneThread}` : "";
    setText(find("#engine-state"), STRINGS.ready(this.engine.where) + warning);
  }

  showThreshold() {
    setText(find("#threshold-words"), STRINGS.threshold(Number(input("#threshold").value)));
  }

  /** @param {() => File[]} openFiles */
  showChoice(openFiles) {
    find("#processor-setting").hidden = this.isServer;
    for (const radio of document.querySelectorAll("input[name=engine]")) {
      const button = /** @type {HTMLInputElement} */ (radio);
      button.checked = button.value === this.engine.name;
      button.disabled = button.value === "server" && facts.server === "none";
      button.addEventListener("change", async () => {
        await carry.put(openFiles()).catch(() => {}); // a private window may have no store
        location.search = button.value === "server" ? "?engine=server" : "";
      });
    }
    if (facts.server === "none") {
      setText(find("[data-text=engineServerHint]"), STRINGS.engineNoServer);
      for (const element of document.querySelectorAll("[data-for=server]")) element.remove();
    }
  }
}

/** Milliseconds for one blank picture, the best of three. @param {DeviceEngine} engine */
async function paceOf(engine) {
  let best = Infinity;
  for (let round = 0; round < 3; round += 1) {
    const bitmap = await createImageBitmap(new ImageData(640, 480));
    const look = await engine.detect(bitmap, { maxSide: 640, scoreThreshold: 0.5 });
    best = Math.min(best, look.ms);
  }
  return best;
}
