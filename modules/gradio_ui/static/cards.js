// Cards of LoRAs and textual inversions: search, click to put one into the prompt, click again to take it out.
// Textual inversions go where one wrote last; networks are added by the prompt alone.
webui.lastPrompt = {};
document.addEventListener('focusin', (event) => {
  const box = event.target.closest?.('[id$="_prompt"]');
  if (box) webui.lastPrompt[box.id.replace(/_(neg_)?prompt$/, '')] = box.id;
});

webui.cards = (root) => {
  const kind = root.dataset.kind, tab = root.dataset.tab;
  const search = root.querySelector('.cards-search');
  const grid = root.querySelector('.cards-grid');
  const count = root.querySelector('.cards-count');
  const SHOWN = 300;   // more would only make the page slow: one searches then
  let cards = [];

  const target = () => webui.field((kind === 'embeddings' && webui.lastPrompt[tab]) || `${tab}_prompt`);

  // The stretch of the prompt that this card put there, whatever its weight is by now.
  function placed(card, text) {
    const escaped = (words) => words.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
    const tag = card.insert.startsWith('<') ? card.insert.slice(0, card.insert.lastIndexOf(':')) : null;
    const pattern = tag ? `\\s?${escaped(tag)}(?::[^>]*)?>` : `(?:,\\s*|\\s)?(?<![\\w-])${escaped(card.insert)}(?![\\w-])`;
    const match = new RegExp(pattern, 'i').exec(text);
    return match ? [match.index, match.index + match[0].length] : null;
  }

  function toggle(card) {
    if (!card.insert) { webui.toast('A prompt can\'t name this file: there is a :, = or > in its name.', 'error'); return; }
    const node = target();
    if (!node) return;
    const now = placed(card, node.value);
    if (now) webui.setField(node, node.value.slice(0, now[0]) + node.value.slice(now[1]));
    else {
      const space = !node.value || /\s$/.test(node.value) ? '' : ' ';
      webui.setField(node, node.value + space + card.insert);
    }
    mark();
  }

  function mark() {
    const node = target();
    for (const button of grid.children) button.setAttribute('aria-pressed', String(Boolean(node && placed(button.card, node.value))));
  }

  function element(card) {
    const button = document.createElement('button');
    button.type = 'button';
    button.card = card;
    button.title = card.insert || card.name;
    if (card.preview) {
      const picture = document.createElement('img');
      picture.src = card.preview;
      picture.loading = 'lazy';
      picture.alt = '';
      button.append(picture);
    }
    const label = document.createElement('span');
    label.className = 'card-label';
    label.textContent = card.label;
    const detail = document.createElement('small');
    detail.textContent = card.detail;
    button.append(label, detail);
    button.onclick = () => toggle(card);
    return button;
  }

  function show() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = cards.filter((card) => words.every((word) => `${card.name} ${card.label} ${card.detail}`.toLowerCase().includes(word)));
    grid.replaceChildren(...found.slice(0, SHOWN).map(element));
    count.textContent = found.length > SHOWN ? `${SHOWN} of ${found.length}: search for more` : `${found.length} of ${cards.length}`;
    root.querySelector('.cards-empty').hidden = cards.length > 0;
    mark();
  }

  async function load() {
    try {
      cards = (await webui.get(`internal/networks/${kind}`)).cards;
      show();
    } catch (error) { webui.toast(error.message, 'error'); }
  }

  search.oninput = show;
  root.querySelector('.cards-refresh').onclick = async () => {
    try { await webui.post('internal/networks/refresh'); } catch (error) { webui.toast(error.message, 'error'); }
    load();
  };
  new IntersectionObserver((entries) => { if (entries[0].isIntersecting) (cards.length ? mark : load)(); }).observe(root);
};
