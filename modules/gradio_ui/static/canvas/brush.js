// A brush stroke: a line of round marks, hard or with a soft edge, drawn piece by piece as the pointer moves.
import {around, between, clipped, distance} from './geometry.js';
import {canvasOf} from './layer.js';

const SPACING = 0.12;   // of the brush's size, between two soft marks

function softMark(size, softness, colour) {
  const side = Math.max(2, Math.ceil(size) + 2), mark = canvasOf(side, side), context = mark.getContext('2d');
  const shade = context.createRadialGradient(side / 2, side / 2, (size / 2) * (1 - softness), side / 2, side / 2, size / 2);
  shade.addColorStop(0, '#000f');
  shade.addColorStop(1, '#0000');
  context.fillStyle = shade;
  context.fillRect(0, 0, side, side);
  context.globalCompositeOperation = 'source-in';
  context.fillStyle = colour;
  context.fillRect(0, 0, side, side);
  return mark;
}

export class Stroke {
  // `look` is {size, softness, colour, erase}; `step` keeps what is drawn over.
  constructor(layer, step, look) {
    this.layer = layer;
    this.step = step;
    this.look = look;
    this.last = null;
    this.rest = 0;
    this.mark = look.softness > 0 ? softMark(look.size, look.softness, look.colour) : null;
  }

  // Draws to `point` ({x, y, size} with size from 0 to 1 for a pen's pressure); returns the changed rectangle, or null.
  to(point) {
    const from = this.last || point;
    this.last = point;
    const rect = clipped(around([from, point], this.look.size / 2 + 2), this.layer.width, this.layer.height);
    if (!rect) return null;
    this.step.touch(rect);
    const context = this.layer.context;
    context.save();
    context.globalCompositeOperation = this.look.erase ? 'destination-out' : 'source-over';
    if (this.mark) this.soft(context, from, point);
    else this.hard(context, from, point);
    context.restore();
    return rect;
  }

  hard(context, from, to) {
    context.strokeStyle = context.fillStyle = this.look.colour;
    if (from === to) {
      context.beginPath();
      context.arc(to.x, to.y, Math.max(0.5, (this.look.size * to.size) / 2), 0, 2 * Math.PI);
      context.fill();
      return;
    }
    const pieces = from.size === to.size ? 1 : Math.max(1, Math.ceil(distance(from, to) / 4));
    context.lineCap = 'round';
    for (let i = 0; i < pieces; i++) {
      const start = between(from, to, i / pieces), end = between(from, to, (i + 1) / pieces);
      context.lineWidth = Math.max(1, this.look.size * end.size);
      context.beginPath();
      context.moveTo(start.x, start.y);
      context.lineTo(end.x, end.y);
      context.stroke();
    }
  }

  soft(context, from, to) {
    const spacing = Math.max(1, this.look.size * SPACING), length = distance(from, to);
    let at = from === to ? 0 : this.rest;
    for (; at <= length; at += spacing) {
      const spot = between(from, to, length ? at / length : 0), side = this.mark.width * spot.size;
      context.drawImage(this.mark, spot.x - side / 2, spot.y - side / 2, side, side);
    }
    this.rest = at - length;
  }
}
