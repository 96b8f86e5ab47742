// A picture over the whole window: arrows go through the pictures, Esc or a click closes, s downloads, f marks a favourite, Delete deletes.
webui.viewer = (() => {
  const SENDS = [
    ['↙ txt2img', (image) => webui.useParameters(image)],
    ['🖼 img2img', (image) => webui.sendTo('img2img', image.url, image.parameters)],
    ['🎨 Inpaint', (image) => webui.sendTo('inpaint', image.url, image.parameters)],
    ['📐 Extras', (image) => webui.sendTo('extras', image.url)],
  ];
  let box = null;
  let list = [];
  let at = 0;

  function build() {
    box = document.createElement('dialog');
    box.className = 'webui-viewer';
    box.tabIndex = -1;
    box.setAttribute('aria-label', 'Picture viewer');
    const picture = document.createElement('img');
    const bar = document.createElement('div');
    bar.className = 'viewer-bar';
    bar.append(...SENDS.map(([text, act]) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.className = 'tool-link';
      button.textContent = text;
      button.onclick = () => act(list[at]);      // the click goes on and closes the viewer
      return button;
    }));
    const star = document.createElement('button');
    star.className = 'tool-link viewer-star';
    star.onclick = (event) => { event.stopPropagation(); favour(); };
    const bin = webui.toolButton('🗑', 'Delete this picture (Delete)', (event) => { event.stopPropagation(); remove(); });
    bin.classList.add('viewer-delete');
    star.type = 'button';
    bar.prepend(turner('‹', 'The picture before (←)', -1));
    bar.append(star, bin, turner('›', 'The next picture (→)', 1));
    box.append(picture, bar);
    box.addEventListener('click', () => box.close());
    box.addEventListener('keydown', (event) => {
      event.stopPropagation();
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      if (step) { turn(step); event.preventDefault(); }
      if (event.repeat) return;
      if (event.key === 's') { const link = document.createElement('a'); link.href = list[at].url; link.download = ''; link.click(); }
      if (event.key === 'f') favour();
      if (event.key === 'Delete') remove();
    });
    (webui.find('.gradio-container') || document.body).append(box);
  }

  function turn(step) {
    at = (at + step + list.length) % list.length;
    show();
  }

  function turner(text, title, step) {
    const button = webui.toolButton(text, title, (event) => { event.stopPropagation(); turn(step); });
    button.classList.add('viewer-turn');
    return button;
  }

  async function favour() {
    const image = list[at];
    try { image.favourite = (await webui.post(`internal/images/${image.id}/favourite?chosen=${!image.favourite}`)).favourite; }
    catch (error) { webui.toast(error.message, 'error'); return; }
    dispatchEvent(new CustomEvent('webui-favourite', {detail: image}));
    show();
  }

  async function remove() {
    const image = list[at];
    if (!confirm('Delete this picture and its file for good?')) return;
    try { await webui.post(`internal/images/${image.id}/delete`); }
    catch (error) { webui.toast(error.message, 'error'); return; }
    const left = list.filter((other) => other !== image);
    dispatchEvent(new CustomEvent('webui-deleted', {detail: image.id}));
    list = left;
    if (!list.length) { box.close(); return; }
    at = Math.min(at, list.length - 1);
    show();
  }

  function show() {
    const image = list[at];
    const picture = box.querySelector('img');
    picture.src = image.url;
    picture.alt = `Seed ${image.seed}`;
    for (const button of box.querySelectorAll('.viewer-turn')) button.hidden = list.length < 2;
    const star = box.querySelector('.viewer-star');
    star.textContent = image.favourite ? '★' : '☆';
    star.title = image.favourite ? 'No favourite any more (f)' : 'A favourite (f)';
    star.setAttribute('aria-label', star.title);
    star.setAttribute('aria-pressed', String(Boolean(image.favourite)));
    picture.classList.toggle('tiny', Math.max(image.width, image.height) < 384);
  }

  function open(images, image) {
    if (!box) build();
    list = [...images];
    at = Math.max(0, list.indexOf(image));
    show();
    box.showModal();
    box.focus();      // not its first button, which Space would press
  }

  return {open, isOpen: () => Boolean(box?.open)};
})();
