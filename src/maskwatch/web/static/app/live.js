// A camera that the server watches, on the page for pictures: only where the page may talk to the server.

import { facts, find, make, setText } from "./dom.js";
import { inWords, summarise } from "./faces.js";
import { follow } from "./news.js";
import { STRINGS } from "./strings.js";

/**
 * @typedef {import("./faces.js").Face} Face
 * @typedef {import("./faces.js").Look} Look
 * @typedef {import("./news.js").State} State
 */

export class LiveView {
  /** @param {(faces: Face[], words: string) => void} show */
  constructor(show) {
    this.show = show;
    this.picture = /** @type {HTMLImageElement} */ (find("#live-picture"));
    this.place = 0;
    /** @type {State | null} */
    this.state = null;
    /** @type {(() => void) | null} */
    this.stop = null;
    this.closed = () => {};
  }

  get isOpen() {
    return this.stop !== null;
  }

  /** Show the button where there are cameras. @param {() => void} opened @param {() => void} closed */
  offer(opened, closed) {
    this.closed = closed;
    const button = find("#live");
    button.hidden = facts.engine !== "server" || facts.cameras !== "yes";
    button.addEventListener("click", () => {
      if (this.isOpen) return this.close();
      opened();
      this.open();
    });
  }

  open() {
    const choice = /** @type {HTMLSelectElement} */ (find("#cameras select"));
    find("#live").setAttribute("aria-pressed", "true");
    setText(find("#live"), STRINGS.liveCameraStop);
    choice.onchange = () => this.choose(Number(choice.value));
    this.place = 0;
    this.stop = follow((state) => {
      if (this.state === null || this.state.cameras.length !== state.cameras.length) {
        choice.replaceChildren(...state.cameras.map((one, place) => make("option", { value: String(place) }, one.name)));
        find("#cameras").hidden = state.cameras.length < 2;
        this.state = state;
        this.choose(this.place);
      }
      this.state = state;
      this.tell();
    }, () => {});
  }

  close() {
    if (!this.isOpen) return;
    this.stop?.();
    this.stop = null;
    this.state = null;
    this.picture.removeAttribute("src");
    this.picture.hidden = true;
    find("#cameras").hidden = true;
    find("#live").setAttribute("aria-pressed", "false");
    setText(find("#live"), STRINGS.liveCamera);
    this.closed();
  }

  /** @param {number} place */
  choose(place) {
    this.place = place;
    const camera = this.state?.cameras[place];
    if (!camera) return;
    this.picture.hidden = !this.state?.pictures;
    this.picture.alt = STRINGS.cameraPicture(camera.name);
    if (this.state?.pictures) this.picture.src = `v1/cameras/${place}/pictures?${Date.now()}`;
  }

  tell() {
    const camera = this.state?.cameras[this.place];
    if (!camera) return;
    const isLive = camera.state === "live";
    const faces = camera.faces ?? [];
    this.show(isLive ? faces : [], isLive ? inWords(camera.faces ? summarise([faces]) : camera.in_view) : STRINGS.state[camera.state]);
    setText(find("#took"), isLive ? STRINGS.cameraNumbers(/** @type {any} */ (camera)) : "");
  }

  /** The picture as it is now. @param {HTMLCanvasElement} canvas */
  drawTo(canvas) {
    canvas.width = this.picture.naturalWidth;
    canvas.height = this.picture.naturalHeight;
    canvas.getContext("2d")?.drawImage(this.picture, 0, 0);
  }

  /** @returns {{name: string, look: Look}} */
  result() {
    const camera = this.state?.cameras[this.place];
    const { naturalWidth: width, naturalHeight: height } = this.picture;
    const model = { name: "", version: "", sha256: "" };
    const look = { width, height, faces: camera?.faces ?? [], ms: 0, where: STRINGS.server, model };
    return { name: camera?.name ?? "", look };
  }
}
