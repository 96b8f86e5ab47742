"""What a user can set: one frozen dataclass a section, one field a setting.

The Settings tab, the YAML file and A1111's option keys are made from it, by `rows`. Adding a setting is adding a field here and reading it.
`host=True` marks what only the person at the machine may change (folders): no page and no API route accepts it, it is read from the file
and the command line.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from modules.settings.control import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """Saving images and grids"""

    save_images: bool = setting(True, "samples_save", "Always save all generated images")
    image_format: str = setting("png", "samples_format", "File format for images", choices=("png", "jpg", "webp", "avif"))
    filename_pattern: str = setting(
        "", "samples_filename_pattern", "Images filename pattern", "Empty means [seed] in dated folders, else [seed]-[prompt_spaces]."
    )
    number_files: bool = setting(True, "save_images_add_number", "Add a number to the filename when saving")
    save_grid: bool = setting(True, "grid_save", "Always save all generated image grids")
    grid_format: str = setting("png", "grid_format", "File format for grids", choices=("png", "jpg", "webp", "avif"))
    grid_only_if_multiple: bool = setting(True, "grid_only_if_multiple", "Do not save grids consisting of one picture")
    grid_rows: int = setting(
        -1, "n_rows", "Grid row count", "-1 chooses it from the number of pictures, 0 makes it the batch size.", low=-1, high=16, step=1
    )
    show_grid: bool = setting(True, "return_grid", "Show grid in results")
    embed_infotext: bool = setting(True, "enable_pnginfo", "Write generation parameters into the saved files")
    jpeg_quality: int = setting(80, "jpeg_quality", "Quality for saved jpeg, webp and avif images", low=1, high=100, step=1)
    save_before_color_correction: bool = setting(
        False, "save_images_before_color_correction", "Save a copy of image before applying color correction to img2img results"
    )
    save_incomplete: bool = setting(
        False,
        "save_incomplete_images",
        "Save incomplete images",
        "Decode and save what Interrupt or Skip leaves unfinished. Otherwise the last preview is shown until something else is.",
    )
    save_mask: bool = setting(False, "save_mask", "For inpainting, save a copy of the greyscale mask")
    save_mask_composite: bool = setting(False, "save_mask_composite", "For inpainting, save a masked composite")
    save_start_image: bool = setting(False, "save_init_img", "Save init images when using img2img")
    keep_source_names: bool = setting(
        True, "use_original_name_batch", "Use original name for output filename in the Extras tab", "Otherwise files are only numbered."
    )
    name_upscaler: bool = setting(False, "use_upscaler_name_as_suffix", "Use upscaler name as filename suffix in the Extras tab")
    use_date_folders: bool = setting(True, "save_to_dirs", "Save images to a subdirectory")
    date_pattern: str = setting("[date]", "directories_filename_pattern", "Directory name pattern")


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Stable Diffusion"""

    checkpoint: str = setting(
        "", "sd_model_checkpoint", "Stable Diffusion checkpoint", "Empty means the first one.", choices=("<checkpoints>",)
    )
    kept: int = setting(
        1,
        "sd_checkpoints_limit",
        "Maximum number of checkpoints loaded at the same time",
        "Going back to one that is kept reads no file. The one in use is on the device, the others wait in the computer's memory.",
        low=1,
        high=10,
        step=1,
    )
    vae: str = setting(
        "Automatic", "sd_vae", "SD VAE", "Automatic takes the file of the checkpoint's name, else the one inside it.", choices=("<vaes>",)
    )
    clip_skip: int = setting(
        1, "CLIP_stop_at_last_layers", "Clip skip", "Ignore the last layers of the text encoder.", low=1, high=12, step=1
    )
    emphasis: str = setting(
        "Original",
        "emphasis",
        "Emphasis mode",
        "How (more:1.2) and [less] change the embedding.",
        choices=("None", "Ignore", "Original", "No norm"),
    )
    refiner_pass: str = setting(
        "second pass",
        "hires_fix_refiner_pass",
        "Hires fix: which pass to enable refiner for",
        choices=("first pass", "second pass", "both passes"),
    )
    comma_backtrack: int = setting(20, "comma_padding_backtrack", "Prompt word wrap length limit", "In tokens.", low=0, high=74, step=1)
    noise_source: str = setting("GPU", "randn_source", "Random number generator source", choices=("GPU", "CPU", "NV"))
    tiling: bool = setting(False, "tiling", "Tiling", "Pictures that go on at their opposite edges, to be laid side by side.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sdxl:
    """Stable Diffusion XL"""

    crop_top: int = setting(0, "sdxl_crop_top", "Crop top coordinate", "What SDXL is told is missing above.", low=0, high=4096, step=1)
    crop_left: int = setting(0, "sdxl_crop_left", "Crop left coordinate", "And at the left.", low=0, high=4096, step=1)
    low_score: float = setting(
        2.5,
        "sdxl_refiner_low_aesthetic_score",
        "SDXL low aesthetic score",
        "What the refiner is told of the negative prompt.",
        low=0.0,
        high=10.0,
        step=0.1,
    )
    high_score: float = setting(
        6.0, "sdxl_refiner_high_aesthetic_score", "SDXL high aesthetic score", "And of the prompt.", low=0.0, high=10.0, step=0.1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Img2ImgSettings:
    """img2img"""

    mask_weight: float = setting(
        1.0,
        "inpainting_mask_weight",
        "Inpainting conditioning mask strength",
        "How much of the masked part is hidden from inpainting checkpoints.",
        low=0.0,
        high=1.0,
        step=0.01,
    )
    noise_multiplier: float = setting(
        1.0, "initial_noise_multiplier", "Noise multiplier for img2img", "More adds detail.", low=0.0, high=1.5, step=0.001
    )
    extra_noise: float = setting(
        0.0,
        "img2img_extra_noise",
        "Extra noise multiplier for img2img and hires fix",
        "0 adds none; should be lower than the denoising strength.",
        low=0.0,
        high=1.0,
        step=0.01,
    )
    color_correction: bool = setting(
        False, "img2img_color_correction", "Apply color correction to img2img results to match original colors."
    )
    exact_steps: bool = setting(
        False,
        "img2img_fix_steps",
        "With img2img, do exactly the amount of steps the slider specifies.",
        "Otherwise it does less for a lower denoising strength.",
    )
    background: str = setting(
        "#ffffff", "img2img_background_color", "With img2img, fill transparent parts of the input image with this color."
    )
    return_mask: bool = setting(False, "return_mask", "For inpainting, include the greyscale mask in results for web")
    return_mask_composite: bool = setting(False, "return_mask_composite", "For inpainting, include masked composite in results for web")
    overlay: bool = setting(True, "overlay_inpaint", "Overlay original for inpaint", "What is not masked stays exactly as it was.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Sampler parameters"""

    eta_ancestral: float = setting(1.0, "eta_ancestral", "Eta for k-diffusion samplers", "Noise multiplier.", low=0.0, high=1.0, step=0.01)
    eta_ddim: float = setting(0.0, "eta_ddim", "Eta for DDIM", "Noise multiplier.", low=0.0, high=1.0, step=0.01)
    s_churn: float = setting(0.0, "s_churn", "Sigma churn", "Euler, Heun and DPM2 only.", low=0.0, high=100.0, step=0.01)
    s_tmin: float = setting(0.0, "s_tmin", "Sigma tmin", low=0.0, high=10.0, step=0.01)
    s_tmax: float = setting(0.0, "s_tmax", "Sigma tmax", "0 means infinity.", low=0.0, high=999.0, step=0.01)
    s_noise: float = setting(1.0, "s_noise", "Sigma noise", low=0.0, high=1.1, step=0.001)
    sigma_min: float = setting(0.0, "sigma_min", "Schedule min sigma", "0 means the model's own.", low=0.0, high=2.0, step=0.01)
    sigma_max: float = setting(0.0, "sigma_max", "Schedule max sigma", "0 means the model's own.", low=0.0, high=60.0, step=0.01)
    rho: float = setting(0.0, "rho", "Schedule rho", "0 means the schedule's own.", low=0.0, high=100.0, step=0.1)
    discard_penultimate: bool = setting(
        False, "always_discard_next_to_last_sigma", "Always discard next-to-last sigma", "DPM2, DPM2 a and DPM++ 3M SDE always do."
    )
    beta_alpha: float = setting(0.6, "beta_dist_alpha", "Beta schedule alpha", "Beta schedule only.", low=0.01, high=5.0, step=0.01)
    beta_beta: float = setting(0.6, "beta_dist_beta", "Beta schedule beta", "Beta schedule only.", low=0.01, high=5.0, step=0.01)
    sgm_noise: bool = setting(
        False, "sgm_noise_multiplier", "SGM noise multiplier", "Begin a little noisier, as the reference implementation of SDXL does."
    )
    min_negative_sigma: float = setting(
        0.0,
        "s_min_uncond",
        "Negative Guidance minimum sigma",
        "Below this noise level every other step skips the negative prompt: faster, changes pictures slightly. 0 never skips.",
        low=0.0,
        high=15.0,
        step=0.01,
    )
    min_negative_sigma_all: bool = setting(False, "s_min_uncond_all", "Negative Guidance minimum sigma all steps", "Skip on every step.")
    skip_early_negative: float = setting(
        0.0,
        "skip_early_cond",
        "Ignore negative prompt during early sampling",
        "Share of the steps at the beginning that go without it.",
        low=0.0,
        high=1.0,
        step=0.01,
    )
    unipc_variant: str = setting("bh1", "uni_pc_variant", "UniPC variant", choices=("bh1", "bh2", "vary_coeff"))
    unipc_skip: str = setting("time_uniform", "uni_pc_skip_type", "UniPC skip type", choices=("time_uniform", "time_quadratic", "logSNR"))
    unipc_order: int = setting(3, "uni_pc_order", "UniPC order", "No more than there are steps behind is used.", low=1, high=50, step=1)
    unipc_lower_order_final: bool = setting(True, "uni_pc_lower_order_final", "UniPC lower order final")
    noise_seed_delta: int = setting(0, "eta_noise_seed_delta", "Eta noise seed delta", "31337 is NovelAI's.", low=0, high=2**31, step=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Optimizations"""

    vae_retry_float32: bool = setting(True, "auto_vae_precision", "Go on in float32 when the VAE gives NaN in float16")
    vae_tiles: str = setting(
        "When memory runs out",
        "vae_tiles",
        "Decode in pieces",
        "Needs less memory for large pictures; the pieces' brightness may differ a little.",
        choices=("When memory runs out", "Always", "Never"),
    )
    batch_guidance: bool = setting(
        True, "batch_cond_uncond", "Batch cond/uncond", "One network call for both halves of guidance: faster, needs more memory."
    )
    pad_prompts: bool = setting(
        False, "pad_cond_uncond", "Pad prompt/negative prompt to the same length", "Faster for long prompts, changes pictures slightly."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Compatibility:
    """Compatibility"""

    old_prompt_timelines: bool = setting(
        False,
        "use_old_scheduling",
        "Old prompt editing timelines",
        "As A1111 before 1.6: in [a:b:0.5] what is below 1 is a share of the steps, and hires fix begins the timeline again.",
    )
    auto_backcompat: bool = setting(
        True,
        "auto_backcompat",
        "Automatic backward compatibility",
        "Pasted parameters of an old A1111 version bring along what that version did otherwise.",
    )
    downcast_alphas: bool = setting(
        False,
        "use_downcasted_alpha_bar",
        "Downcast model alphas_cumprod to fp16 before sampling",
        "As A1111 before 1.7.0-225: noise levels that are a little off, for pictures made with them.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Upscaling:
    """Upscaling"""

    tile: int = setting(
        192,
        "ESRGAN_tile",
        "Tile size for upscaler models",
        "In pixels of the picture before; smaller needs less memory. 0 takes the picture as a whole.",
        low=0,
        high=512,
        step=16,
    )
    tile_overlap: int = setting(
        8, "ESRGAN_tile_overlap", "Tile overlap for upscaler models", "At most half a tile. Too little shows seams.", low=0, high=48, step=1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Faces:
    """Face restoration"""

    restorer: str = setting(
        "None",
        "face_restoration_model",
        "Restore faces in drawn pictures",
        "Needs weights in models/GFPGAN or models/Codeformer. For finished pictures it is in Extras.",
        choices=("None", "CodeFormer", "GFPGAN"),
    )
    weight: float = setting(
        0.5, "code_former_weight", "CodeFormer weight", "0 = maximum effect, 1 = minimum effect.", low=0.0, high=1.0, step=0.01
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Previews:
    """Live previews"""

    enabled: bool = setting(True, "live_previews_enable", "Show live previews of the created image")
    every_n_steps: int = setting(1, "show_progress_every_n_steps", "Show a new preview every N steps", low=1, high=32, step=1)
    method: str = setting(
        "TAESD",
        "show_progress_type",
        "Live preview method",
        "Full decodes with the VAE, which costs time. TAESD decodes with a small network from models/VAE-approx where there is one "
        "for the checkpoint (taesd_decoder, taesdxl_decoder, or the checkpoint's own name and _decoder), else as Approx cheap.",
        choices=("Full", "Approx cheap", "TAESD"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """User interface"""

    quicksettings: tuple[str, ...] = setting(
        ("sd_model_checkpoint", "sd_vae", "CLIP_stop_at_last_layers"),
        "quicksettings_list",
        "Quick-settings bar",
        "Which settings stand at the top of the page. Reload the page to see a change.",
        choices=("<settings>",),
        multiple=True,
    )
    theme: str = setting("System", "ui_theme_mode", "Colours", choices=("System", "Dark", "Light"))
    emphasis_step: float = setting(0.1, "keyedit_precision_attention", "Step of Ctrl+Up/Down on a word", low=0.01, high=0.2, step=0.01)
    network_step: float = setting(
        0.05, "keyedit_precision_extra", "Step of Ctrl+Up/Down in <network:weight>", low=0.01, high=0.2, step=0.01
    )
    complete_words: bool = setting(
        True,
        "tac_active",
        "Offer words while a prompt is typed",
        "Networks after <, wildcards after __, embeddings, the words a checkpoint was taught, and tags from the folder tags. "
        "Reload the page to see a change.",
    )
    tag_spaces: bool = setting(True, "tac_replaceUnderscores", "Write tags with spaces in place of underscores")
    interrupt_after_current: bool = setting(
        True,
        "interrupt_after_current",
        "Don't Interrupt in the middle",
        "Interrupt lets the picture that is being drawn be finished while more of the same click would follow; pressed again, it ends now.",
    )
    keep_checkpoint_on_paste: bool = setting(True, "disable_weights_auto_swap", "Disregard checkpoint information from pasted infotext")
    send_prompt: bool = setting(True, "send_prompt", "Send the prompt along when sending a picture to img2img or inpaint")
    send_seed: bool = setting(True, "send_seed", "Send the seed along when sending a picture to img2img or inpaint")
    send_size: bool = setting(True, "send_size", "Send the size along when sending a picture to img2img or inpaint")


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """API"""

    enable_requests: bool = setting(
        False, "api_enable_requests", "Allow http:// and https:// URLs for input images in API", "They are fetched from here.", host=True
    )
    forbid_local_requests: bool = setting(
        True, "api_forbid_local_requests", "Forbid URLs to local resources", "This machine and the network that it is in.", host=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """System"""

    queue_limit: int = setting(10_000, "queue_limit", "How many jobs may wait", low=1, high=100_000, step=1)
    log_level: str = setting("INFO", "log_level", "Log level", choices=("DEBUG", "INFO", "WARNING", "ERROR"), host=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings at one moment. Frozen: a job keeps the one it was accepted with."""

    saving: Saving = field(default_factory=Saving)
    models: Models = field(default_factory=Models)
    sdxl: Sdxl = field(default_factory=Sdxl)
    img2img: Img2ImgSettings = field(default_factory=Img2ImgSettings)
    sampling: Sampling = field(default_factory=Sampling)
    engine: Engine = field(default_factory=Engine)
    compatibility: Compatibility = field(default_factory=Compatibility)
    upscaling: Upscaling = field(default_factory=Upscaling)
    faces: Faces = field(default_factory=Faces)
    previews: Previews = field(default_factory=Previews)
    page: Page = field(default_factory=Page)
    api: Api = field(default_factory=Api)
    system: System = field(default_factory=System)
