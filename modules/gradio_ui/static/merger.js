// The Checkpoint Merger: says what the last merge made, has the lists look again for it, and tells "Use it" which file is meant.
(() => {
  const watched = new Set();           // merges that this page saw running
  const merges = () => [...webui.jobs.values()].filter((job) => job.tab === 'modelmerger');
  const file = (job) => job.name.replace(/^Merge: /, '');
  const last = () => merges().filter((job) => job.state === 'done').sort((a, b) => a.created - b.created).pop();

  function show() {
    for (const job of merges()) {
      if (job.state === 'queued' || job.state === 'running') watched.add(job.id);
      // the button on top does it for every list of the page
      else if (watched.delete(job.id) && job.state === 'done') webui.find('#refresh_sd_model_checkpoint')?.click();
    }
    const row = webui.find('#modelmerger_result_row');
    const place = row?.querySelector('.merge-result');
    if (!place) return;
    const done = last();
    row.toggleAttribute('data-done', Boolean(done));
    const text = done ? `✓ ${file(done)}` : '';
    if (place.textContent !== text) place.textContent = text;
    // A1111's other format, which is not written: greyed out
    const ckpt = webui.find('#modelmerger_checkpoint_format input[value=ckpt]');
    if (ckpt && !ckpt.disabled) ckpt.disabled = true;
  }
  setInterval(() => { if (!document.hidden) show(); }, 500);

  webui.merger = {file: () => { const done = last(); return done ? file(done) : ''; }};
})();
