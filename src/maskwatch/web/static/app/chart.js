// Compliance over time as a line, people in view as columns behind it, drawn by uPlot.

import { make, setText } from "./dom.js";
import { percent } from "./faces.js";
import { STRINGS } from "./strings.js";

/** @typedef {import("./cameras.js").Moment} Moment */

const HEIGHT_PX = 150;

/** uPlot comes as a plain script; loaded once, when the first chart is drawn. @type {Promise<any> | null} */
let loading = null;

function library() {
  loading ??= new Promise((resolve, reject) => {
    const script = make("script", { src: new URL("vendor/uplot/uPlot.iife.min.js", import.meta.url).href });
    script.addEventListener("load", () => resolve(/** @type {any} */ (window).uPlot));
    script.addEventListener("error", () => reject(new Error(STRINGS.chartMissing)));
    document.head.append(script);
  });
  return loading;
}

export class Chart {
  /** @param {HTMLElement} place */
  constructor(place) {
    this.place = place;
    /** @type {any} */
    this.plot = null;
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.plot?.redraw());
  }

  /** What the chart shows, for those who do not see it. @param {string} words */
  name(words) {
    this.place.setAttribute("aria-label", words);
  }

  /** @param {Moment[]} moments */
  async draw(moments) {
    const columns = [0, 2, 1].map((column) => moments.map((moment) => moment[column]));
    try {
      const Plot = await library();
      if (this.plot) return this.plot.setData(columns);
      this.place.replaceChildren();
      this.plot = new Plot({ ...this.size(), ...options(Plot) }, columns, this.place);
    } catch (error) {
      setText(this.place, error instanceof Error ? error.message : String(error));
      this.place.classList.add("faint");
    }
  }

  size() {
    return { width: this.place.clientWidth || 300, height: HEIGHT_PX };
  }
}

/** @param {any} Plot */
function options(Plot) {
  const colour = (/** @type {string} */ name) => () => getComputedStyle(document.documentElement).getPropertyValue(name);
  const axis = { stroke: colour("--faint"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  return {
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    scales: {
      share: { range: [0, 1] },
      people: { range: (/** @type {any} */ _, /** @type {number} */ __, /** @type {number} */ most) => [0, Math.max(4, most || 0)] },
    },
    axes: [
      { ...axis, size: 28, space: 90, values: timesOf },
      { ...axis, scale: "share", size: 46, values: (/** @type {any} */ _, /** @type {number[]} */ shares) => shares.map(percent) },
      { ...axis, scale: "people", side: 1, size: 34, grid: { show: false }, label: STRINGS.chartPeople, labelSize: 16 },
    ],
    series: [
      {},
      { scale: "people", label: STRINGS.chartPeople, fill: colour("--bars"), stroke: colour("--bars"), paths: Plot.paths.bars({ size: [1, 100] }), points: { show: false } },
      { scale: "share", label: STRINGS.compliance, stroke: colour("--accent"), width: 2, points: { show: false } },
    ],
  };
}

/** Times of an axis, as exact as its length asks for. @param {unknown} _ @param {number[]} times in s since 1970 */
function timesOf(_, times) {
  const span = times[times.length - 1] - times[0];
  /** @type {Intl.DateTimeFormatOptions} */
  let form = { hour: "2-digit", minute: "2-digit" };
  if (span < 300) form = { ...form, second: "2-digit" };
  if (span > 2 * 86_400) form = { month: "short", day: "numeric" };
  return times.map((time) => new Date(time * 1000).toLocaleString([], form));
}
