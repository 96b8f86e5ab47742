// What the canvases hold survives the page: the browser's own database keeps picture and ink of each.
const STORE = 'drawings';

function asked(request) {
  return new Promise((done, failed) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });
}

async function store(mode) {
  const opening = indexedDB.open('webui.canvas', 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  const database = await asked(opening);
  const transaction = database.transaction(STORE, mode);
  transaction.oncomplete = transaction.onabort = () => database.close();
  return transaction.objectStore(STORE);
}

export const readDrawing = async (key) => asked((await store('readonly')).get(key));

export async function writeDrawing(key, value) {
  const place = await store('readwrite');
  await asked(value ? place.put(value, key) : place.delete(key));
}
