// The Gallery tab: the newest pictures first, those with certain words or the favourites alone, more on request; a click opens the viewer.
webui.gallery = (root) => {
  const PAGE = 60;
  const part = (name) => root.querySelector(`.gallery-${name}`);
  const images = [];
  const tiles = new Map();      // picture id -> its button
  let asked = 0;                // which question the answer must belong to
  let typing = 0;
  let stale = false;            // pictures were saved since; whoever has paged on keeps what is listed

  function tile(image) {
    const button = document.createElement('button');
    button.type = 'button';
    button.title = image.infotext.slice(0, 300);
    button.toggleAttribute('data-favourite', image.favourite);
    const small = document.createElement('img');
    small.src = image.thumb;
    small.loading = 'lazy';
    small.alt = `Seed ${image.seed}`;
    button.append(small);
    button.onclick = () => webui.viewer.open(images, image);
    button.oncontextmenu = (event) => { event.preventDefault(); if (webui.useParameters(image, {open: false})) webui.toast('Parameters sent to txt2img.'); };
    tiles.set(image.id, button);
    return button;
  }

  async function load(fresh) {
    const mine = ++asked;
    const words = part('search').value.trim(), favourites = part('favourites').checked;
    const query = new URLSearchParams({limit: PAGE, words, favourites});
    if (!fresh && images.length) query.set('before', images.at(-1).created);
    try {
      const answer = await webui.get(`internal/images?${query}`);
      if (mine !== asked) return;
      if (fresh) { stale = false; images.length = 0; tiles.clear(); part('grid').replaceChildren(); }
      images.push(...answer.images);
      part('grid').append(...answer.images.map(tile));
      part('more').hidden = answer.images.length < PAGE;
      part('empty').hidden = images.length > 0;
      part('empty').textContent = words || favourites ? 'No picture is like that.' : 'Nothing yet: pictures appear here as soon as they are made.';
    } catch (error) { webui.toast(error.message, 'error'); }
  }

  part('more').onclick = () => load(false);
  part('refresh').onclick = () => load(true);
  part('favourites').onchange = () => load(true);
  part('search').oninput = () => { clearTimeout(typing); typing = setTimeout(() => load(true), 250); };
  addEventListener('webui-saved', () => { stale = true; });
  addEventListener('webui-favourite', (event) => {
    const {id, favourite} = event.detail;
    tiles.get(id)?.toggleAttribute('data-favourite', favourite);
    for (const image of images) if (image.id === id) image.favourite = favourite;
  });
  addEventListener('webui-deleted', (event) => {
    const at = images.findIndex((image) => image.id === event.detail);
    if (at >= 0) images.splice(at, 1);
    tiles.get(event.detail)?.remove();
    tiles.delete(event.detail);
  });
  new IntersectionObserver((entries) => { if (entries[0].isIntersecting && (!images.length || (stale && images.length <= PAGE))) load(true); }).observe(part('top'));
};
