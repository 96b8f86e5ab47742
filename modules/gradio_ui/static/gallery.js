// The Gallery tab: the newest pictures first, more as one scrolls, a click opens the viewer.
webui.gallery = (root) => {
  const grid = root.querySelector('.gallery-grid');
  const more = root.querySelector('.gallery-more');
  const images = [];
  let loading = false;

  async function load(fresh) {
    if (loading) return;
    loading = true;
    try {
      if (fresh) { images.length = 0; grid.replaceChildren(); }
      const last = images.at(-1);
      const answer = await webui.get(`internal/images?limit=60${last ? `&before=${last.created}` : ''}`);
      for (const image of answer.images) {
        images.push(image);
        const button = document.createElement('button');
        button.type = 'button';
        button.title = image.infotext.slice(0, 300);
        const small = document.createElement('img');
        small.src = image.thumb;
        small.loading = 'lazy';
        small.alt = `Seed ${image.seed}`;
        button.append(small);
        button.onclick = () => webui.viewer.open(images, image);
        button.oncontextmenu = (event) => { event.preventDefault(); if (webui.useParameters(image, {open: false})) webui.toast('Parameters sent to txt2img.'); };
        grid.append(button);
      }
      more.hidden = answer.images.length < 60;
      root.querySelector('.gallery-empty').hidden = images.length > 0;
    } catch (error) { webui.toast(error.message, 'error'); }
    loading = false;
  }
  more.onclick = () => load(false);
  new IntersectionObserver((entries) => { if (entries[0].isIntersecting) load(images.length === 0); }).observe(root.querySelector('.gallery-top'));
  root.querySelector('.gallery-refresh').onclick = () => load(true);
};
