// Runs of scripts: what the server says of them, and how one looks like a job to the output panel.
webui.runs = (() => {
  const runs = new Map();

  function take(list) {
    const known = new Set(list.map((run) => run.id));
    for (const id of [...runs.keys()]) if (!known.has(id)) runs.delete(id);
    for (const run of list) put(run);
  }

  // News of a run that goes on bring no pictures: those that are known stay.
  function put(run) {
    const before = runs.get(run.id);
    runs.set(run.id, {...run, images: run.images ?? before?.images ?? []});
  }

  function addImage(image) {
    const run = runs.get(image.run);
    if (run && image.kind === 'image' && !run.images.some((other) => other.id === image.id)) run.images.push(image);
  }

  const active = () => [...runs.values()].filter((run) => run.active && run.state !== 'paused');

  // What the panel shows of a run: a job whose pictures are all its jobs' and whose steps are theirs one after the other.
  function asJob(run, jobs) {
    const job = jobs.get(run.job);
    const now = job?.progress ?? {fraction: 0, step: 0, steps: 0, position: 0, preview: null, eta: null, text: ''};
    const states = {running: job?.state === 'running' ? 'running' : 'queued', cancelling: 'running', paused: 'paused'};
    const words = {cancelling: 'ending', paused: 'paused'}[run.state];
    const eta = run.pace == null ? null : Math.max(0, run.total - run.done - now.fraction) * run.pace;
    const count = `cell ${Math.min(run.done + 1, run.total)} of ${run.total}`;
    return {
      id: run.id, run: run.id, tab: run.tab, state: states[run.state] ?? run.state, prompt: run.prompt, name: run.script, created: run.created,
      seconds: run.seconds, error: run.error, notes: run.notes, images: run.images, count: run.total,
      progress: {
        ...now, eta, fraction: run.total ? (run.done + now.fraction) / run.total : 0,
        text: [words ? `${count}, ${words}` : count, now.text].filter(Boolean).join(' · '),
      },
    };
  }

  const of = (tab, jobs) => [...runs.values()].filter((run) => run.tab === tab).map((run) => asJob(run, jobs));

  // The row of buttons below the progress bar; `act` sends one of them off.
  function renderTools(box, run, act) {
    box.hidden = !run;
    if (!run) return;
    const verbs = {running: ['pause', 'cancel'], paused: ['resume', 'cancel'], cancelled: ['resume'], failed: ['resume']}[run.state]
      ?? (run.state === 'done' && run.notes.some((note) => note.includes('could not be drawn')) ? ['resume'] : []);
    const key = `${run.id} ${run.state} ${verbs} ${run.done}/${run.total}`;
    if (box.dataset.key === key) return;
    box.dataset.key = key;
    const label = document.createElement('span');
    label.textContent = `${run.script}: ${run.active ? `${run.done} of ${run.total} done` : run.state}`;
    box.replaceChildren(label, ...verbs.map((verb) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.className = `tool-link run-${verb}`;
      const words = {pause: '⏸ Pause', resume: '▶ Go on', cancel: '✕ Cancel'};
      button.textContent = words[verb];
      button.title = {
        pause: 'Draw no more cells for now; what is drawn already stays',
        resume: 'Go on where it stopped: what is drawn already is not drawn again',
        cancel: 'End it, and make the grid of what there is',
      }[verb];
      button.onclick = () => act(`internal/runs/${run.id}/${verb}`);
      return button;
    }));
  }

  // The table of a finished sweep: axes around it, a click on a cell picks its picture; and the ways to take it along.
  async function renderSheet(box, run, pick) {
    box.hidden = !run?.sheet;
    const key = run?.sheet ? `${run.id} ${run.seconds}` : '';
    if (box.dataset.key === key) return;
    box.dataset.key = key;
    if (!key) return;
    const address = `internal/runs/${run.id}/sheet`;
    let sheet;
    try { sheet = await webui.get(address); } catch (error) { box.hidden = true; webui.toast(error.message, 'error'); return; }
    if (box.dataset.key !== key) return;
    const [x, y, z] = sheet.axes.map((axis) => axis.labels);
    const place = (column, row, level) => sheet.cells[(level * y.length + row) * x.length + column];
    const tables = z.map((name, level) => {
      const table = element('table');
      if (name) table.append(element('caption', name));
      table.append(element('tr', '', element('th'), ...x.map((text) => element('th', text))));
      y.forEach((text, row) => table.append(element('tr', '', element('th', text), ...x.map((_, column) => cell(place(column, row, level), pick)))));
      return table;
    });
    const grid = run.images.find((image) => image.kind === 'grid');
    const targets = [[`${address}.csv`, 'Table as CSV'], [`${address}.html`, 'Table as a page'], ...(grid ? [[grid.url, 'Grid as a picture']] : [])];
    const links = targets.map(([target, text]) => {
      const link = element('a', text);
      link.className = 'tool-link';
      link.href = target;
      link.download = '';
      return link;
    });
    box.querySelector('.sheet-tables').replaceChildren(...tables);
    box.querySelector('.sheet-links').replaceChildren(...links);
  }

  function element(kind, text = '', ...children) {
    const node = document.createElement(kind);
    if (text) node.textContent = text;
    node.append(...children);
    return node;
  }

  function cell(image, pick) {
    if (!image) return element('td', '–');
    const small = element('img');
    small.src = image.thumb;
    small.loading = 'lazy';
    small.alt = `Seed ${image.seed}`;
    const button = element('button', '', small);
    button.type = 'button';
    button.title = image.infotext.slice(0, 300);
    button.onclick = () => pick(image);
    return element('td', '', button);
  }

  return {take, put, addImage, active, of, renderTools, renderSheet, get: (id) => runs.get(id), all: () => [...runs.values()]};
})();
