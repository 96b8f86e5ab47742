// Words for what is being typed into a prompt, in a list under the cursor: arrows choose, Tab or Enter takes, Esc closes.
(() => {
  const PAUSE = 120;   // milliseconds without a key before the server is asked
  const LOOKED_AT = 300;   // characters before the cursor
  let list = null;
  let node = null;   // the prompt that the list is for
  let length = 0;
  let end = 0;       // where the cursor was when it was asked for: a click may have moved it
  let timer = 0;
  let asked = 0;
  let taking = false;

  const isOpen = () => Boolean(list && !list.hidden);
  const hasMoved = () => node.selectionStart !== end || node.selectionEnd !== end;
  const chosen = () => list.querySelector('[aria-selected="true"]');

  function make() {
    list = document.createElement('ul');
    list.id = 'completions';
    list.className = 'completions';
    list.setAttribute('role', 'listbox');
    list.setAttribute('aria-label', 'Words for the prompt');
    list.hidden = true;
    // Before the prompt loses its focus.
    list.addEventListener('pointerdown', (event) => {
      event.preventDefault();
      const option = event.target.closest('li');
      if (option) take(option);
    });
    (webui.find('.gradio-container') || document.body).append(list);
  }

  function close() {
    clearTimeout(timer);
    asked++;
    if (!isOpen()) return;
    list.hidden = true;
    node.removeAttribute('aria-activedescendant');
  }

  // Where a character of a text area stands in the window: a copy of its text, broken into the same lines, tells.
  function place(area, index) {
    const copy = document.createElement('div');
    const style = getComputedStyle(area);
    for (const name of ['font', 'letterSpacing', 'lineHeight', 'padding', 'border', 'boxSizing', 'tabSize', 'textIndent']) copy.style[name] = style[name];
    Object.assign(copy.style, {position: 'fixed', visibility: 'hidden', whiteSpace: 'pre-wrap', overflowWrap: 'break-word', width: `${area.clientWidth}px`});
    copy.textContent = area.value.slice(0, index);
    const mark = document.createElement('span');
    mark.textContent = area.value.slice(index) || '.';
    copy.append(mark);
    document.body.append(copy);
    const box = area.getBoundingClientRect();
    const line = parseFloat(style.lineHeight) || 20;
    const at = {left: box.left + mark.offsetLeft, top: Math.min(box.top + mark.offsetTop - area.scrollTop + line, box.bottom)};
    copy.remove();
    return at;
  }

  function choose(option) {
    chosen()?.setAttribute('aria-selected', 'false');
    option.setAttribute('aria-selected', 'true');
    option.scrollIntoView({block: 'nearest'});
    node.setAttribute('aria-activedescendant', option.id);
  }

  function show(words) {
    if (!list) make();
    list.replaceChildren(...words.map((word, index) => {
      const option = document.createElement('li');
      option.id = `completion_${index}`;
      option.setAttribute('role', 'option');
      option.setAttribute('aria-selected', 'false');
      option.insert = word.insert;
      const detail = document.createElement('small');
      detail.textContent = word.detail;
      option.append(word.label, detail);
      return option;
    }));
    list.hidden = false;
    const at = place(node, node.selectionEnd - length);
    const room = document.documentElement.clientWidth - list.offsetWidth - 8;
    list.style.left = `${Math.max(8, Math.min(at.left, room))}px`;
    list.style.top = `${at.top + 2}px`;
  }

  function take(option) {
    if (hasMoved()) { close(); return; }
    const after = node.value.slice(end);
    // A comma is there already where a tag is put before another one.
    const text = /^\s*,/.test(after) ? option.insert.replace(/, $/, '') : option.insert;
    taking = true;
    webui.replaceRange(node, end - length, end, text);
    taking = false;
    close();
  }

  async function ask(area) {
    const number = ++asked;
    const at = area.selectionEnd;
    let answer;
    try { answer = await webui.post('internal/completions', {before: area.value.slice(Math.max(0, at - LOOKED_AT), at)}); } catch { return; }
    if (number !== asked || document.activeElement !== area || area.selectionEnd !== at) return;
    if (!answer.words.length) { close(); return; }
    [node, length, end] = [area, answer.length, at];
    show(answer.words);
  }

  document.addEventListener('input', (event) => {
    const area = event.target.closest?.('.prompt textarea');
    if (!area || taking || !event.isTrusted || !webui.config.completeWords) return;
    clearTimeout(timer);
    if (!['insertText', 'insertCompositionText', 'deleteContentBackward'].includes(event.inputType) || area.selectionStart !== area.selectionEnd) close();
    else timer = setTimeout(() => ask(area), PAUSE);
  }, true);

  document.addEventListener('keydown', (event) => {
    if (['ArrowLeft', 'ArrowRight', 'Home', 'End'].includes(event.key) || event.ctrlKey || event.metaKey || event.altKey) { close(); return; }
    if (!isOpen() || event.target !== node) return;
    if (hasMoved()) { close(); return; }
    const options = [...list.children];
    const index = options.indexOf(chosen());
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (step) choose(options[(index + step + (index < 0 && step < 0 ? 1 : 0) + options.length) % options.length]);
    else if (event.key === 'Tab' && !event.shiftKey) take(chosen() || options[0]);
    else if (event.key === 'Enter' && chosen()) take(chosen());
    else {
      if (event.key !== 'Escape') return;
      close();
    }
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);

  document.addEventListener('focusout', (event) => { if (event.target === node) close(); });
  document.addEventListener('scroll', (event) => { if (event.target !== list) close(); }, true);
})();
