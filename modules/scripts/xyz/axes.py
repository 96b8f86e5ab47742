"""What can an axis of the X/Y/Z plot be? A1111's list in A1111's order, since its clients name an axis by its position.

What this program does not have keeps its place and says why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Literal

from modules.domain.catalog import NO_FACES, Catalog
from modules.domain.errors import InvalidRequest
from modules.domain.styles import Style
from modules.scripts.xyz import apply
from modules.scripts.xyz.ranges import MAX_VALUES, numbers, whole_numbers

Kind = Literal["nothing", "int", "float", "text", "flag", "order"]
Choices = Callable[[Catalog, tuple[Style, ...]], tuple[str, ...]]

NOTHING = "Nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One thing that may change along an axis.

    `cost` says how dear a change of it is, compared with others: the dearest changes least. `early` ones are applied before others that
    depend on them. `bare` values stand in the legend without the axis' name. An `empty` value means something.
    """

    name: str
    kind: Kind
    apply: apply.Apply
    choices: Choices | None = None
    cost: float = 0.0
    txt2img: bool = True
    img2img: bool = True
    early: bool = False
    bare: bool = False
    empty: bool = False
    missing: str = ""

    def values(self, texts: list[str]) -> tuple[Any, ...]:
        """The values that the texts of its list mean. Raises `InvalidRequest`."""
        if self.kind == "int":
            return tuple(whole_numbers(texts))
        if self.kind == "float":
            return tuple(numbers(texts))
        if self.kind == "flag":
            return tuple(_flag(text) for text in texts)
        if self.kind == "order":
            return _orders(texts)
        return tuple(texts)

    def label(self, value: Any) -> str:
        """What the legend says of a value."""
        if self.kind == "nothing":
            return ""
        text = ", ".join(value) if isinstance(value, tuple) else f"{value:.8g}" if isinstance(value, float) else str(value)
        if self.name in ("Checkpoint name", "Refiner checkpoint"):
            text = text.replace("\\", "/").rsplit("/", 1)[-1]
        return text if self.bare else f"{self.name}: {text}"


_POSITION_DIGITS = 9
"""`int` refuses to read thousands."""


def axes_of(tab: str) -> tuple[Axis, ...]:
    """The axes of the tab, in A1111's order."""
    return tuple(axis for axis in AXES if (axis.img2img if tab == "img2img" else axis.txt2img))


def find_axis(given: str, tab: str) -> Axis:
    """The axis with this name or position. Raises `InvalidRequest`, also for one that this program does not have."""
    known = axes_of(tab)
    text = given.strip()
    if text.isdecimal() and len(text) < _POSITION_DIGITS and int(text) < len(known):
        found: Axis | None = known[int(text)]
    else:
        found = next((axis for axis in known if axis.name.casefold() == text.casefold()), None)
    if found is None:
        names = ", ".join(axis.name for axis in known if not axis.missing)
        raise InvalidRequest(f"there is no axis {given[:60]!r}. There are: {names}.")
    if found.missing:
        raise InvalidRequest(f"{found.name}: {found.missing}")
    return found


def _flag(text: str) -> bool:
    word = text.strip().lower()
    if word not in ("true", "false"):
        raise InvalidRequest(f"{text[:40]!r} must be True or False.")
    return word == "true"


def _orders(texts: list[str]) -> tuple[tuple[str, ...], ...]:
    found = tuple(permutations(texts)) if len(texts) <= 6 else ()
    if not found or len(found) > MAX_VALUES:
        raise InvalidRequest(f"{len(texts)} words have too many orders; 6 are the most.")
    return found


def _samplers(catalog: Catalog, _: tuple[Style, ...]) -> tuple[str, ...]:
    return tuple(row.label for row in catalog.samplers)


def _schedules(catalog: Catalog, _: tuple[Style, ...]) -> tuple[str, ...]:
    return tuple(row.label for row in catalog.schedules)


def _checkpoints(catalog: Catalog, _: tuple[Style, ...]) -> tuple[str, ...]:
    return tuple(sorted((row.name for row in catalog.checkpoints), key=str.casefold))


def _refiners(catalog: Catalog, styles: tuple[Style, ...]) -> tuple[str, ...]:
    return ("None", *_checkpoints(catalog, styles))


def _vaes(catalog: Catalog, _: tuple[Style, ...]) -> tuple[str, ...]:
    return ("Automatic", "None", *(row.name for row in catalog.vaes))


def _upscalers(catalog: Catalog, _: tuple[Style, ...]) -> tuple[str, ...]:
    return catalog.hires_upscalers


def _styles(_: Catalog, styles: tuple[Style, ...]) -> tuple[str, ...]:
    return tuple(style.name for style in styles)


def _fixed(*names: str) -> Choices:
    return lambda catalog, styles: names


def _face_restorers(catalog: Catalog, _: tuple[Style, ...]) -> tuple[str, ...]:
    return (NO_FACES, *(row.kind for row in catalog.face_restorers))


_FLAGS = _fixed("True", "False")
_NO_MERGING = "there is no token merging in this program."


def _absent(name: str, why: str, *, txt2img: bool = True) -> Axis:
    return Axis(name=name, kind="text", apply=apply.field(name), missing=why, txt2img=txt2img)


AXES: tuple[Axis, ...] = (
    Axis(name=NOTHING, kind="nothing", apply=lambda request, value, lookup: request),
    Axis(name="Seed", kind="int", apply=apply.seed("value")),
    Axis(name="Var. seed", kind="int", apply=apply.seed("variation")),
    Axis(name="Var. strength", kind="float", apply=apply.seed("variation_strength")),
    Axis(name="Steps", kind="int", apply=apply.field("steps")),
    Axis(name="Hires steps", kind="int", apply=apply.hires("steps"), img2img=False),
    Axis(name="CFG Scale", kind="float", apply=apply.field("cfg_scale")),
    _absent("Image CFG Scale", "no model of this program reads it.", txt2img=False),
    Axis(name="Prompt S/R", kind="text", apply=apply.search_and_replace, bare=True, empty=True),
    Axis(name="Prompt order", kind="order", apply=apply.order, bare=True),
    Axis(name="Sampler", kind="text", apply=apply.sampler, choices=_samplers, bare=True, early=True),
    Axis(name="Hires sampler", kind="text", apply=apply.hires_sampler, choices=_samplers, img2img=False),
    Axis(name="Checkpoint name", kind="text", apply=apply.checkpoint, choices=_checkpoints, cost=1.0, bare=True, early=True),
    Axis(name="Negative Guidance minimum sigma", kind="float", apply=apply.option("s_min_uncond")),
    Axis(name="Sigma Churn", kind="float", apply=apply.option("s_churn")),
    Axis(name="Sigma min", kind="float", apply=apply.option("s_tmin")),
    Axis(name="Sigma max", kind="float", apply=apply.option("s_tmax")),
    Axis(name="Sigma noise", kind="float", apply=apply.option("s_noise")),
    Axis(name="Schedule type", kind="text", apply=apply.schedule, choices=_schedules),
    Axis(name="Schedule min sigma", kind="float", apply=apply.option("sigma_min")),
    Axis(name="Schedule max sigma", kind="float", apply=apply.option("sigma_max")),
    Axis(name="Schedule rho", kind="float", apply=apply.option("rho")),
    Axis(name="Beta schedule alpha", kind="float", apply=apply.option("beta_dist_alpha")),
    Axis(name="Beta schedule beta", kind="float", apply=apply.option("beta_dist_beta")),
    Axis(name="Eta", kind="float", apply=apply.eta),
    Axis(name="Clip skip", kind="int", apply=apply.field("clip_skip"), cost=0.1),
    Axis(name="Denoising", kind="float", apply=apply.denoising),
    Axis(name="Initial noise multiplier", kind="float", apply=apply.option("initial_noise_multiplier")),
    Axis(name="Extra noise", kind="float", apply=apply.option("img2img_extra_noise")),
    Axis(name="Hires upscaler", kind="text", apply=apply.hires_upscaler, choices=_upscalers, img2img=False),
    Axis(name="Cond. Image Mask Weight", kind="float", apply=apply.option("inpainting_mask_weight"), txt2img=False),
    Axis(name="VAE", kind="text", apply=apply.vae, choices=_vaes, cost=0.7),
    Axis(name="Styles", kind="text", apply=apply.styles, choices=_styles),
    Axis(name="UniPC Order", kind="int", apply=apply.option("uni_pc_order")),
    Axis(name="Face restore", kind="text", apply=apply.option("face_restoration_model"), choices=_face_restorers),
    _absent("Token merging ratio", _NO_MERGING),
    _absent("Token merging ratio high-res", _NO_MERGING),
    Axis(
        name="Always discard next-to-last sigma",
        kind="flag",
        apply=apply.option("always_discard_next_to_last_sigma"),
        choices=_FLAGS,
    ),
    Axis(name="SGM noise multiplier", kind="flag", apply=apply.option("sgm_noise_multiplier"), choices=_FLAGS),
    Axis(name="Refiner checkpoint", kind="text", apply=apply.refiner, choices=_refiners, cost=1.0, early=True),
    Axis(name="Refiner switch at", kind="float", apply=apply.refiner_switch),
    Axis(name="RNG source", kind="text", apply=apply.option("randn_source"), choices=_fixed("GPU", "CPU", "NV")),
    _absent("FP8 mode", "weights are kept as their file has them, or as the command line says."),
    Axis(name="Size", kind="text", apply=apply.size),
    Axis(name="Skip Early CFG", kind="float", apply=apply.option("skip_early_cond")),
)
