"""What may a client send for pictures, and what does it get? A1111's fields with A1111's defaults.

Every field may be missing or null, and means its default then; fields that nobody knows are ignored, since clients send their own.
"""

from __future__ import annotations

from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from modules.domain.requests import MAX_BATCH, MAX_SEED, MAX_SIDE, MAX_STEPS, SIZE_STEP

Whole = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
"""A whole number that every part behind can count with."""


def _documented(kind: str, low: float, high: float) -> WithJsonSchema:
    """The range in the schema alone: the request itself checks it, with a better sentence."""
    return WithJsonSchema({"type": kind, "minimum": low, "maximum": high})


Seeds = Annotated[Whole, _documented("integer", -1, MAX_SEED)]
Steps = Annotated[Whole, _documented("integer", 1, MAX_STEPS)]
Side = Annotated[Whole, _documented("integer", 2 * SIZE_STEP, MAX_SIDE)]
BatchSize = Annotated[Whole, _documented("integer", 1, MAX_BATCH)]
Share = Annotated[float, _documented("number", 0, 1)]
Scale = Annotated[float, _documented("number", 1, 16)]
Guidance = Annotated[float, _documented("number", 0, 100)]
Text = Annotated[str, Field(max_length=200_000)]


def _nullable(schema: dict[str, Any]) -> None:
    """Say in the schema what `Body` does: each field takes null too."""
    for name, part in schema.get("properties", {}).items():
        if name not in schema.get("required", ()) and {"type": "null"} not in part.get("anyOf", ()):
            outer = {key: part.pop(key) for key in ("title", "description", "default") if key in part}
            schema["properties"][name] = {"anyOf": [part, {"type": "null"}], **outer}


class Body(BaseModel):
    """A request's body: null is the default, what is unknown is ignored, and numbers are numbers."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, protected_namespaces=(), json_schema_extra=_nullable)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in cast("dict[str, Any]", data).items() if value is not None}


class GenerationBody(Body):
    """What txt2img and img2img have in common."""

    prompt: Text = ""
    negative_prompt: Text = ""
    styles: list[str] | None = Field(default=None, description="Names of saved styles, added to both prompts in order.")
    seed: Seeds = Field(default=-1, description="-1 draws one; the pictures of a request count up from it.")
    subseed: Seeds = Field(default=-1, description="The variation seed.")
    subseed_strength: Share = Field(default=0.0, description="0 to 1: how much of the variation seed's noise is mixed in.")
    seed_resize_from_h: Whole = -1
    seed_resize_from_w: Whole = -1
    sampler_name: str | None = Field(default=None, description="A name or alias of /sdapi/v1/samplers, or an old name with its schedule.")
    sampler_index: str = Field(default="Euler", description="Used where sampler_name is empty.")
    scheduler: str | None = Field(default=None, description="A name or label of /sdapi/v1/schedulers; null leaves it to the sampler.")
    batch_size: BatchSize = 1
    n_iter: Whole = Field(default=1, description="How many batches, one after another.")
    steps: Steps = 50
    cfg_scale: Guidance = 7.0
    width: Side = 512
    height: Side = 512
    restore_faces: bool | None = None
    tiling: bool | None = None
    do_not_save_samples: bool = Field(default=False, description="Has no effect, as in A1111: save_images decides.")
    do_not_save_grid: bool = Field(default=False, description="Has no effect, as in A1111: save_images decides.")
    eta: float | None = None
    denoising_strength: Share = 0.75
    s_min_uncond: float | None = None
    s_churn: float | None = None
    s_tmax: float | None = None
    s_tmin: float | None = None
    s_noise: float | None = None
    override_settings: dict[str, Any] | None = Field(
        default=None, description="Options for this request alone; keys as in /sdapi/v1/options."
    )
    override_settings_restore_afterwards: bool = Field(default=True, description="Accepted: a request's options never outlive it here.")
    refiner_checkpoint: str | None = None
    refiner_switch_at: Share | None = None
    disable_extra_networks: bool = Field(default=False, description="Leave out the <lora:…> of the prompts.")
    firstpass_image: str | None = None
    comments: dict[str, Any] | None = None
    script_name: str | None = None
    script_args: list[Any] = Field(default_factory=list[Any])
    alwayson_scripts: dict[str, Any] = Field(default_factory=dict[str, Any], description="Arguments by name; see /sdapi/v1/script-info.")
    send_images: bool = Field(default=True, description="Put the pictures into the answer.")
    save_images: bool = Field(default=False, description="Keep the pictures in the outputs folder, as the page does.")
    force_task_id: Annotated[str, Field(max_length=200)] | None = Field(default=None, description="A name to ask /internal/progress by.")
    infotext: Text | None = Field(default=None, description="Parameters of a picture: they fill every field that the request does not set.")
    distilled_cfg_scale: float | None = Field(default=None, description="Forge's; no model here reads it.")


class Txt2ImgBody(GenerationBody):
    """Pictures from words."""

    enable_hr: bool = Field(default=False, description="Hires. fix: a second pass over the enlarged picture.")
    firstphase_width: Whole = Field(default=0, description="Old clients': the first pass' size, width and height being the second one's.")
    firstphase_height: Whole = 0
    hr_scale: Scale = 2.0
    hr_upscaler: str | None = Field(default=None, description="A name of latent-upscale-modes or of upscalers; null is Latent.")
    hr_second_pass_steps: Whole = Field(default=0, description="0 is as many as in the first pass.")
    hr_resize_x: Whole = 0
    hr_resize_y: Whole = 0
    hr_checkpoint_name: str | None = None
    hr_sampler_name: str | None = None
    hr_scheduler: str | None = None
    hr_prompt: Text = ""
    hr_negative_prompt: Text = ""


class Img2ImgBody(GenerationBody):
    """Pictures from a picture."""

    init_images: list[str] | None = Field(default=None, description="The picture, in base64 or as a data: URL. Needed.")
    resize_mode: Annotated[int, Field(ge=0, le=3)] = Field(
        default=0, description="0 stretches, 1 crops, 2 fills up, 3 stretches the latents."
    )
    image_cfg_scale: float | None = None
    mask: str | None = Field(default=None, description="White is drawn anew, black is kept. The size of the picture.")
    mask_blur: Whole | None = Field(default=None, description="Both of mask_blur_x and mask_blur_y.")
    mask_blur_x: Whole = 4
    mask_blur_y: Whole = 4
    mask_round: bool = True
    inpainting_fill: Annotated[int, Field(ge=0, le=3)] = Field(default=0, description="0 fill, 1 original, 2 latent noise, 3 nothing.")
    inpaint_full_res: bool = Field(default=True, description="Draw the masked area alone, in full width and height.")
    inpaint_full_res_padding: Whole = 0
    inpainting_mask_invert: Whole = Field(default=0, description="1 draws the black part anew.")
    initial_noise_multiplier: float | None = None
    include_init_images: bool = Field(default=False, description="Send init_images and mask back in the answer's parameters.")


class GenerationAnswer(BaseModel):
    """The pictures, the request as it was understood, and how they were made."""

    images: list[str] = Field(description="Complete files in base64, parameters inside; a grid comes first where there is one.")
    parameters: dict[str, Any] = Field(description="Every field of the request.")
    info: str = Field(description="A JSON object: all_seeds, infotexts, sd_model_name …, and notes on what was done differently.")


class Problem(BaseModel):
    """Every error of this API, in A1111's shape."""

    error: str = Field(description="The kind of error.")
    detail: Any = Field(description="What is wrong: a sentence, or a list of fields with what is wrong with each.")
    body: str = ""
    errors: str = Field(description="The same in one sentence.")
