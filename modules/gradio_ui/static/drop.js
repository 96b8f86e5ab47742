// A picture dropped on a prompt fills the form with its parameters; everything else is dropped as usual.
(() => {
  const isPicture = (event) => [...(event.dataTransfer?.items || [])].some((item) => item.kind === 'file');
  const target = (event) => event.target.closest?.('.prompt-container');

  async function read(file, tab) {
    const answer = await webui.call('internal/png-info', {method: 'POST', body: file, headers: {'Content-Type': 'application/octet-stream'}});
    if (answer.error) webui.toast(answer.error, 'error');
    else if (!answer.infotext) webui.toast(`${file.name} holds no generation parameters.`, 'error');
    else webui.form.paste(tab, answer.infotext);
  }

  document.addEventListener('dragover', (event) => { if (target(event) && isPicture(event)) event.preventDefault(); }, true);
  document.addEventListener('drop', (event) => {
    const box = target(event);
    const file = event.dataTransfer?.files?.[0];
    if (!box || !file) return;
    event.preventDefault();
    event.stopPropagation();
    read(file, box.closest('.toprow').id.replace('_toprow', '')).catch((error) => webui.toast(error.message, 'error'));
  }, true);
})();
