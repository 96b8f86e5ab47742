// Tooltips, which are also the names that screen readers speak for the icon buttons.
(() => {
  // For both generation tabs; the names begin with theirs.
  const shared = {
    paste: 'Read generation parameters from the prompt, or from the last picture if the prompt is empty',
    clear_prompt: 'Clear both prompts',
    style_apply: 'Write the chosen styles into the prompts for good',
    styles_edit_button: 'Make, change and delete styles',
    presets_button: 'Keep the whole form under a name, and bring it back',
    res_switch_btn: 'Swap width and height',
    random_seed: 'Set the seed to -1: a new random one for every click',
    reuse_seed: 'Reuse the seed of the picture that is shown',
    interrupt: 'Stop the running job, with its run or batch of files; while more pictures would follow, the one being drawn is finished, unless you click again (Esc)',
    skip: 'Leave this batch and go on with the next (Alt+Enter)',
    generate: 'Put a job into the queue (Ctrl+Enter)',
    sampling: 'Which algorithm walks from noise to picture',
    cfg_scale: 'How strongly the picture should follow the prompt',
    batch_count: 'How many batches, one after another (costs time, not memory)',
    batch_size: 'How many pictures side by side (costs memory)',
    seed: 'The same seed and parameters give the same picture; -1 is random',
    script_extend: 'Let the last run of this script go on with these values: what it has drawn already is not drawn again',
    subseed_strength: 'How far to go from the seed to the variation seed: 0 not at all, 1 all the way',
  };
  const hints = {
    ...Object.fromEntries(['txt2img', 'img2img'].flatMap((tab) => Object.entries(shared).map(([name, text]) => [`${tab}_${name}`, text]))),
    refresh_sd_model_checkpoint: 'Look for new model files',
    txt2img_hr: 'Draw small first, enlarge, and draw the details in a second pass: large pictures without doubled subjects',
    txt2img_hires_steps: 'Steps of the second pass; 0 for as many as in the first',
    txt2img_denoising_strength: 'How much the second pass may change: 0 nothing, 1 everything; latent upscalers need 0.5 or more',
    img2img_denoising_strength: 'How much may change: 0 nothing, 1 everything',
    img2img_detect_image_size_btn: 'Take width and height from the picture',
    ...Object.fromEntries(['x', 'y', 'z'].map((axis) => [`xyz_grid_fill_${axis}_tool_button`, `Fill in all values that ${axis.toUpperCase()} can have`])),
    ...Object.fromEntries(['A', 'B', 'C'].map((letter) => [`refresh_checkpoint_${letter}`, 'Look for new model files'])),
    modelmerger_refresh_bake_in_vae: 'Look for new model files',
    modelmerger_merge: 'Put the merge into the queue; the new file is offered as soon as it is complete',
    modelmerger_interrupt: 'Stop the running job; nothing is left of a merge that is not complete (Esc)',
    modelmerger_save_as_half: 'Half the size for a float32 model; otherwise the result has A\'s number format',
    modelmerger_use: 'Make it the checkpoint that pictures are drawn with',
    extras_generate: 'Put a job into the queue for each picture (Ctrl+Enter)',
    extras_interrupt: 'Stop the running job, with its batch of files, at its next tile (Esc)',
    extras_skip: 'Leave the running picture and go on with the next (Alt+Enter)',
    extras_res_switch_btn: 'Swap width and height',
    extras_upscaling_resize: 'How many times as wide and as high',
    extras_upscaling_crop: 'Cut off what is over where the picture has another shape; otherwise it becomes larger on one side',
    extras_upscaler_1: 'None leaves the picture as it is',
    extras_upscaler_2: 'Another upscaler, mixed into what the first one makes',
    extras_upscaler_2_visibility: 'How strongly upscaler 2 is mixed in: 0 not at all, 1 it alone',
    resize_mode: 'What happens when the picture has another shape: stretched, cropped, or filled up at the sides',
    img2img_mask_blur: 'How softly the mask\'s edge fades, in pixels',
    img2img_mask_alpha: 'How transparent the paint is on the picture',
    img2img_inpainting_fill: 'What the masked part begins from: its surroundings\' colours, itself, noise, or nothing',
    img2img_inpaint_full_res: 'Only masked draws the masked part alone, at the full size, and puts it back: more detail in small places',
    img2img_inpaint_full_res_padding: 'How much of the surroundings \'Only masked\' sees',
  };
  const apply = () => {
    for (const [id, text] of Object.entries(hints)) {
      // some of A1111's ids are on both tabs
      for (const node of document.querySelectorAll(`#${id}`)) {
        if (node.title) continue;
        node.title = text;
        if (node.tagName === 'BUTTON' && node.classList.contains('tool')) node.setAttribute('aria-label', text);
      }
    }
  };
  let pending = 0;
  new MutationObserver(() => { if (!pending) pending = setTimeout(() => { pending = 0; apply(); }, 400); })
    .observe(document.documentElement, {childList: true, subtree: true});
  apply();
})();
