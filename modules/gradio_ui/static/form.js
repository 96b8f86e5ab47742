// The form survives reload and restart: every change goes to this browser's storage, and comes back when the page opens.
webui.form = (() => {
  const key = (tab) => `webui.form.v1.${tab}`;
  const restored = new Set();     // tabs whose form was brought back
  const brought = new Map();      // per tab, the controls whose values this browser remembered
  const settled = new Set();      // tabs that have had the server's defaults, or were pasted into: what arrives later must not fill them

  function read(tab) {
    try { return JSON.parse(localStorage.getItem(key(tab)) || '{}'); } catch { return {}; }
  }

  // What a person has laid hands on since the page opened; nothing that arrives late may overwrite it.
  const touched = new Set();
  for (const kind of ['input', 'pointerdown', 'keydown']) {
    document.addEventListener(kind, (event) => {
      const box = event.target.closest?.('[id^="txt2img_"], [id^="img2img_"], [id^="extras_"], [id^="modelmerger_"], [id^="train_"]');
      if (box) touched.add(box.id);
    }, true);
  }

  // The controls of scripts have A1111's ids, which don't begin with the tab's: their container stands for all of them.
  function isTouched(id) {
    const tab = id.split('_')[0];
    return touched.has(id) || (id.startsWith(`${tab}_script_`) && touched.has(`${tab}_script_container`));
  }

  // At once, without asking the server: what this browser remembers, where it is still a valid choice. `values` is what the form shows.
  function restore(tab, ids, choices, values) {
    const stored = read(tab);
    const isGood = (id) => !choices[id] || Array.isArray(stored[id]) || choices[id].includes(stored[id]);
    const used = new Set(ids.filter((id) => !isTouched(id) && stored[id] !== undefined && stored[id] !== null && isGood(id)));
    const merged = values.map((value, i) => (used.has(ids[i]) ? stored[ids[i]] : value));
    restored.add(tab);
    brought.set(tab, used);
    const shown = merged.map((value, i) => shownValue(ids[i], value));
    if (touched.size || used.size) remember(tab, ids, merged);
    return shown;
  }

  // What sets a control to a value. The list of overrides is hidden while it is empty, and must not act unseen.
  const shownValue = (id, value) => (id.endsWith('_override_settings') && Array.isArray(value)
    ? {__type__: 'update', value, choices: value.map((entry) => [entry, entry]), visible: value.length > 0} : value);

  const isSettled = (tab) => settled.has(tab);

  // Whether a control's value is a person's, of this visit or the one before, and not what the page was built with.
  const isOwn = (tab, id) => isTouched(id) || Boolean(brought.get(tab)?.has(id));

  // Once the server has answered: its defaults of this moment, for what this browser does not remember.
  function fill(tab, ids, defaults, values) {
    if (settled.has(tab)) return values;
    settled.add(tab);
    const known = JSON.parse(defaults || '{}');
    return values.map((value, i) => (isOwn(tab, ids[i]) || !(ids[i] in known) ? value : shownValue(ids[i], known[ids[i]])));
  }

  // Until the server's defaults are there, only what is a person's: the rest would come back as if it had been chosen.
  function remember(tab, ids, values) {
    if (!restored.has(tab)) return;          // the first change events come from building the page
    const kept = ids.map((id, i) => [id, values[i]]).filter(([id]) => settled.has(tab) || isOwn(tab, id));
    try { localStorage.setItem(key(tab), JSON.stringify(Object.fromEntries(kept))); } catch { /* full */ }
  }

  // What this browser remembers of one control, whether or not the form shows it yet.
  const stored = (tab, id) => read(tab)[id];

  const forget = (tab) => localStorage.removeItem(key(tab));

  const handed = new Map();       // per tab, what the next click of its arrow button is to read instead of the prompt

  // Fills the form from an infotext: through the same button as the arrow, which takes the text from here, so no prompt is lost.
  // `only` names the controls that are meant, where not all are; `values` are set as they are.
  function paste(tab, infotext, {only = null, values = {}} = {}) {
    settled.add(tab);        // the defaults of a page that has just opened may arrive later than this
    webui.whenThere(`#${tab}_paste`, (button) => {
      handed.set(tab, {infotext, only, values});
      button.click();
    });
  }

  // The script of the arrow button's event.
  function toPaste(tab, prompt) {
    const asked = {prompt, ...handed.get(tab)};
    handed.delete(tab);
    return JSON.stringify(asked);
  }

  function cleared(prompt, negative) {
    if ((prompt || negative) && !confirm('Clear the prompt and the negative prompt?')) return [prompt, negative];
    return ['', ''];
  }

  return {restore, fill, isSettled, remember, stored, forget, paste, toPaste, cleared};
})();
