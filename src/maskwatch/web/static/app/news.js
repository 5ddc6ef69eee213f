// News of the cameras, as server-sent events; the same from `maskwatch serve` and `maskwatch live`.

import { request } from "./session.js";

/**
 * @typedef {import("./faces.js").Face} Face
 * @typedef {import("./faces.js").Summary} Summary
 * @typedef {{name: string, state: "connecting" | "live" | "lost" | "ended", since: number, reason: string,
 *   attempt: number, fps: number, dropped: number, losses: number, lost_s: number, latency_p50_s: number,
 *   latency_p95_s: number, alerts: number, compliance: number | null, in_view: Summary, faces?: Face[]}} Camera
 * @typedef {{number: number, kind: string, source_id: string, wall_time: number, message: string}} Alert
 * @typedef {{cameras: Camera[], alerts: Alert[], pictures: boolean, troubles: string[],
 *   now: number}} State
 */

/** Hear every change until the returned function is called. The browser connects again by itself; where the server
 * asks for a key, the first request gets it.
 * @param {(state: State) => void} onState @param {(isOnline: boolean) => void} onConnection @returns {() => void} */
export function follow(onState, onConnection) {
  /** @type {EventSource | null} */
  let source = null;
  let isStopped = false;
  request("v1/cameras").then(
    async (answer) => {
      if (isStopped) return;
      onState(await answer.json());
      source = new EventSource("v1/cameras/news");
      source.onopen = () => onConnection(true);
      source.onerror = () => onConnection(false);
      source.onmessage = (message) => onState(JSON.parse(message.data));
    },
    () => {
      onConnection(false);
      if (!isStopped) setTimeout(() => !isStopped && (again = follow(onState, onConnection)), 3000);
    },
  );
  let again = () => {};
  return () => {
    isStopped = true;
    source?.close();
    again();
  };
}
