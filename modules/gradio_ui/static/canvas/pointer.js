// Mouse, pen and fingers: what a pointer on the stage does. One finger draws, two move and zoom.
import {MASK_COLOUR} from './drawing.js';
import {distance} from './geometry.js';
import {corners} from './shapes.js';
import {tools} from './tools.js';

const RIGHT = 2, PEN_ERASER = 5, MIDDLE = 1;

export class Pointers {
  // `held` tells whether the key for moving the picture is down.
  constructor(stage, drawing, view, held) {
    Object.assign(this, {stage, drawing, view, held});
    this.fingers = new Map();
    this.action = null;         // {move, end, cancel} of what is going on
    this.outline = stage.querySelector('.canvas-outline path');
    this.cursor = stage.querySelector('.canvas-cursor');
    stage.addEventListener('pointerdown', (event) => this.down(event));
    stage.addEventListener('pointermove', (event) => this.move(event));
    for (const name of ['pointerup', 'pointercancel']) stage.addEventListener(name, (event) => this.up(event));
    stage.addEventListener('pointerleave', () => { this.cursor.hidden = true; });
    stage.addEventListener('contextmenu', (event) => { if (drawing.inkable) event.preventDefault(); });
    stage.addEventListener('wheel', (event) => this.wheel(event), {passive: false});
    tools.addEventListener('change', () => this.showCursor());
  }

  place(event) {
    const box = this.stage.getBoundingClientRect();
    return {x: event.clientX - box.left, y: event.clientY - box.top};
  }

  point(event) {
    const place = this.place(event), pen = event.pointerType === 'pen' && tools.pressure;
    return {...this.view.toPicture(place.x, place.y), size: pen ? Math.max(0.05, event.pressure) : 1};
  }

  down(event) {
    if (!this.drawing.picture || event.target.closest('button, label, input')) return;
    this.stage.setPointerCapture(event.pointerId);
    if (event.pointerType === 'touch') this.fingers.set(event.pointerId, this.place(event));
    if (this.fingers.size === 2) this.start(this.pinch());
    else if (this.fingers.size < 2 && !this.action) this.start(this.actionFor(event));
    if (this.action && event.pointerType !== 'touch') event.preventDefault();
    this.stage.focus({preventScroll: true});
  }

  start(action) {
    this.action?.cancel?.();
    this.action = action;
  }

  move(event) {
    this.showCursor(event);
    if (this.fingers.has(event.pointerId)) this.fingers.set(event.pointerId, this.place(event));
    this.action?.move(event);
  }

  up(event) {
    this.fingers.delete(event.pointerId);
    const action = this.action;
    if (!action || (action.pinch && this.fingers.size)) return;
    this.action = null;
    (event.type === 'pointercancel' ? action.cancel ?? action.end : action.end)?.(event);
    if (event.pointerType === 'touch') this.cursor.hidden = true;
  }

  actionFor(event) {
    if (event.button === MIDDLE || this.held() || !this.drawing.inkable) return this.panning(event);
    const erase = tools.tool === 'eraser' || [RIGHT, PEN_ERASER].includes(event.button) || event.shiftKey;
    const look = {size: tools.size, softness: tools.softness, erase, colour: this.drawing.kind === 'mask' ? MASK_COLOUR : tools.colour};
    if (tools.tool === 'lasso') return this.lasso(event, look);
    if (tools.tool === 'rectangle') return this.rectangle(event, look);
    if (tools.tool === 'fill') return {move() {}, end: () => this.drawing.fill(this.point(event), look)};
    if (tools.tool === 'picker' && this.drawing.kind === 'paint') {
      return {move() {}, end: (last) => { tools.set('colour', this.drawing.colourAt(this.point(last))); tools.set('tool', 'brush'); }};
    }
    return this.brush(event, look);
  }

  brush(event, look) {
    this.drawing.beginStroke(look, this.point(event));
    return {
      // A screen hands over fewer moves than a pen makes; the ones between come along.
      move: (next) => {
        const between = next.getCoalescedEvents?.() ?? [];
        for (const each of between.length ? between : [next]) this.drawing.extendStroke(this.point(each));
      },
      end: () => this.drawing.endStroke(),
      cancel: () => this.drawing.cancelStroke(),
    };
  }

  lasso(event, look) {
    const points = [this.point(event)];
    return this.shaping(look, () => points, (next) => points.push(this.point(next)));
  }

  rectangle(event, look) {
    const from = this.point(event);
    let to = from;
    return this.shaping(look, () => corners(from, to), (next) => { to = this.point(next); });
  }

  shaping(look, points, take) {
    const show = (shown) => {
      this.outline.setAttribute('d', shown.length ? `M${shown.map((point) => { const {x, y} = this.view.toStage(point); return `${x} ${y}`; }).join('L')}Z` : '');
    };
    return {
      move: (next) => { take(next); show(points()); },
      end: () => { show([]); this.drawing.shape(points(), look); },
      cancel: () => show([]),
    };
  }

  panning(event) {
    let last = this.place(event);
    return {
      move: (next) => {
        const now = this.place(next);
        this.view.pan(now.x - last.x, now.y - last.y);
        last = now;
      },
      end() {},
    };
  }

  pinch() {
    const state = () => {
      const [one, other] = [...this.fingers.values()];
      return {x: (one.x + other.x) / 2, y: (one.y + other.y) / 2, span: Math.max(1, distance(one, other))};
    };
    let last = state();
    return {
      pinch: true,
      move: () => {
        if (this.fingers.size < 2) return;
        const now = state();
        this.view.pan(now.x - last.x, now.y - last.y);
        this.view.zoom(now.span / last.span, now.x, now.y);
        last = now;
      },
      end() {},
    };
  }

  wheel(event) {
    const up = event.deltaY < 0;
    if (event.altKey) { const {x, y} = this.place(event); this.view.zoom(up ? 1.15 : 1 / 1.15, x, y); }
    else if (event.ctrlKey || event.metaKey) tools.grow(up ? 1 : -1);
    else return;
    event.preventDefault();
  }

  // The ring that shows how large the brush is; the browser moves it, nothing is drawn for it.
  showCursor(event) {
    if (event) this.at = this.place(event);
    const shown = this.at && this.drawing.inkable && ['brush', 'eraser'].includes(tools.tool) && !this.held();
    this.stage.toggleAttribute('data-ring', Boolean(shown));
    if (event) this.cursor.hidden = !shown || event.pointerType === 'touch';
    if (!shown) return;
    const side = (tools.size * this.view.scale) / this.view.ratio;
    this.cursor.style.cssText = `width:${side}px;height:${side}px;transform:translate(${this.at.x - side / 2}px,${this.at.y - side / 2}px)`;
  }
}
