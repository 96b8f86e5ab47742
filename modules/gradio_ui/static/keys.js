// Keyboard: Ctrl+Enter generates, Alt+Enter skips, Esc interrupts, Ctrl+Up/Down weighs words, Alt+Left/Right moves them.
(() => {
  const STOPS = '.,\\/!?%^*;:{}=`~() \r\n\t<>[]|';
  const round = (value) => parseFloat(value.toFixed(4));

  // The stretch between `open` and `close` around the cursor, if the cursor is inside such a pair on one level.
  function enclosing(text, cursor, open, close) {
    let depth = 0;
    let start = -1;
    for (let i = cursor - 1; i >= 0; i--) {
      if (text[i] === close) depth++;
      else if (text[i] === open) { if (depth === 0) { start = i; break; } depth--; }
    }
    if (start < 0) return null;
    depth = 0;
    for (let i = cursor; i < text.length; i++) {
      if (text[i] === open) depth++;
      else if (text[i] === close) { if (depth === 0) return [start, i]; depth--; }
    }
    return null;
  }

  function word(text, cursor) {
    let start = cursor;
    let end = cursor;
    while (start > 0 && !STOPS.includes(text[start - 1])) start--;
    while (end < text.length && !STOPS.includes(text[end])) end++;
    return [start, end];
  }

  // Pure: the edit that Ctrl+Up/Down makes, or null. `from..to` is replaced by `text`; the selection becomes `select`.
  webui.weigh = (value, start, end, up, step, networkStep) => {
    const weighted = /^(.*):\s*(-?\d*\.?\d+)\s*$/s;
    const network = enclosing(value, start, '<', '>');
    if (network && end <= network[1]) {
      const inside = weighted.exec(value.slice(network[0] + 1, network[1]));
      if (!inside) return null;
      const weight = round(parseFloat(inside[2]) + (up ? networkStep : -networkStep));
      const text = `<${inside[1]}:${weight}>`;
      return {from: network[0], to: network[1] + 1, text, select: [start, Math.min(end, network[0] + text.length)]};
    }
    const pair = enclosing(value, start, '(', ')');
    const body = pair && end <= pair[1] ? weighted.exec(value.slice(pair[0] + 1, pair[1])) : null;
    if (body && (start === end || value.slice(start, end) === body[1])) {
      const weight = round(parseFloat(body[2]) + (up ? step : -step));
      const text = weight === 1 ? body[1] : `(${body[1]}:${weight})`;
      const first = pair[0] + (weight === 1 ? 0 : 1);
      return {from: pair[0], to: pair[1] + 1, text, select: [first, first + body[1].length]};
    }
    let [from, to] = start === end ? word(value, start) : [start, end];
    while (to > from && value[to - 1] === ' ') to--;
    if (from === to) return null;
    const text = `(${value.slice(from, to)}:${round(1 + (up ? step : -step))})`;
    return {from, to, text, select: [from + 1, from + 1 + to - from]};
  };

  function moveElement(node, direction) {
    const parts = node.value.split(',');
    let index = 0;
    for (let length = parts[0].length; length < node.selectionStart && index < parts.length - 1; length += parts[index].length + 1) index++;
    const other = index + direction;
    if (other < 0 || other >= parts.length) return;
    const trimmed = parts.map((part) => part.trim());
    [trimmed[index], trimmed[other]] = [trimmed[other], trimmed[index]];
    webui.replaceRange(node, 0, node.value.length, trimmed.join(', '));
    const cursor = trimmed.slice(0, other).join(', ').length + (other ? 2 : 0);
    node.setSelectionRange(cursor, cursor + trimmed[other].length);
  }

  function onPromptKey(event, node) {
    const vertical = {ArrowUp: true, ArrowDown: false}[event.key];
    if ((event.ctrlKey || event.metaKey) && vertical !== undefined) {
      event.preventDefault();
      const {emphasisStep, networkStep} = webui.config;
      const edit = webui.weigh(node.value, node.selectionStart, node.selectionEnd, vertical, emphasisStep, networkStep);
      if (edit) { webui.replaceRange(node, edit.from, edit.to, edit.text); node.setSelectionRange(...edit.select); }
    }
    const sideways = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (event.altKey && sideways) { event.preventDefault(); moveElement(node, sideways); }
  }

  const canInterrupt = () => webui.busy() && [...document.querySelectorAll('.interrupt')].some(webui.visible);

  document.addEventListener('keydown', (event) => {
    if (webui.viewer.isOpen()) return;
    const tab = webui.currentTab();
    const node = event.target.closest?.('.prompt textarea');
    if (node) onPromptKey(event, node);
    const generates = event.key === 'Enter' && (event.ctrlKey || event.metaKey);
    const skips = event.key === 'Enter' && event.altKey;
    if (event.repeat && (generates || skips || event.key === 'Escape')) { event.preventDefault(); return; }
    if (generates && tab) {
      event.preventDefault();
      // Gradio takes a text over a moment after it was typed; the click must find it.
      setTimeout(() => webui.find(`#${tab}_generate`).click(), 30);
    } else if (skips && tab) {
      event.preventDefault();
      webui.skip();
    } else if (event.key === 'Escape' && canInterrupt() && !document.querySelector('dialog[open], [role="listbox"].options, .canvas-editor[data-full]')) {
      event.preventDefault();
      webui.interrupt();
    }
  }, true);
})();
