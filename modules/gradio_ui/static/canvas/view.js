// Draws a drawing onto the page: zoomed, moved, the mask in the overlay's colour. Once a frame at most, and only what changed.
import {clipped, union} from './geometry.js';
import {canvasOf} from './layer.js';

const SMALLEST = 0.02, LARGEST = 64;

export class View {
  // `look` is {overlay, opacity}; `drawn` is called after each frame with the current scale.
  constructor(stage, drawing, look, drawn) {
    Object.assign(this, {stage, drawing, look, drawn});
    this.canvas = stage.querySelector('canvas');
    this.context = this.canvas.getContext('2d');
    this.tint = canvasOf(1, 1);
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    this.fitted = true;          // follows the stage's size until somebody zooms
    this.dirty = null;           // in device pixels
    this.frame = 0;
    this.halves = [];
    drawing.addEventListener('pixels', (event) => this.invalidate(event.detail));
    drawing.addEventListener('picture', () => this.takePicture());
    new ResizeObserver(() => this.resize()).observe(stage);
    this.takePicture();
  }

  get ratio() { return window.devicePixelRatio || 1; }

  resize() {
    const width = Math.round(this.stage.clientWidth * this.ratio), height = Math.round(this.stage.clientHeight * this.ratio);
    if (!width || !height) return;            // a tab that is not open
    if (this.canvas.width !== width || this.canvas.height !== height) {
      for (const canvas of [this.canvas, this.tint]) Object.assign(canvas, {width, height});
      if (this.fitted) this.fit();
      else this.draw();
    }
  }

  takePicture() {
    const picture = this.drawing.picture;
    // Large pictures are drawn small most of the time: halves of them are prepared once.
    this.halves = [];
    for (let from = picture?.canvas; from && Math.max(from.width, from.height) > 1536; from = this.halves.at(-1)) {
      const half = canvasOf(Math.ceil(from.width / 2), Math.ceil(from.height / 2)), context = half.getContext('2d');
      context.imageSmoothingQuality = 'medium';
      context.drawImage(from, 0, 0, half.width, half.height);
      this.halves.push(half);
    }
    this.stage.toggleAttribute('data-empty', !picture);
    this.fitted = true;
    this.resize();            // the stage of a picture is taller than an empty one
    this.fit();
  }

  fit() {
    this.fitted = true;
    const {width, height} = this.drawing;
    if (width) {
      this.scale = Math.min(this.canvas.width / width, this.canvas.height / height);
      this.x = (this.canvas.width - width * this.scale) / 2;
      this.y = (this.canvas.height - height * this.scale) / 2;
    }
    this.draw();
  }

  // Zooms by `factor` and keeps the point (x, y), in CSS pixels of the stage, where it is.
  zoom(factor, x, y) {
    const scale = Math.min(LARGEST, Math.max(SMALLEST, this.scale * factor));
    const [px, py] = [x * this.ratio, y * this.ratio];
    this.x = px - ((px - this.x) * scale) / this.scale;
    this.y = py - ((py - this.y) * scale) / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.draw();
  }

  pan(dx, dy) {
    this.x += dx * this.ratio;
    this.y += dy * this.ratio;
    this.fitted = false;
    this.draw();
  }

  // A point of the stage, in CSS pixels, as a point of the picture.
  toPicture(x, y) { return {x: (x * this.ratio - this.x) / this.scale, y: (y * this.ratio - this.y) / this.scale}; }

  // A point of the picture as a point of the stage.
  toStage(point) { return {x: (point.x * this.scale + this.x) / this.ratio, y: (point.y * this.scale + this.y) / this.ratio}; }

  draw() { this.schedule({x: 0, y: 0, width: this.canvas.width, height: this.canvas.height}); }

  invalidate(rect) {
    this.schedule({
      x: rect.x * this.scale + this.x - 2,
      y: rect.y * this.scale + this.y - 2,
      width: rect.width * this.scale + 4,
      height: rect.height * this.scale + 4,
    });
  }

  schedule(rect) {
    this.dirty = union(this.dirty, clipped(rect, this.canvas.width, this.canvas.height));
    if (this.dirty && !this.frame) this.frame = requestAnimationFrame(() => this.render());
  }

  render() {
    this.frame = 0;
    const rect = clipped(this.dirty, this.canvas.width, this.canvas.height);
    this.dirty = null;
    if (!rect) return;
    const context = this.context;
    context.save();
    context.beginPath();
    context.rect(rect.x, rect.y, rect.width, rect.height);
    context.clip();
    context.clearRect(rect.x, rect.y, rect.width, rect.height);
    if (this.drawing.picture) {
      this.place(context, this.source());
      if (this.drawing.kind === 'paint') this.place(context, this.drawing.ink.canvas);
      if (this.drawing.kind === 'mask') this.placeMask(rect);
    }
    context.restore();
    this.drawn(this.scale);
  }

  source() {
    const wanted = this.drawing.width * this.scale;
    return [...this.halves].reverse().find((half) => half.width >= wanted) ?? this.drawing.picture.canvas;
  }

  place(context, canvas) {
    context.imageSmoothingEnabled = this.scale < 2;
    context.drawImage(canvas, this.x, this.y, this.drawing.width * this.scale, this.drawing.height * this.scale);
  }

  // The mask is white; its colour is given to it on the way to the page.
  placeMask(rect) {
    const context = this.tint.getContext('2d');
    context.save();
    context.beginPath();
    context.rect(rect.x, rect.y, rect.width, rect.height);
    context.clip();
    context.clearRect(rect.x, rect.y, rect.width, rect.height);
    this.place(context, this.drawing.ink.canvas);
    context.globalCompositeOperation = 'source-in';
    context.fillStyle = this.look.overlay;
    context.fillRect(rect.x, rect.y, rect.width, rect.height);
    context.restore();
    this.context.globalAlpha = this.look.opacity;
    this.context.drawImage(this.tint, rect.x, rect.y, rect.width, rect.height, rect.x, rect.y, rect.width, rect.height);
    this.context.globalAlpha = 1;
  }
}
