// A picture over the whole window: arrows go through the job's pictures, Esc or a click closes, s downloads.
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
    box.append(picture, bar);
    box.addEventListener('click', () => box.close());
    box.addEventListener('keydown', (event) => {
      const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      if (step) { at = (at + step + list.length) % list.length; show(); event.preventDefault(); }
      if (event.key === 's') { const link = document.createElement('a'); link.href = list[at].url; link.download = ''; link.click(); }
      event.stopPropagation();
    });
    (webui.find('.gradio-container') || document.body).append(box);
  }

  function show() {
    const image = list[at];
    const picture = box.querySelector('img');
    picture.src = image.url;
    picture.alt = `Seed ${image.seed}`;
    picture.classList.toggle('tiny', Math.max(image.width, image.height) < 384);
  }

  function open(images, image) {
    if (!box) build();
    list = images;
    at = Math.max(0, images.indexOf(image));
    show();
    box.showModal();
  }

  return {open, isOpen: () => Boolean(box?.open)};
})();
