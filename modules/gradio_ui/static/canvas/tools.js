// The tools' state, one for all canvases of the page and remembered by the browser: whoever chose a brush finds it in every tab.
const KEY = 'webui.canvas.tools.v1';
const DEFAULTS = {size: 40, softness: 0, pressure: true, colour: '#e02020', overlay: '#ff4080', opacity: 0.6};
const LIMITS = {size: [1, 1024], softness: [0, 1], opacity: [0.05, 1]};

class Tools extends EventTarget {
  constructor() {
    super();
    let stored = {};
    try { stored = JSON.parse(localStorage.getItem(KEY) || '{}'); } catch { /* damaged: the defaults do */ }
    for (const [name, value] of Object.entries(DEFAULTS)) this[name] = typeof stored[name] === typeof value ? stored[name] : value;
    this.tool = 'brush';
  }

  set(name, value) {
    const limits = LIMITS[name];
    this[name] = limits ? Math.min(limits[1], Math.max(limits[0], value)) : value;
    const kept = Object.fromEntries(Object.keys(DEFAULTS).map((key) => [key, this[key]]));
    try { localStorage.setItem(KEY, JSON.stringify(kept)); } catch { /* full: the choice lasts until the page is closed */ }
    this.dispatchEvent(new Event('change'));
  }

  grow(steps) { this.set('size', Math.round(this.size * 1.15 ** steps) + Math.sign(steps)); }
  swapEraser() { this.set('tool', this.tool === 'eraser' ? 'brush' : 'eraser'); }
}

export const tools = new Tools();
