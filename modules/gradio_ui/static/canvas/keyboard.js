// Keys for the canvas that has the focus or is under the mouse: A1111's, and what painting programs have taught everybody.
import {tools} from './tools.js';

const PAN = 60;
const ARROWS = {ArrowLeft: [PAN, 0], ArrowRight: [-PAN, 0], ArrowUp: [0, PAN], ArrowDown: [0, -PAN]};

const isText = (node) => Boolean(node.closest?.('textarea, [contenteditable], input:not([type=range]):not([type=color]):not([type=checkbox]):not([type=file])'));

// Which editor the keys are for right now: the one with the focus, else the one under the mouse.
export class Keyboard {
  constructor() {
    this.editors = new Set();
    this.panning = false;
    addEventListener('keydown', (event) => this.down(event), true);
    addEventListener('keyup', (event) => { if (event.key.toLowerCase() === 'f') this.hold(false); }, true);
    addEventListener('blur', () => this.hold(false));
  }

  hold(on) {
    this.panning = on;
    for (const editor of this.editors) editor.root.toggleAttribute('data-panning', on);
  }

  editor() {
    const shown = [...this.editors].filter((editor) => editor.isShown);
    return shown.find((editor) => editor.root.hasAttribute('data-full')) ?? shown.find((editor) => editor.root.contains(document.activeElement))
      ?? shown.find((editor) => editor.root.matches(':hover'));
  }

  down(event) {
    const editor = this.editor();
    if (!editor || isText(event.target) || event.altKey) return;
    const act = event.ctrlKey || event.metaKey ? this.withControl(editor, event) : this.plain(editor, event);
    if (!act) return;
    act();
    event.preventDefault();
    event.stopPropagation();
  }

  withControl(editor, event) {
    const key = event.key.toLowerCase();
    if (key === 'z') return event.shiftKey ? () => editor.drawing.redo() : () => editor.drawing.undo();
    return key === 'y' ? () => editor.drawing.redo() : null;
  }

  plain(editor, event) {
    const {drawing, view} = editor, middle = [view.stage.clientWidth / 2, view.stage.clientHeight / 2];
    if (event.target === view.stage && ARROWS[event.key]) return () => view.pan(...ARROWS[event.key]);
    return {
      '[': () => tools.grow(-1), q: () => tools.grow(-1),
      ']': () => tools.grow(1), w: () => tools.grow(1),
      x: () => tools.swapEraser(),
      b: () => tools.set('tool', 'brush'), e: () => tools.set('tool', 'eraser'),
      f: () => this.hold(true),
      s: () => editor.toggleFull(),
      r: () => view.fit(),
      i: drawing.kind === 'mask' ? () => drawing.invert() : null,
      '+': () => view.zoom(1.25, ...middle), '-': () => view.zoom(0.8, ...middle),
      Escape: editor.root.hasAttribute('data-full') ? () => editor.toggleFull() : null,
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  }
}
