// In an exported folder: a service worker keeps all files, so that the page works without a network, and adds the
// headers that threads need, which many hosts of plain files cannot send.

const RELOADED = "maskwatch-isolated";

/** @param {() => boolean} isIdle whether nothing would be lost by loading the page anew */
export async function start(isIdle) {
  await navigator.serviceWorker.register("sw.js");
  await navigator.serviceWorker.ready;
  const isNews = !self.crossOriginIsolated && sessionStorage.getItem(RELOADED) === null;
  if (!isNews || !isIdle()) return;
  sessionStorage.setItem(RELOADED, "yes"); // once: a browser without isolation must not reload for ever
  location.reload();
}
