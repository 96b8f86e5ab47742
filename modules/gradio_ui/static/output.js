// The output panel and the queue: follows the server's job stream, shows progress and pictures, finds everything again after a reload.
(() => {
  const MOST_LISTED = 100;  // the server names no more active jobs
  const jobs = new Map();
  const panels = [];
  let stream = null;
  let followed = null;      // the job this page submitted last
  let pinned = null;        // a job the user chose to look at
  let engine = {state: 'starting', text: ''};
  let share = null;        // the public link, once there is one
  const ending = new Set(); // jobs that were told to end when the picture that is being drawn is finished

  const isActive = (job) => job.state === 'queued' || job.state === 'running';
  const running = () => [...jobs.values()].find((job) => job.state === 'running');
  // in the order in which they are drawn
  const active = () => [...jobs.values()].filter(isActive)
    .sort((a, b) => (b.state === 'running') - (a.state === 'running') || a.progress.position - b.progress.position);
  // What is to be seen of a picture that was interrupted on its way, where nothing else was drawn: its last preview.
  const leftover = (job) => (job.state === 'cancelled' && !job.images.length ? job.progress.preview : null);
  const busy = () => active().length > 0 || webui.runs.active().length > 0;

  function take(list) {
    const before = new Map(jobs);
    jobs.clear();
    for (const job of list) put(job, before.get(job.id));
  }

  function put(job, before = jobs.get(job.id)) {
    job.progress.preview ??= before?.progress.preview ?? null; // the server sends each preview once
    if (!isActive(job)) ending.delete(job.id);
    jobs.set(job.id, job);
  }

  // One question at a time: what a large batch sends would be hundreds.
  let asking = null, again = false;
  function refresh() {
    again = Boolean(asking);
    asking ??= load().finally(() => {
      asking = null;
      if (again) refresh().catch(() => {});
    });
    return asking;
  }

  async function load() {
    const answer = await webui.get('internal/jobs');
    take(answer.jobs);
    webui.runs.take(answer.runs);
    engine = answer.engine;
    share = answer.share;
    render();
    if (busy()) listen();
    else if (engine.state === 'starting' || engine.state === 'restarting') setTimeout(wake, 1500);
  }

  function listen() {
    if (stream) return;
    stream = new EventSource('internal/jobs/stream');
    const on = (name, act) => stream.addEventListener(name, (event) => { act(JSON.parse(event.data)); render(); });
    on('jobs', (data) => { take(data.jobs); webui.runs.take(data.runs); engine = data.engine; });
    on('run', webui.runs.put);
    on('engine', (data) => { engine = data; });
    on('progress', (data) => {
      const job = jobs.get(data.id);
      if (!job) { refresh(); return; }
      job.state = data.state;
      job.progress = {...data, preview: data.preview || job.progress.preview};
    });
    on('image', (image) => {
      dispatchEvent(new CustomEvent('webui-saved'));
      webui.runs.addImage(image);
      const job = jobs.get(image.job);
      if (job && !job.images.some((other) => other.id === image.id)) job.images.push(image);
      if (job) job.images.sort((a, b) => a.index - b.index);
    });
    on('done', (data) => {
      put(data);
      // what becomes of a run is said once, at its end
      if (data.run) return;
      if (data.state === 'failed' || data.state === 'quarantined') webui.toast(data.error || 'The job failed.', 'error');
      for (const note of data.notes) webui.toast(note);
    });
    on('idle', (data) => {
      take(data.jobs);
      webui.runs.take(data.runs);
      stop();
      // the engine says that it is ready a moment after its last job's end
      if (engine.state === 'busy') setTimeout(wake, 600);
    });
    stream.onerror = () => { stop(); setTimeout(() => refresh().catch(() => setTimeout(listen, 3000)), 1500); };
  }

  function stop() {
    if (stream) stream.close();
    stream = null;
  }

  // The job that the panel of `tab` shows: the one chosen, the one that runs, the last one of this page, the last one at all.
  // A run stands for its jobs.
  function shownJob(tab) {
    const single = [...jobs.values()].filter((job) => job.tab === tab && !webui.runs.get(job.run));
    const own = [...single, ...webui.runs.of(tab, jobs)].sort((a, b) => a.created - b.created);
    const named = (id) => own.find((job) => job.id === id);
    return named(pinned) || own.find((job) => job.state === 'running') || named(followed)
      || own.reverse().find((job) => isActive(job) || job.images.length || job.error || !job.count || leftover(job)) || null;
  }

  function render() {
    // An attribute, since Svelte writes class lists anew; on the box itself, since Gradio scopes our style sheet to the inside of its page.
    for (const box of document.querySelectorAll('.generate-box')) box.toggleAttribute('data-busy', busy());
    const now = running();
    document.title = now && now.progress ? `[${Math.round(now.progress.fraction * 100)}%] diffusion-webui` : 'diffusion-webui';
    for (const panel of panels) panel.render(shownJob(panel.root.dataset.tab));
    renderFooter();
  }

  function renderFooter() {
    const footer = webui.find('#footer .footer');
    if (!footer) return;
    const words = [`diffusion-webui ${webui.config.version}`, engine.device, engine.state === 'ready' ? 'ready' : engine.text || engine.state];
    footer.querySelector('span').textContent = words.filter(Boolean).join(' · ');
    const link = footer.querySelector('a');
    link.hidden = !share;
    if (share) { link.href = share; link.textContent = `Public link: ${share}`; }
  }

  const duration = (seconds) => {
    if (seconds < 10) return `${seconds.toFixed(1)} s`;
    const whole = Math.round(seconds);
    return whole < 90 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
  };

  class Panel {
    constructor(root) {
      this.root = root;
      this.part = (selector) => root.querySelector(selector);
      this.chosen = new Map();                                    // job id -> picture id
      this.part('.stage').addEventListener('click', () => this.enlarge());
      this.part('.stage').addEventListener('keydown', (event) => this.arrow(event));
      this.part('.copy').addEventListener('click', () => this.copy());
      for (const button of root.querySelectorAll('[data-send]')) button.addEventListener('click', () => this.send(button.dataset.send));
      this.part('.reuse').addEventListener('click', () => { const image = this.image(); if (image) webui.useParameters(image, {tab: root.dataset.tab}); });
    }

    images() { return this.job ? this.job.images : []; }

    image() {
      if (this.peek && this.peek.run === this.job?.id) return this.peek;
      const list = this.images();
      return list.find((image) => image.id === this.chosen.get(this.job?.id)) || list[0] || null;
    }

    // A cell of a sweep's table: looked at, though it may not be among the results.
    look(image) { this.peek = image; this.render(this.job); }

    choose(image) { this.peek = null; this.chosen.set(this.job.id, image.id); this.render(this.job); }

    enlarge() {
      const image = this.image();
      if (image) webui.viewer.open(this.images().includes(image) ? this.images() : [image], image);
    }

    arrow(event) {
      if (event.key === 'Enter' && !event.ctrlKey && !event.metaKey && !event.altKey) this.enlarge();
      const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      const list = this.images();
      if (!step || list.length < 2) return;
      event.preventDefault();
      this.choose(list[(list.indexOf(this.image()) + step + list.length) % list.length]);
    }

    send(target) {
      const image = this.image();
      if (target === 'input') webui.useAsInput();
      else if (image) webui.sendTo(target, image.url, image.parameters);
    }

    async copy() {
      const image = this.image();
      if (!image) return;
      try { await navigator.clipboard.writeText(image.infotext); webui.toast('Parameters copied.'); }
      catch { webui.toast('The browser does not allow copying here; select the text instead.', 'error'); }
    }

    render(job) {
      this.job = job;
      this.renderProgress(job);
      webui.runs.renderTools(this.part('.run-tools'), webui.runs.get(job?.run), (url) => ask(url));
      webui.runs.renderSheet(this.part('.sheet'), webui.runs.get(job?.run), (image) => this.look(image));
      webui.train?.render(this.part('.loss-curve'), job);
      this.renderStage(job);
      this.renderThumbs(job);
      this.renderText(job);
      this.renderQueue();
    }

    renderProgress(job) {
      const bar = this.part('.progress');
      const shown = Boolean(job && (isActive(job) || job.state === 'paused'));
      bar.hidden = !shown;
      if (!shown) return;
      const progress = job.progress;
      // of a batch that ends with this picture, how far this picture is
      const part = ending.has(job.id) ? progress.fraction * progress.batches - (progress.batch - 1) : progress.fraction;
      const percent = Math.round(Math.min(1, Math.max(0, part)) * 100);
      const words = [];
      if (job.state === 'queued' && !(job.run && job.images.length)) words.push(progress.position > 1 ? `Waiting, number ${progress.position} in the queue` : 'Waiting');
      else if (percent > 0) words.push(`${percent}%`);
      if (progress.eta != null && job.state === 'running' && !ending.has(job.id)) words.push(`ETA ${duration(progress.eta)}`);
      if (progress.steps && job.state === 'running') words.push(`step ${progress.step}/${progress.steps}`);
      if (progress.loss != null && job.state === 'running') words.push(`loss ${progress.loss.toFixed(4)}`);
      if (progress.text) words.push(progress.text);
      if (ending.has(job.id)) words.push('the last one');
      if (engine.state === 'starting' || engine.state === 'restarting') words.push(engine.text);
      bar.setAttribute('aria-valuenow', percent);
      this.part('.bar').style.width = `${percent}%`;
      this.part('.progress .text').textContent = words.filter(Boolean).join(' · ');
    }

    renderStage(job) {
      const picture = this.part('.shown');
      const image = this.image();
      const preview = !job ? null : isActive(job) ? job.progress.preview : leftover(job);
      const source = preview && (!image || !this.chosen.has(job.id)) ? preview : image ? image.url : null;
      this.part('.empty').hidden = Boolean(source);
      picture.hidden = !source;
      if (!source) return;
      if (picture.getAttribute('src') !== source) picture.src = source;
      picture.alt = image ? (job.tab === 'extras' ? 'Enlarged picture' : `Generated picture, seed ${image.seed}`) : 'Live preview';
      picture.classList.toggle('preview', source === preview);
      picture.classList.toggle('tiny', Boolean(image && Math.max(image.width, image.height) < 384));
    }

    renderThumbs(job) {
      const strip = this.part('.thumbs');
      const list = this.images();
      const ids = list.map((image) => image.id).join();
      if (strip.dataset.ids !== ids) {
        strip.dataset.ids = ids;
        strip.replaceChildren(...list.map((image) => {
          const button = document.createElement('button');
          button.type = 'button';
          button.setAttribute('role', 'option');
          button.dataset.id = image.id;
          button.title = image.kind === 'grid' ? 'Grid' : `Seed ${image.seed}`;
          const small = document.createElement('img');
          small.src = image.thumb;
          small.alt = button.title;
          small.loading = 'lazy';
          button.append(small);
          button.onclick = () => this.choose(image);
          return button;
        }));
      }
      strip.hidden = list.length < 2;
      const current = this.image();
      for (const button of strip.children) button.setAttribute('aria-selected', String(button.dataset.id === current?.id));
    }

    renderText(job) {
      const image = this.image();
      this.part('.result-tools').hidden = !image;
      const text = image ? image.infotext : '';
      if (this.part('.infotext').textContent !== text) this.part('.infotext').textContent = text;
      if (image) this.part('.download').href = image.url;
      const lines = [];
      if (job && !isActive(job)) {
        if (job.seconds != null) lines.push(`Time taken: ${duration(job.seconds)}`);
        if (job.state === 'cancelled') lines.push(leftover(job) ? 'interrupted: this is its last preview, not saved' : 'interrupted');
        if (job.error) lines.push(job.error);
        lines.push(...job.notes);
      } else if (!job && engine.state !== 'ready' && engine.state !== 'busy') lines.push(engine.text);
      const line = this.part('.performance');
      line.textContent = lines.filter(Boolean).join(' · ');
      line.classList.toggle('error', Boolean(job && job.error));
    }

    renderQueue() {
      const box = this.part('.queue');
      const waiting = active();
      box.hidden = waiting.length < 2;
      // A list that is made anew at every step takes the buttons away from under the pointer.
      const written = JSON.stringify(waiting.map((job) => [job.id, job.state, job.run && Boolean(webui.runs.get(job.run))]));
      if (box.hidden || box.dataset.written === written) return;
      box.dataset.written = written;
      box.querySelector('summary').textContent = `Queue: ${waiting.length}${waiting.length < MOST_LISTED ? '' : ' or more'} jobs`;
      box.querySelector('ol').replaceChildren(...waiting.map((job) => {
        const item = document.createElement('li');
        const name = document.createElement('button');
        name.type = 'button';
        name.className = 'job-name';
        name.textContent = `${job.state === 'running' ? '▶ ' : ''}${(job.prompt || job.name).slice(0, 80) || (job.tab === 'extras' ? '(Extras)' : '(empty prompt)')}`;
        const shown = webui.runs.get(job.run) ? job.run : job.id;
        name.onclick = () => { pinned = pinned === shown ? null : shown; render(); };
        item.append(name);
        if (job.state === 'queued') item.append(this.act('⤒', 'Run next', `internal/jobs/${job.id}/first`));
        item.append(this.act('✕', 'Cancel', `internal/jobs/${job.id}/cancel`));
        return item;
      }));
      const all = document.createElement('li');
      all.className = 'queue-all';
      all.append(this.act('✕ Cancel all that wait', 'Cancel all jobs but the one that is being drawn', 'internal/jobs/clear'));
      box.querySelector('ol').append(all);
    }

    act(text, title, url) { return webui.toolButton(text, title, () => ask(url)); }
  }

  const ask = async (url) => {
    try {
      const answer = await webui.post(url);
      await refresh();
      return answer;
    } catch (error) { webui.toast(error.message, 'error'); }
  };

  // A picture's parameters into a form; where the tab has none, as Extras, into txt2img's. False where the picture says nothing.
  webui.useParameters = (image, {tab = 'txt2img', open = true} = {}) => {
    const form = webui.find(`#${tab}_paste`) ? tab : 'txt2img';
    if (image.parameters) {
      webui.form.paste(form, image.parameters);
      if (open) webui.openTab(form);
    } else webui.toast('This picture holds no generation parameters.', 'error');
    return Boolean(image.parameters);
  };
  webui.output = (root) => {
    if (panels.some((panel) => panel.root === root)) return;
    panels.push(new Panel(root));
    render();
  };
  webui.submitted = (id) => {
    followed = id;
    pinned = null;
    refresh().catch((error) => webui.toast(error.message, 'error'));
  };
  // Interrupt ends a whole run or batch of files, Skip only the job that is being drawn.
  webui.interrupt = async () => {
    const job = running() || active()[0];
    const run = webui.runs.get(job?.run) || (job ? null : webui.runs.active()[0]);
    if (run) return ask(`internal/runs/${run.id}/cancel`);
    if (!job) return undefined;
    const answer = await ask(`internal/jobs/${job.id}/interrupt?now=${ending.has(job.id)}`);
    if (!answer?.ending) return answer;
    ending.add(job.id);
    webui.toast('The picture that is being drawn is finished first. Interrupt again to end it now.');
    return render();
  };
  webui.skip = () => {
    const job = running() || active()[0];
    if (job) ask(`internal/jobs/${job.id}/skip`);
  };
  webui.busy = busy;
  webui.shownImage = (tab) => panels.find((panel) => panel.root.dataset.tab === tab)?.image() ?? null;
  webui.shownSeed = (tab) => webui.shownImage(tab)?.seed ?? -1;
  webui.jobs = jobs;

  document.addEventListener('click', (event) => {
    const button = event.target.closest?.('.interrupt, .skip');
    if (button) button.classList.contains('skip') ? webui.skip() : webui.interrupt();
  });
  addEventListener('webui-favourite', (event) => {
    for (const holder of [...jobs.values(), ...webui.runs.all()]) {
      for (const image of holder.images) if (image.id === event.detail.id) image.favourite = event.detail.favourite;
    }
  });
  addEventListener('webui-deleted', (event) => {
    const others = (images) => images.filter((image) => image.id !== event.detail);
    for (const job of jobs.values()) job.images = others(job.images);
    for (const run of webui.runs.all()) run.images = others(run.images);
    render();
  });
  const wake = () => { if (!document.hidden && !stream) refresh().catch(() => {}); };
  addEventListener('focus', wake);
  document.addEventListener('visibilitychange', wake);
  refresh().catch((error) => webui.toast(error.message, 'error'));
})();
