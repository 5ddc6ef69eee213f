// Alerts: a list, a tone, and a notification of the browser for those who look elsewhere.

import { find, make, setText } from "./dom.js";
import { STRINGS } from "./strings.js";

/** @typedef {import("./news.js").Alert} Alert */

const SHOWN = 50;

export class Alerts {
  constructor() {
    this.last = -1;
    this.notifies = false;
    /** @type {AudioContext | null} */
    this.sound = null;
    find("#sound").addEventListener("click", () => this.switchSound());
    find("#notices").addEventListener("click", () => this.switchNotices());
    find("#notices").hidden = !("Notification" in window);
  }

  /** Add what is new; whether anything was. @param {Alert[]} alerts */
  show(alerts) {
    const list = find("#alerts");
    const isFirst = this.last < 0;
    this.forgetOnRestart(alerts);
    const fresh = alerts.filter((alert) => alert.number > this.last);
    for (const alert of fresh) {
      const time = make("time", {}, new Date(alert.wall_time * 1000).toLocaleTimeString());
      const badge = make("span", { class: `kind ${alert.kind}` }, STRINGS.kind[/** @type {"alert"} */ (alert.kind)] ?? alert.kind);
      list.prepend(make("li", {}, time, badge, sentence(alert)));
      this.last = alert.number;
    }
    this.last = Math.max(this.last, 0);
    while (list.childElementCount > SHOWN) list.lastElementChild?.remove();
    list.hidden = list.childElementCount === 0;
    find("#no-alerts").hidden = !list.hidden;
    if (fresh.length === 0 || isFirst) return false;
    this.beep();
    for (const alert of fresh) this.notify(alert);
    return true;
  }

  /** A server that was started again counts from one. @param {Alert[]} alerts */
  forgetOnRestart(alerts) {
    const newest = alerts[alerts.length - 1];
    if (newest && newest.number < this.last) this.last = 0;
  }

  switchSound() {
    this.sound?.close();
    this.sound = this.sound ? null : new AudioContext();
    find("#sound").setAttribute("aria-pressed", String(this.sound !== null));
    setText(find("#sound"), this.sound ? STRINGS.soundOn : STRINGS.soundOff);
    this.beep();
  }

  async switchNotices() {
    const button = find("#notices");
    const allowed = this.notifies || (await Notification.requestPermission()) === "granted";
    this.notifies = allowed && !this.notifies;
    button.setAttribute("aria-pressed", String(this.notifies));
    setText(button, this.notifies ? STRINGS.noticesOn : allowed ? STRINGS.noticesOff : STRINGS.noticesRefused);
  }

  /** @param {Alert} alert */
  notify(alert) {
    if (this.notifies) {
      new Notification(STRINGS.alertNotice(alert.source_id), { body: alert.message, tag: `maskwatch ${alert.number}` });
    }
  }

  beep() {
    if (!this.sound) return;
    const now = this.sound.currentTime;
    const tone = this.sound.createOscillator();
    const volume = this.sound.createGain();
    volume.gain.setValueAtTime(0.25, now);
    volume.gain.exponentialRampToValueAtTime(0.001, now + 0.5);
    tone.frequency.setValueAtTime(880, now);
    tone.frequency.setValueAtTime(660, now + 0.2);
    tone.connect(volume).connect(this.sound.destination);
    tone.start();
    tone.stop(now + 0.5);
  }
}

/** @param {Alert} alert */
const sentence = (alert) => (alert.kind === "alert" ? `${alert.source_id}: ${alert.message}` : alert.message);
