// Undo and redo. A step can `swap`: it exchanges what is there with what it keeps, so that the same step undoes and redoes.
// Strokes keep the tiles that they touched, nothing keeps a whole copy, and the oldest steps go when they take too much memory.
const TILE = 256;

export class TileStep {
  constructor(layer) {
    this.layer = layer;
    this.tiles = new Map();
    this.bytes = 0;
  }

  // Keep the tiles below `rect` as they are, unless this step has them already. To be called before drawing there.
  touch(rect) {
    const {width, height} = this.layer;
    for (let y = Math.floor(rect.y / TILE) * TILE; y < rect.y + rect.height; y += TILE) {
      for (let x = Math.floor(rect.x / TILE) * TILE; x < rect.x + rect.width; x += TILE) {
        const key = y * width + x;
        if (this.tiles.has(key)) continue;
        const tile = {x, y, width: Math.min(TILE, width - x), height: Math.min(TILE, height - y)};
        this.tiles.set(key, {rect: tile, pixels: this.layer.copyOf(tile)});
        this.bytes += tile.width * tile.height * 4;
      }
    }
  }

  swap() {
    for (const tile of this.tiles.values()) {
      const now = this.layer.copyOf(tile.rect);
      this.layer.put(tile.pixels, tile.rect);
      tile.pixels = now;
    }
    return [...this.tiles.values()].map((tile) => tile.rect);
  }
}

export class History {
  constructor(memory = 192 * 1024 * 1024, count = 300) {
    this.memory = memory;
    this.count = count;
    this.done = [];
    this.undone = [];
  }

  get canUndo() { return this.done.length > 0; }
  get canRedo() { return this.undone.length > 0; }
  get bytes() { return [...this.done, ...this.undone].reduce((sum, step) => sum + step.bytes, 0); }

  push(step) {
    this.undone = [];
    this.done.push(step);
    // The last step always stays, however large.
    while (this.done.length > 1 && (this.done.length > this.count || this.bytes > this.memory)) this.done.shift();
  }

  // Both return the rectangles that changed, or null when there is nothing to do.
  undo() { return this.move(this.done, this.undone); }
  redo() { return this.move(this.undone, this.done); }

  move(from, to) {
    const step = from.pop();
    if (!step) return null;
    const changed = step.swap();
    to.push(step);
    return changed;
  }

  clear() {
    this.done = [];
    this.undone = [];
  }
}
