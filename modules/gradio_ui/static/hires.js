// Beside "Hires. fix": which size the picture begins with and ends at. The engine's rule, in whole steps of eight pixels.
(() => {
  const number = (id) => parseFloat(webui.find(`#txt2img_${id} input[type=number]`)?.value || '0') || 0;
  const whole = (side) => Math.max(8, Math.floor(side / 8) * 8);

  function target(width, height) {
    const [x, y] = [number('hr_resize_x'), number('hr_resize_y')];
    if (x && y) return [x, y];
    if (x) return [x, Math.floor(x * height / width)];
    if (y) return [Math.floor(y * width / height), y];
    return [Math.floor(width * number('hr_scale')), Math.floor(height * number('hr_scale'))];
  }

  function show() {
    const place = webui.find('#txt2img_hires_size .hires-size');
    if (!place) return;
    const wanted = webui.find('#txt2img_hr input')?.checked && webui.find('#txt2img_hr_scale');
    const [width, height] = [number('width'), number('height')];
    const text = wanted && width && height ? `from ${width}x${height} to ${target(width, height).map(whole).join('x')}` : '';
    if (place.textContent !== text) place.textContent = text;
  }
  setInterval(() => { if (!document.hidden) show(); }, 500);
})();
