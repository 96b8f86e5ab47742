// The img2img tab around its canvases: which of them a click is about, and how pictures get there from elsewhere on the page.
(() => {
  const SLOTS = {img2img: 'img2img_image', sketch: 'img2img_sketch', inpaint: 'img2maskimg', inpaint_sketch: 'inpaint_sketch', inpaint_upload: 'img_inpaint_base'};
  const TITLES = {img2img: 'img2img', sketch: 'Sketch', inpaint: 'Inpaint', inpaint_sketch: 'Inpaint sketch', inpaint_upload: 'Inpaint upload', batch: 'Batch'};

  // The canvases' code comes when it is first needed.
  let loading = null;
  const here = document.currentScript.src;
  webui.loadCanvas = () => {
    loading ??= import(new URL('canvas/main.js', here)).then(() => webui.canvas).catch((error) => { loading = null; throw error; });
    return loading;
  };

  // The sub-tab that one sees decides; the form's own value follows it.
  function mode() {
    const title = webui.find('#mode_img2img [role=tab][aria-selected=true]')?.textContent.trim();
    return Object.keys(TITLES).find((name) => TITLES[name] === title) ?? 'img2img';
  }

  // The form's value is set when a sub-tab is chosen; while the page opens, what is remembered may overwrite it.
  let differed = false;
  function followMode() {
    const field = webui.find('#mode_img2img [role=tab]') && webui.field('img2img_mode'), differs = Boolean(field) && field.value !== mode();
    if (differs && differed) webui.setField(field, mode());
    differed = differs;
  }
  const slotOf = (name) => webui.canvas?.slot(SLOTS[name] ?? SLOTS.img2img);
  const told = (error) => webui.toast(error.message, 'error');

  async function ids(name, transparency) {
    if (name === 'batch') return {mode: name};
    const canvas = await webui.loadCanvas(), slot = canvas.slot(SLOTS[name]);
    if (name === 'inpaint_upload') {
      const [base, mask] = [await slot.inputs(), await canvas.slot('img_inpaint_mask').inputs().catch((error) => { throw new Error(`The mask: ${error.message}`); })];
      return {mode: name, image: base.image, mask: mask.image};
    }
    const {image, mask, hasAlpha} = await slot.inputs({withMask: name.startsWith('inpaint'), transparency: name === 'inpaint_sketch' ? transparency / 100 : 0});
    return {mode: name, image, mask, hasAlpha: name === 'inpaint' && hasAlpha};
  }

  // What Generate needs to know, as JSON: ids of the uploaded pictures, or the sentence about what went wrong.
  const inputs = (transparency) => ids(mode(), transparency).catch((error) => ({error: error.message})).then(JSON.stringify);

  const rounded = (side) => Math.max(64, Math.round(side / 8) * 8);

  // Width and height of the picture that the open sub-tab shows, or the `sides` as they are.
  function ownSize(sides) {
    const drawing = slotOf(mode())?.drawing;
    if (drawing?.picture) return [rounded(drawing.width), rounded(drawing.height)];
    webui.toast('There is no picture whose size could be taken.', 'error');
    return sides;
  }

  // The sub-tab of a mode; Gradio has a second, hidden row of them to measure with.
  function chooseMode(name) {
    const tabs = [...document.querySelectorAll('#mode_img2img [role=tab]')].filter((node) => node.textContent.trim() === TITLES[name]);
    (tabs.find(webui.visible) ?? tabs[0])?.click();
  }

  function openMode(name) {
    webui.openTab('img2img');
    webui.whenThere('#mode_img2img [role=tab]', () => chooseMode(name));
  }

  // Gradio draws the tab when it is first opened: then the sub-tab that the form remembers is chosen.
  webui.whenThere('#mode_img2img [role=tab]', () => {
    const kept = webui.form.stored('img2img', 'img2img_mode');
    if (kept in TITLES && kept !== 'img2img') chooseMode(kept);
  });

  // A picture of this page into img2img or inpaint, with those of its parameters that the settings name.
  async function send(name, source, infotext) {
    const blob = source instanceof Blob ? source : await (await fetch(source)).blob();
    const slot = (await webui.loadCanvas()).slot(SLOTS[name]);
    await slot.load(blob);
    const {prompt, seed, size} = webui.config.send;
    const only = [...(prompt ? ['prompt', 'neg_prompt'] : []), ...(seed ? ['seed', 'subseed_show', 'subseed', 'subseed_strength'] : [])];
    const values = size ? {width: rounded(slot.drawing.width), height: rounded(slot.drawing.height)} : {};
    openMode(name);
    if ((infotext && only.length) || size) webui.form.paste('img2img', infotext, {only: infotext ? only : [], values});
  }
  webui.sendTo = (name, source, infotext) => name === 'extras' ? webui.extras.send(source) : send(name, source, infotext).then(() => webui.toast(`Sent to ${TITLES[name]}.`), told);

  // The picture that an <img> shows.
  webui.sendShown = (name, selector, infotext) => {
    const source = webui.find(selector)?.src;
    if (source) webui.sendTo(name, source, infotext);
    else webui.toast('There is no picture to send.', 'error');
  };

  // The shown result becomes the picture to begin from; Ctrl+Z on the canvas brings the one before back.
  webui.useAsInput = async () => {
    const image = webui.shownImage('img2img');
    if (!image) return webui.toast('There is no result yet.', 'error');
    try {
      await webui.loadCanvas();
      const slot = slotOf(mode());
      await slot.ready();
      await slot.load(await (await fetch(image.url)).blob());
      webui.toast('The result is the new picture to begin from; Ctrl+Z on the canvas takes that back.');
    } catch (error) { told(error); }
  };

  async function copyTo(name) {
    const canvas = await webui.loadCanvas(), from = slotOf(mode()), to = canvas.slot(SLOTS[name]);
    if (!from.drawing.picture) return webui.toast('There is no picture to copy.', 'error');
    if (from !== to) await to.load(await from.file());
    chooseMode(name);
  }

  document.addEventListener('click', (event) => {
    const button = event.target.closest?.('[data-copy]');
    if (button) copyTo(button.dataset.copy).catch(told);
  });
  document.addEventListener('keydown', (event) => {
    const typing = event.target.closest?.('textarea, select, [contenteditable], input:not([type=range]):not([type=checkbox]):not([type=radio])');
    if (event.key !== 'u' || event.ctrlKey || event.metaKey || event.altKey || typing || webui.currentTab() !== 'img2img') return;
    event.preventDefault();
    webui.useAsInput();
  });

  // Beside "Resize by": from which size to which.
  function showSize() {
    const place = webui.find('#img2img_scale_resolution_preview .resized-size'), drawing = slotOf(mode())?.drawing;
    if (!place) return;
    const by = webui.find('#img2img_tabs_resize input:checked')?.value === 'Resize by';
    const scale = parseFloat(webui.find('#img2img_scale input[type=number]')?.value || '1') || 1;
    const side = (length) => Math.max(8, Math.floor((length * scale) / 8) * 8);
    const text = !drawing?.picture ? '' : by ? `from ${drawing.width}x${drawing.height} to ${side(drawing.width)}x${side(drawing.height)}` : `picture: ${drawing.width}x${drawing.height}`;
    if (place.textContent !== text) place.textContent = text;
  }
  setInterval(() => { if (!document.hidden) { showSize(); followMode(); } }, 500);

  webui.img2img = {inputs, ownSize, mode};
})();
