// Searching the Settings tab: lists what matches, and a click leads to the setting in its section.
webui.searchSettings = (text) => {
  const words = text.trim().toLowerCase().split(/\s+/).filter(Boolean);
  let list = webui.find('#settings_matches');
  if (!list) {
    list = document.createElement('ul');
    list.id = 'settings_matches';
    webui.find('#settings_bar').after(list);
  }
  const matches = webui.config.settings.filter((row) => {
    const hay = `${row.key} ${row.label} ${row.info} ${row.section}`.toLowerCase();
    return words.length && words.every((word) => hay.includes(word));
  });
  list.replaceChildren(...matches.map((row) => {
    const item = document.createElement('li');
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = row.label;
    button.onclick = () => webui.showSetting(row);
    const where = document.createElement('span');
    where.textContent = row.section;
    item.append(button, where);
    return item;
  }));
  if (words.length && !matches.length) list.textContent = 'No setting matches.';
};

webui.showSetting = (row) => {
  const tab = [...document.querySelectorAll('#settings [role=tab]')].find((node) => node.textContent.trim() === row.section);
  if (tab) tab.click();
  webui.whenThere(`#settings_${row.key}`, (node) => {
    node.scrollIntoView({block: 'center'});
    node.classList.add('found');
    setTimeout(() => node.classList.remove('found'), 2500);
  });
};

// Gradio tells a slider's new value when the pointer lets go of it; the bar's settings are stored then, and keys move sliders too.
document.addEventListener('keyup', (event) => {
  if (!event.target.matches?.('#quicksettings input[type=range]')) return;
  if (/^(Arrow|Page|Home|End)/.test(event.key)) event.target.dispatchEvent(new PointerEvent('pointerup', {bubbles: true}));
});
