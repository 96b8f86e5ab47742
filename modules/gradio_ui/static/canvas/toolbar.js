// The buttons over the picture: real ones, with titles that say their key.
import {tools} from './tools.js';

const TOOLS = [
  ['brush', '🖌', 'Brush (B); the right button or Shift erases'],
  ['eraser', '🧽', 'Eraser (E); X swaps brush and eraser'],
  ['lasso', '➰', 'Lasso: fills what you draw around; Shift takes away'],
  ['rectangle', '▭', 'Rectangle; Shift takes away'],
  ['fill', '🪣', 'Fill the area you click on; Shift takes away'],
];
const SLIDERS = [
  ['size', 'Size', 1, 400, 1, 'Brush size in pixels of the picture ([ and ], Q and W, Ctrl+wheel)'],
  ['softness', 'Soft', 0, 1, 0.05, 'How soft the brush\'s edge is'],
];

function button(icon, title, act, name = '') {
  const node = document.createElement('button');
  node.type = 'button';
  node.textContent = icon;
  node.title = title;
  node.setAttribute('aria-label', title);
  if (name) node.dataset.name = name;
  node.addEventListener('click', act);
  return node;
}

function labelled(text, title, input) {
  const label = document.createElement('label');
  label.title = title;
  label.append(text, input);
  return label;
}

function input(type, name, attributes = {}) {
  const node = Object.assign(document.createElement('input'), {type, ...attributes});
  node.dataset.name = name;
  const show = () => { if (node.value !== String(tools[name])) node.value = tools[name]; };
  node.addEventListener('input', () => tools.set(name, type === 'range' ? Number(node.value) : node.value));
  tools.addEventListener('change', show);
  show();
  return node;
}

const range = (name, min, max, step) => input('range', name, {min, max, step});

// Fills `bar` for an editor: {drawing, view, open, toggleFull, remove}.
export function toolbar(bar, editor) {
  const {drawing, view} = editor, inked = drawing.kind !== 'view', mask = drawing.kind === 'mask';
  const open = button('📂', 'Choose a picture; or drop or paste (Ctrl+V) one', () => editor.choose(), 'open');
  const chosen = inked ? TOOLS.map(([name, icon, title]) => button(icon, title, () => tools.set('tool', name), name)) : [];
  const sliders = inked ? SLIDERS.map(([name, text, low, high, step, title]) => labelled(text, title, range(name, low, high, step))) : [];
  const pressure = inked ? [button('✒', 'A pen\'s pressure changes the brush\'s size', () => tools.set('pressure', !tools.pressure), 'pressure')] : [];
  const colours = mask
    ? [labelled('', 'The colour in which the mask is shown', input('color', 'overlay')), labelled('', 'How opaque the mask is shown', range('opacity', 0.05, 1, 0.05))]
    : inked ? [labelled('', 'The brush\'s colour', input('color', 'colour')), button('💧', 'Take a colour from the picture', () => tools.set('tool', 'picker'), 'picker')] : [];
  const steps = [
    button('↶', 'Undo (Ctrl+Z)', () => drawing.undo(), 'undo'),
    button('↷', 'Redo (Ctrl+Y)', () => drawing.redo(), 'redo'),
    ...(mask ? [button('◐', 'Invert the mask (I)', () => drawing.invert(), 'invert')] : []),
    ...(inked ? [button('🗑', mask ? 'Clear the mask' : 'Clear the paint', () => drawing.clear(), 'clear')] : []),
  ];
  const views = [
    button('⊡', 'Show the whole picture (R); Alt+wheel zooms, F held moves', () => view.fit(), 'fit'),
    button('⤢', 'Fill the window (S)', () => editor.toggleFull(), 'full'),
    button('✕', 'Take the picture away (Ctrl+Z brings it back)', () => drawing.setPicture(null), 'remove'),
  ];
  bar.append(open, ...chosen, ...sliders, ...pressure, ...colours, ...steps, ...views);

  const show = () => {
    for (const node of chosen) node.setAttribute('aria-pressed', String(node.dataset.name === tools.tool));
    for (const node of pressure) node.setAttribute('aria-pressed', String(tools.pressure));
    const off = {undo: !drawing.history.canUndo, redo: !drawing.history.canRedo, invert: !drawing.inkable, clear: !drawing.inkable,
      fit: !drawing.picture, full: !drawing.picture, remove: !drawing.picture};
    for (const node of [...steps, ...views]) node.disabled = off[node.dataset.name];
  };
  tools.addEventListener('change', show);
  for (const name of ['pixels', 'picture', 'step']) drawing.addEventListener(name, show);
  show();
}
