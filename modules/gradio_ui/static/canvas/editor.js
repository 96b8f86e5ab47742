// The editor of one slot on the page: toolbar, stage, and what is dropped, pasted or chosen.
import {Pointers} from './pointer.js';
import {toolbar} from './toolbar.js';
import {tools} from './tools.js';
import {View} from './view.js';

const PARTS = `
  <div class="canvas-bar" role="toolbar" aria-label="Tools"></div>
  <div class="canvas-stage" tabindex="0" role="application" aria-roledescription="drawing canvas" data-empty>
    <canvas aria-hidden="true"></canvas>
    <svg class="canvas-outline" aria-hidden="true"><path></path></svg>
    <div class="canvas-cursor" hidden></div>
    <label class="canvas-empty"><span>Drop a picture here, paste it (Ctrl+V) or click to choose</span>
      <input type="file" accept="image/*,.tif,.tiff,.tga,.avif" aria-label="Choose a picture"></label>
    <div class="canvas-status"></div>
  </div>`;

// The picture that a drop or a paste brings: a file, or a picture of this page.
async function broughtBy(data) {
  const file = [...(data?.files ?? [])].find((each) => !each.type || each.type.startsWith('image/'));
  if (file) return file;
  const url = data?.getData('text/uri-list').split('\n')[0];
  if (!url || new URL(url, location.href).origin !== location.origin) return null;
  return (await fetch(url)).blob();
}

export class Editor {
  constructor(root, slot, keyboard) {
    this.root = root;
    this.slot = slot;
    this.drawing = slot.drawing;
    root.innerHTML = PARTS;
    root.dataset.kind = slot.drawing.kind;
    const stage = root.querySelector('.canvas-stage');
    stage.setAttribute('aria-label', root.dataset.label);
    this.status = root.querySelector('.canvas-status');
    this.picker = root.querySelector('input[type=file]');
    this.view = new View(stage, slot.drawing, tools, (scale) => this.showStatus(scale));
    tools.addEventListener('change', () => this.view.draw());
    this.pointers = new Pointers(stage, slot.drawing, this.view, () => keyboard.panning);
    toolbar(root.querySelector('.canvas-bar'), this);
    this.picker.addEventListener('change', () => { this.open(this.picker.files[0]); this.picker.value = ''; });
    this.takeDrops(stage);
    keyboard.editors.add(this);
    slot.ready();
  }

  // Asked of the stage: an editor that fills the window has no offset parent itself.
  get isShown() { return this.root.isConnected && this.view.stage.offsetParent !== null; }

  showStatus(scale) {
    const {picture, width, height} = this.drawing;
    this.status.textContent = picture ? `${width}×${height} · ${Math.round(scale * 100)} %` : '';
  }

  takeDrops(stage) {
    stage.addEventListener('dragover', (event) => event.preventDefault());
    stage.addEventListener('drop', (event) => {
      event.preventDefault();
      event.stopPropagation();
      this.take(event.dataTransfer);
    });
  }

  choose() { this.picker.click(); }

  async take(data) {
    const blob = await broughtBy(data).catch(() => null);
    if (blob) await this.open(blob);
    else webui.toast('There is no picture in what was dropped or pasted.', 'error');
  }

  async open(blob) {
    if (!blob) return;
    this.root.setAttribute('aria-busy', 'true');
    try { await this.slot.load(blob); } catch (error) { webui.toast(error.message, 'error'); }
    this.root.removeAttribute('aria-busy');
  }

  toggleFull() {
    if (!this.drawing.picture && !this.root.hasAttribute('data-full')) return;
    this.root.toggleAttribute('data-full');
    document.body.classList.toggle('canvas-full', this.root.hasAttribute('data-full'));
    this.view.resize();
    this.view.fit();
    this.view.stage.focus({preventScroll: true});
  }
}
