// The loss curve of a training: what the server has written down, and after it what the job stream tells.
(() => {
  const WIDTH = 600, HEIGHT = 160, MARGIN = 34;
  const curves = new Map();            // job id -> {points: [[step, loss]], asked}

  function curveOf(job) {
    if (!curves.has(job.id)) {
      const curve = {points: [], last: 0};
      curves.set(job.id, curve);
      ask(job.id, curve);
    }
    return curves.get(job.id);
  }

  function ask(id, curve) {
    webui.get(`internal/jobs/${id}/losses`).then((answer) => {
      const written = answer.losses, last = written.length ? written[written.length - 1][0] : 0;
      curve.points = [...written, ...curve.points.filter(([step]) => step > last)];
      curve.drawn = null;
    }).catch(() => {});
  }

  // A running mean, since the loss of a step says more about its noise than about the training.
  function smoothed(points) {
    let mean = null;
    return points.map(([step, loss]) => { mean = mean === null ? loss : 0.9 * mean + 0.1 * loss; return [step, mean]; });
  }

  function path(points, steps, low, high) {
    const x = (step) => MARGIN + (WIDTH - MARGIN - 6) * step / steps;
    const y = (loss) => 6 + (HEIGHT - 24) * (high - loss) / (high - low || 1);
    return points.map(([step, loss], i) => `${i ? 'L' : 'M'}${x(step).toFixed(1)},${y(loss).toFixed(1)}`).join('');
  }

  const element = (name, attributes, text = '') => {
    const made = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };

  function draw(box, points, steps) {
    const losses = points.map(([, loss]) => loss), low = Math.min(...losses), high = Math.max(...losses);
    const svg = element('svg', {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': `Loss by step, now ${losses.at(-1).toFixed(4)}`});
    svg.append(
      element('path', {d: path(points, steps, low, high), class: 'loss-raw'}),
      element('path', {d: path(smoothed(points), steps, low, high), class: 'loss-mean'}),
      element('text', {x: 2, y: 14}, high.toFixed(3)), element('text', {x: 2, y: HEIGHT - 20}, low.toFixed(3)),
      element('text', {x: MARGIN, y: HEIGHT - 4}, '0'), element('text', {x: WIDTH - 6, y: HEIGHT - 4, 'text-anchor': 'end'}, `${steps} steps`),
    );
    box.replaceChildren(svg);
  }

  function render(box, job) {
    if (!job?.learns) { box.hidden = true; return; }
    const curve = curveOf(job), {step, steps, loss} = job.progress;
    if (loss != null && step > (curve.points.at(-1)?.[0] ?? 0)) curve.points.push([step, loss]);
    const over = job.state !== 'running' && job.state !== 'queued';
    if (over && !curve.over) { curve.over = true; ask(job.id, curve); setTimeout(() => render(box, job), 800); }
    const length = Math.max(steps, curve.points.at(-1)?.[0] ?? 0, curve.steps ?? 0);
    curve.steps = length;
    box.hidden = curve.points.length < 2;
    const key = `${job.id} ${curve.points.length} ${length}`;
    if (box.hidden || (curve.drawn === key && box.dataset.drawn === key)) return;
    curve.drawn = box.dataset.drawn = key;
    draw(box, curve.points, length);
  }

  webui.train = {render};
})();
