// A layer: a canvas as large as the picture. While one draws, its pixels are copied between canvases and never read.
export function canvasOf(width, height) {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

export const toBlob = (canvas, type = 'image/png') => new Promise((done, failed) => {
  canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error('The browser has not enough memory for this picture.'))), type);
});

export class Layer {
  constructor(width, height) {
    this.canvas = canvasOf(width, height);
    this.context = this.canvas.getContext('2d');
  }

  get width() { return this.canvas.width; }
  get height() { return this.canvas.height; }
  get whole() { return {x: 0, y: 0, width: this.width, height: this.height}; }

  copyOf(rect) {
    const tile = canvasOf(rect.width, rect.height);
    tile.getContext('2d').drawImage(this.canvas, rect.x, rect.y, rect.width, rect.height, 0, 0, rect.width, rect.height);
    return tile;
  }

  put(source, rect) {
    this.context.clearRect(rect.x, rect.y, rect.width, rect.height);
    this.context.drawImage(source, rect.x, rect.y);
  }

  // What is covered becomes free, what is free becomes covered by `colour`: alpha a becomes 255 - a, and twice is as before.
  invert(colour) {
    this.context.save();
    this.context.globalCompositeOperation = 'xor';
    this.context.fillStyle = colour;
    this.context.fillRect(0, 0, this.width, this.height);
    this.context.restore();
  }

  // The layer's alpha as a grey picture without transparency: white where it is covered.
  asMask() {
    const grey = canvasOf(this.width, this.height), context = grey.getContext('2d');
    context.drawImage(this.canvas, 0, 0);
    context.globalCompositeOperation = 'source-in';
    context.fillStyle = '#fff';
    context.fillRect(0, 0, this.width, this.height);
    context.globalCompositeOperation = 'destination-over';
    context.fillStyle = '#000';
    context.fillRect(0, 0, this.width, this.height);
    return grey;
  }
}
