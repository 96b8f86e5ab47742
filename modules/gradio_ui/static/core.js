// What every other script of the page uses: finding fields, writing into them so that Gradio notices, calling our routes, telling the user.
window.webui = (() => {
  const config = window.webuiConfig || {};
  const find = (selector, root = document) => root.querySelector(selector);
  const field = (id) => find(`#${CSS.escape(id)} textarea, #${CSS.escape(id)} input`);
  const visible = (node) => Boolean(node && node.offsetParent !== null);

  // The native setter and an input event: what typing does, as far as Gradio is concerned.
  function setField(node, value) {
    const prototype = node.tagName === 'TEXTAREA' ? HTMLTextAreaElement.prototype : HTMLInputElement.prototype;
    Object.getOwnPropertyDescriptor(prototype, 'value').set.call(node, value);
    node.dispatchEvent(new Event('input', {bubbles: true}));
  }

  // Replaces a stretch of text through the editing command, so that Ctrl+Z takes it back.
  function replaceRange(node, start, end, text) {
    node.focus();
    node.setSelectionRange(start, end);
    if (!document.execCommand('insertText', false, text)) setField(node, node.value.slice(0, start) + text + node.value.slice(end));
  }

  async function call(url, options = {}) {
    const response = await fetch(url, {credentials: 'same-origin', ...options});
    if (response.status === 401) { location.reload(); throw new Error('Please log in again.'); }
    if (!response.ok) {
      const said = await response.json().then((answer) => answer.detail, () => null);
      throw new Error(typeof said === 'string' ? said : `The server answered ${response.status} to ${url}.`);
    }
    return response.json();
  }
  const get = (url) => call(url);
  const post = (url, data) => call(url, {
    method: 'POST',
    headers: {'Content-Type': 'application/json'},
    body: JSON.stringify(data ?? {}),
  });

  // An open dialog lies over everything else: what is said meanwhile is said in it.
  const settle = () => (document.querySelector('dialog[open]') || find('.gradio-container') || document.body).append(corner);
  document.addEventListener('close', () => { if (corner) settle(); }, true);
  let corner = null;
  function toast(text, kind = 'info') {
    if (!corner) {
      corner = document.createElement('div');
      corner.className = 'webui-toasts';
      corner.setAttribute('role', 'status');
      corner.setAttribute('aria-live', 'polite');
    }
    settle();
    const note = document.createElement('div');
    note.className = `webui-toast ${kind}`;
    note.textContent = text;
    note.onclick = () => note.remove();
    corner.append(note);
    setTimeout(() => note.remove(), kind === 'error' ? 15000 : 6000);
  }

  // A small button outside Gradio's own; what it does is also said to those who can't see it.
  function toolButton(text, title, act) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'tool-link';
    button.textContent = text;
    button.title = title;
    button.setAttribute('aria-label', title);
    button.onclick = act;
    return button;
  }

  // Gradio mounts its nodes late and unvisited tabs never, so scripts ask for a node instead of looking once.
  function whenThere(selector, then) {
    const node = find(selector);
    if (node) return then(node);
    const observer = new MutationObserver(() => {
      const found = find(selector);
      if (found) { observer.disconnect(); then(found); }
    });
    observer.observe(document.body, {childList: true, subtree: true});
  }

  const currentTab = () => ['txt2img', 'img2img', 'extras'].find((tab) => visible(find(`#${tab}_generate`))) || null;

  function applyTheme() {
    if (config.theme !== 'dark' && config.theme !== 'light') return;
    const address = new URL(location.href);
    if (address.searchParams.get('__theme')) return;
    address.searchParams.set('__theme', config.theme);
    history.replaceState(null, '', address);
    document.body.classList.toggle('dark', config.theme === 'dark');
  }
  applyTheme();

  return {config, find, field, visible, setField, replaceRange, get, post, call, toast, toolButton, whenThere, currentTab};
})();

webui.openTab = (name) => {
  // tabs that there is no room for lie in a menu
  const button = [...document.querySelectorAll('#tabs [role=tab], #tabs .overflow-dropdown button')].find((node) => node.textContent.trim() === name);
  if (button) button.click();
};
