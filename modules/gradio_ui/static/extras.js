// The Extras tab's picture: how it gets there (chosen, dropped, pasted, sent), how it outlives a reload, and what Generate is told of it.
(() => {
  const KEY = 'webui.extras.v1';
  const TITLES = {single: 'Single Image', batch: 'Batch Process', folder: 'Batch from Directory'};
  const transport = new URL('canvas/transport.js', document.currentScript.src);
  let picture = null;                  // {image, name, infotext, width, height}: `image` is its id in the server's store
  let coming = Promise.resolve();      // the upload that goes on, which Generate waits for
  let wells = [];

  try { picture = JSON.parse(localStorage.getItem(KEY)); } catch { /* nothing was kept */ }

  function set(found) {
    picture = found;
    try { found ? localStorage.setItem(KEY, JSON.stringify(found)) : localStorage.removeItem(KEY); } catch { /* full: it lasts until the page is closed */ }
    render();
  }

  // A file from wherever: the server makes a plain PNG of it, or says what is wrong with it. Then the old picture stays.
  function load(blob, name = '') {
    const loaded = coming.catch(() => {}).then(async () => {
      const answer = await (await import(transport)).upload(blob);
      set({image: answer.id, name, infotext: answer.infotext, width: answer.width, height: answer.height});
    });
    coming = loaded.catch(() => {});
    return loaded;
  }
  const told = (error) => webui.toast(error.message, 'error');

  function render() {
    for (const well of wells) {
      const shown = well.querySelector('img'), source = picture ? `internal/inputs/${picture.image}.png` : '';
      well.querySelector('.well-empty').hidden = Boolean(picture);
      well.querySelector('.well-bar').hidden = !picture;
      shown.hidden = !picture;
      if (!picture) { shown.removeAttribute('src'); continue; }
      if (shown.getAttribute('src') !== source) shown.src = source;
      shown.alt = picture.name || 'Picture to enlarge';
      well.querySelector('.well-status').textContent = [picture.name, `${picture.width}×${picture.height}`].filter(Boolean).join(' · ');
    }
  }

  const isFile = (each) => !each.type || each.type.startsWith('image/');
  async function take(data) {
    const file = [...(data?.files ?? [])].find(isFile);
    if (file) return load(file, file.name);
    const url = data?.getData('text/uri-list').split('\n')[0];
    if (!url || new URL(url, location.href).origin !== location.origin) throw new Error('There is no picture in what was dropped or pasted.');
    return fromPage(url);
  }

  function mount(well) {
    wells = [...wells.filter((each) => each.isConnected && each !== well), well];
    const chooser = well.querySelector('input[type=file]');
    chooser.addEventListener('change', () => {
      const file = chooser.files[0];
      if (file) load(file, file.name).catch(told);
      chooser.value = '';
    });
    well.querySelector('.well-choose').onclick = () => chooser.click();
    well.querySelector('.well-remove').onclick = () => set(null);
    well.querySelector('img').addEventListener('error', () => { if (picture) { set(null); webui.toast('The server does not have the picture of Extras any more: choose it again.'); } });
    well.addEventListener('dragover', (event) => event.preventDefault());
    well.addEventListener('drop', (event) => { event.preventDefault(); event.stopPropagation(); take(event.dataTransfer).catch(told); });
    render();
  }

  document.addEventListener('paste', (event) => {
    const well = wells.find(webui.visible);
    if (!well || event.target.closest?.('textarea, input:not([type=file])') || !event.clipboardData?.files.length) return;
    event.preventDefault();
    take(event.clipboardData).catch(told);
  });

  function mode() {
    const title = webui.find('#mode_extras [role=tab][aria-selected=true]')?.textContent.trim();
    return Object.keys(TITLES).find((name) => TITLES[name] === title) ?? 'single';
  }

  // What Generate needs to know, as JSON.
  async function inputs() {
    await coming;
    return JSON.stringify({mode: mode(), picture});
  }

  // A picture of this page, under the name that its file has.
  async function fromPage(source) {
    const response = await fetch(source);
    if (!response.ok) throw new Error('The picture is not there any more.');
    const named = /filename\*?=(?:utf-8'')?"?([^";]+)/i.exec(response.headers.get('Content-Disposition') || '');
    const last = decodeURIComponent(new URL(source, location.href).pathname.split('/').pop());
    return load(await response.blob(), named ? decodeURIComponent(named[1]) : /\.\w{3,4}$/.test(last) ? last : '');
  }

  async function send(source) {
    await fromPage(source);
    webui.openTab('Extras');
    webui.whenThere('#mode_extras [role=tab]', () => {
      const tabs = [...document.querySelectorAll('#mode_extras [role=tab]')].filter((node) => node.textContent.trim() === TITLES.single);
      (tabs.find(webui.visible) ?? tabs[0])?.click();
    });
    webui.toast('Sent to Extras.');
  }

  // Beside the size: from which to which, where there is one picture.
  function showSize() {
    const place = webui.find('#extras_resolution_preview .resized-size');
    if (!place) return;
    const number = (id) => parseFloat(webui.find(`#extras_${id} input[type=number]`)?.value || '0') || 0;
    const to = webui.find('#extras_tabs_resize input:checked')?.value === 'Scale to';
    let text = '';
    if (picture && mode() === 'single' && !['', 'None'].includes(webui.find('#extras_upscaler_1 input')?.value ?? '')) {
      const {width, height} = picture, wanted = [number('upscaling_resize_w'), number('upscaling_resize_h')];
      const factor = to ? Math.max(wanted[0] / width, wanted[1] / height) : number('upscaling_resize');
      const crop = to && webui.find('#extras_upscaling_crop input')?.checked;
      const size = crop ? wanted : [width, height].map((side) => Math.max(1, Math.round(side * factor)));
      if (factor) text = `from ${width}x${height} to ${size.join('x')}`;
    }
    if (place.textContent !== text) place.textContent = text;
  }
  setInterval(() => { if (!document.hidden) showSize(); }, 500);

  webui.extras = {mount, inputs, send: (source) => send(source).catch(told)};
})();
