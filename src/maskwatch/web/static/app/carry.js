// Carries the open photos over to the other engine: each has a document of its own, with its own policy. They lie
// in this browser's own store for that moment, and are taken out again at once.

const STORE = "carried";

/** @param {File[]} files @returns {Promise<void>} */
export async function put(files) {
  await step("readwrite", (store) => store.put(files, 0));
}

/** What was put, once. @returns {Promise<File[]>} */
export async function take() {
  const files = await step("readwrite", (store) => store.get(0));
  if (files) await step("readwrite", (store) => store.clear());
  return files ?? [];
}

/** @param {IDBTransactionMode} mode @param {(store: IDBObjectStore) => IDBRequest} act @returns {Promise<any>} */
async function step(mode, act) {
  const opening = indexedDB.open("maskwatch", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  const database = /** @type {IDBDatabase} */ (await done(opening));
  try {
    return await done(act(database.transaction(STORE, mode).objectStore(STORE)));
  } finally {
    database.close();
  }
}

/** @param {IDBRequest} request @returns {Promise<any>} */
const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
