// How many tokens a prompt takes, in its corner. Looks twice a second, since a prompt also changes without being typed.
(() => {
  const seen = new Map();
  const boxes = ['txt2img', 'img2img'].flatMap((tab) => [`${tab}_prompt`, `${tab}_neg_prompt`]);

  function counter(id) {
    const box = document.getElementById(id);
    if (!box) return null;
    let node = box.querySelector('.token-counter');
    if (!node) {
      node = document.createElement('span');
      node.className = 'token-counter';
      node.id = id.replace(/_(neg_)?prompt$/, '_$1token_counter').replace('neg_token', 'negative_token');
      node.textContent = '0/75';
      node.title = 'Tokens used / tokens in the chunks they fill';
      box.append(node);
    }
    return node;
  }

  async function look() {
    if (document.hidden) return;
    for (const id of boxes) {
      const node = counter(id);
      const text = node && webui.field(id)?.value;
      if (text == null || seen.get(id) === text) continue;
      seen.set(id, text);
      const steps = parseInt(webui.find(`#${id.split('_')[0]}_steps input[type=number]`)?.value || '20', 10);
      try {
        const answer = await webui.post('internal/tokens', {prompt: text, steps});
        node.textContent = `${answer.count}/${answer.limit}`;
      } catch { node.textContent = '?'; }
    }
  }
  setInterval(look, 500);
})();
