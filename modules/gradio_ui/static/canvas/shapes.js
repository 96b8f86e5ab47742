// Filled shapes: the inside of a lasso or rectangle, and the area of one colour around a point.
const ALIKE = 32;   // how far two colours may be apart, per channel, and still be one area

export function fillShape(context, points, {colour, erase}) {
  context.save();
  context.globalCompositeOperation = erase ? 'destination-out' : 'source-over';
  context.fillStyle = colour;
  context.beginPath();
  context.moveTo(points[0].x, points[0].y);
  for (const point of points.slice(1)) context.lineTo(point.x, point.y);
  context.closePath();
  context.fill('evenodd');
  context.restore();
}

// The corners of a rectangle, on whole pixels, so that its edge is sharp.
export function corners(from, to) {
  const [left, right] = [from.x, to.x].sort((a, b) => a - b).map(Math.round);
  const [top, bottom] = [from.y, to.y].sort((a, b) => a - b).map(Math.round);
  return [{x: left, y: top}, {x: right, y: top}, {x: right, y: bottom}, {x: left, y: bottom}];
}

// One byte a pixel, 1 where the pixel belongs to the area around (x, y): row by row, as paint runs.
export function areaAround(pixels, x, y) {
  const {width, height, data} = pixels, found = new Uint8Array(width * height);
  const start = (y * width + x) * 4;
  const alike = (at) => {
    for (let channel = 0; channel < 4; channel++) if (Math.abs(data[at * 4 + channel] - data[start + channel]) > ALIKE) return false;
    return true;
  };
  const waiting = [y * width + x];
  while (waiting.length) {
    const at = waiting.pop();
    if (found[at]) continue;
    const row = Math.floor(at / width) * width;
    let left = at, right = at;
    while (left > row && !found[left - 1] && alike(left - 1)) left--;
    while (right < row + width - 1 && !found[right + 1] && alike(right + 1)) right++;
    found.fill(1, left, right + 1);
    for (const next of [row - width, row + width]) {
      if (next < 0 || next >= width * height) continue;
      let inside = false;
      for (let i = left - row; i <= right - row; i++) {
        const free = !found[next + i] && alike(next + i);
        if (free && !inside) waiting.push(next + i);
        inside = free;
      }
    }
  }
  return found;
}

// The area as a canvas in one colour.
export function areaInColour(found, canvas, colour) {
  const context = canvas.getContext('2d'), pixels = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < found.length; i++) if (found[i]) pixels.data[i * 4 + 3] = 255;
  context.putImageData(pixels, 0, 0);
  context.globalCompositeOperation = 'source-in';
  context.fillStyle = colour;
  context.fillRect(0, 0, canvas.width, canvas.height);
  return canvas;
}
