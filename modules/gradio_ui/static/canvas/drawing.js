// What one canvas holds: a picture and, over it, ink: a mask (its colour means nothing) or paint. Knows no page.
// Tells about changes by events: "pixels" with the changed rectangle, "picture" when another picture is there, "step" after a stroke.
import {Stroke} from './brush.js';
import {clipped, around} from './geometry.js';
import {History, TileStep} from './history.js';
import {Layer, canvasOf, toBlob} from './layer.js';
import {areaAround, areaInColour, fillShape} from './shapes.js';

export const MASK_COLOUR = '#ffffff';

// `blob` is the file as the server keeps it, `id` its name there.
export async function decoded(blob, id) {
  const bitmap = await createImageBitmap(blob);
  const canvas = canvasOf(bitmap.width, bitmap.height);
  canvas.getContext('2d').drawImage(bitmap, 0, 0);
  bitmap.close();
  return {canvas, blob, id, width: canvas.width, height: canvas.height};
}

export class Drawing extends EventTarget {
  constructor(kind) {
    super();
    this.kind = kind;            // view, mask or paint
    this.picture = null;
    this.ink = null;
    this.history = new History();
    this.revision = 0;           // grows with every change of the ink or the picture
    this.stroke = null;
  }

  get width() { return this.picture?.width ?? 0; }
  get height() { return this.picture?.height ?? 0; }
  get inkable() { return this.kind !== 'view' && this.picture !== null; }

  tell(name, detail) {
    this.revision++;
    this.dispatchEvent(new CustomEvent(name, {detail}));
  }

  // Another picture, as a step that can be undone. The ink stays where the size stays the same.
  setPicture(picture, {undoable = true} = {}) {
    this.cancelStroke();
    const fits = picture && this.ink && this.ink.width === picture.width && this.ink.height === picture.height;
    const ink = fits ? this.ink : picture && this.kind !== 'view' ? new Layer(picture.width, picture.height) : null;
    if (undoable && this.picture) this.history.push(this.pictureStep());
    else if (!fits) this.history.clear();
    this.picture = picture;
    this.ink = ink;
    this.tell('picture');
  }

  pictureStep() {
    const kept = {picture: this.picture, ink: this.ink};
    const swap = () => {
      const now = {picture: this.picture, ink: this.ink};
      this.picture = kept.picture;
      this.ink = kept.ink;
      Object.assign(kept, now);
      return null;
    };
    return {bytes: this.width * this.height * 8, swap};
  }

  // Strokes: begin, extend, then end or cancel.
  beginStroke(look, point) {
    this.stroke = new Stroke(this.ink, new TileStep(this.ink), look);
    this.extendStroke(point);
  }

  extendStroke(point) {
    const rect = this.stroke?.to(point);
    if (rect) this.tell('pixels', rect);
  }

  endStroke() {
    const stroke = this.stroke;
    this.stroke = null;
    if (!stroke?.step.tiles.size) return;
    this.history.push(stroke.step);
    this.dispatchEvent(new Event('step'));
  }

  cancelStroke() {
    const stroke = this.stroke;
    this.stroke = null;
    for (const rect of stroke?.step.swap() ?? []) this.tell('pixels', rect);
  }

  // One change of the ink inside `rect`, as one step.
  change(rect, draw) {
    const inside = this.inkable && clipped(rect, this.width, this.height);
    if (!inside) return;
    this.cancelStroke();
    const step = new TileStep(this.ink);
    step.touch(inside);
    draw(this.ink.context);
    this.history.push(step);
    this.tell('pixels', inside);
  }

  shape(points, look) {
    if (points.length > 1) this.change(around(points, 1), (context) => fillShape(context, points, look));
  }

  // Fills what looks alike around a point: the ink of a mask, the picture with its paint in a sketch.
  fill(point, look) {
    const [x, y] = [Math.floor(point.x), Math.floor(point.y)];
    if (!this.inkable || x < 0 || y < 0 || x >= this.width || y >= this.height) return;
    const seen = this.kind === 'mask' ? this.ink.canvas : this.flattened();
    const found = areaAround(seen.getContext('2d').getImageData(0, 0, this.width, this.height), x, y);
    const area = areaInColour(found, canvasOf(this.width, this.height), look.colour);
    this.change(this.ink.whole, (context) => {
      context.save();
      context.globalCompositeOperation = look.erase ? 'destination-out' : 'source-over';
      context.drawImage(area, 0, 0);
      context.restore();
    });
  }

  clear() { this.change(this.inkable ? this.ink.whole : {x: 0, y: 0, width: 0, height: 0}, (context) => context.clearRect(0, 0, this.width, this.height)); }

  invert() {
    if (!this.inkable || this.kind !== 'mask') return;
    this.cancelStroke();
    const ink = this.ink;
    const swap = () => { ink.invert(MASK_COLOUR); return [ink.whole]; };
    swap();
    this.history.push({bytes: 0, swap});
    this.tell('pixels', ink.whole);
  }

  undo() { this.moved(() => this.history.undo()); }
  redo() { this.moved(() => this.history.redo()); }

  moved(move) {
    this.cancelStroke();
    const before = this.picture, changed = move() ?? [];
    if (this.picture !== before) this.tell('picture');
    else for (const rect of changed) this.tell('pixels', rect);
  }

  // Picture and paint in one. `transparency` from 0 to 1 fades the paint.
  flattened(transparency = 0) {
    const canvas = canvasOf(this.width, this.height), context = canvas.getContext('2d');
    context.drawImage(this.picture.canvas, 0, 0);
    context.globalAlpha = 1 - transparency;
    if (this.kind === 'paint') context.drawImage(this.ink.canvas, 0, 0);
    return canvas;
  }

  colourAt(point) {
    const [x, y] = [Math.floor(point.x), Math.floor(point.y)];
    const spot = canvasOf(1, 1), context = spot.getContext('2d');
    context.drawImage(this.picture.canvas, -x, -y);
    context.drawImage(this.ink.canvas, -x, -y);
    return `#${[...context.getImageData(0, 0, 1, 1).data.slice(0, 3)].map((value) => value.toString(16).padStart(2, '0')).join('')}`;
  }

  // The ink as a file that `restoreInk` reads again.
  inkBlob() { return this.ink ? toBlob(this.ink.canvas) : Promise.resolve(null); }

  async restoreInk(blob) {
    const bitmap = await createImageBitmap(blob);
    if (this.ink && bitmap.width === this.width && bitmap.height === this.height) {
      this.ink.put(bitmap, this.ink.whole);
      this.tell('pixels', this.ink.whole);
    }
    bitmap.close();
  }
}
