// A place for a picture of the form: its drawing, how pictures get into it, how it survives, and what of it goes to the server.
// It is there whether or not the page has drawn its editor yet.
import {Drawing, decoded} from './drawing.js';
import {toBlob} from './layer.js';
import {readDrawing, writeDrawing} from './storage.js';
import {download, ensure, isThere, upload} from './transport.js';

const QUIET = 400;   // milliseconds without a change before it is kept

function isEmpty(canvas) {
  const pixels = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  return pixels.every((pixel) => pixel === 0);
}

export class Slot extends EventTarget {
  constructor(key, kind) {
    super();
    this.key = key;
    this.drawing = new Drawing(kind);
    this.kept = 0;               // the revision that the browser's database has
    this.sent = {};              // what the server has got, by revision
    this.timer = 0;
    this.saving = Promise.resolve();
    this.restoring = null;
    for (const name of ['pixels', 'picture']) this.drawing.addEventListener(name, () => this.keepSoon());
    document.addEventListener('visibilitychange', () => { if (document.hidden && !this.settled) this.keep(); });
  }

  get settled() { return this.kept === this.drawing.revision; }

  // A file from wherever: the server makes a plain PNG of it, or says what is wrong with it. Then the old picture stays.
  async load(blob) {
    const answer = await upload(blob);
    const picture = await decoded(await download(answer.id), answer.id);
    this.drawing.setPicture({...picture, hasAlpha: answer.has_alpha});
  }

  // What the browser kept comes back when the slot is first looked at, unless somebody put a picture there already.
  ready() { return this.restoring ??= this.restore().catch(() => {}); }

  async restore() {
    const kept = await readDrawing(this.key);
    if (!kept || this.drawing.revision) return;
    const picture = await decoded(kept.picture, kept.id);
    if (this.drawing.revision) return;
    this.drawing.setPicture({...picture, hasAlpha: kept.hasAlpha}, {undoable: false});
    if (kept.ink) await this.drawing.restoreInk(kept.ink);
    this.kept = this.drawing.revision;
  }

  keepSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.keep(), QUIET);
  }

  keep() {
    clearTimeout(this.timer);
    this.saving = this.saving.then(() => this.write()).catch(() => {
      webui.toast('The browser has no room to keep this picture and its mask: they last until the page is closed.', 'error');
      this.kept = this.drawing.revision;
    });
  }

  async write() {
    if (this.settled) return;
    const {revision, picture} = this.drawing;
    const ink = await this.drawing.inkBlob();
    await writeDrawing(this.key, picture && {picture: picture.blob, id: picture.id, hasAlpha: picture.hasAlpha, ink});
    this.kept = revision;
    if (this.drawing.revision !== revision) this.keepSoon();
  }

  // The picture alone, with its paint, as a file.
  async file() { return this.drawing.kind === 'paint' ? toBlob(this.drawing.flattened()) : this.drawing.picture.blob; }

  // The ids of {image, mask} for a request; `mask` is null where nothing is covered. `transparency` fades the paint.
  async inputs({withMask = false, transparency = 0} = {}) {
    await this.ready();
    const {drawing} = this;
    if (!drawing.picture) throw new Error('Choose a picture first: drop one on the canvas, paste it with Ctrl+V, or click there.');
    drawing.endStroke();
    const wanted = JSON.stringify([drawing.revision, withMask, transparency]);
    if (this.sent.wanted === wanted && await isThere(this.sent.image)) return this.sent;
    const painted = drawing.kind === 'paint' && !isEmpty(drawing.ink.canvas);
    const image = painted ? (await upload(await toBlob(drawing.flattened(transparency)))).id : await ensure(drawing.picture);
    const covered = withMask && drawing.ink && !isEmpty(drawing.ink.canvas);
    const mask = covered ? (await upload(await toBlob(drawing.ink.asMask()))).id : null;
    this.sent = {wanted, image, mask, hasAlpha: Boolean(drawing.picture.hasAlpha)};
    return this.sent;
  }
}
