// The canvases of the img2img tab: one slot for each of its pictures, editors for those that are on the page.
import {Editor} from './editor.js';
import {Keyboard} from './keyboard.js';
import {Slot} from './slot.js';

const KINDS = {
  img2img_image: 'view',
  img2img_sketch: 'paint',
  img2maskimg: 'mask',
  inpaint_sketch: 'paint',
  img_inpaint_base: 'view',
  img_inpaint_mask: 'view',
};

const keyboard = new Keyboard();
const slots = new Map(Object.entries(KINDS).map(([key, kind]) => [key, new Slot(key, kind)]));
const slot = (key) => slots.get(key);

function mount(root) {
  if (!root.firstElementChild) new Editor(root, slot(root.dataset.slot), keyboard);
}

document.addEventListener('paste', (event) => {
  const editor = keyboard.editor() ?? [...keyboard.editors].find((each) => each.isShown);
  const isText = event.target.closest?.('textarea, input[type=text], input[type=search], input[type=number]');
  if (!editor || isText || !event.clipboardData?.files.length) return;
  event.preventDefault();
  editor.take(event.clipboardData);
});

webui.canvas = {mount, slot, keys: Object.keys(KINDS)};
dispatchEvent(new Event('webui-canvas'));
