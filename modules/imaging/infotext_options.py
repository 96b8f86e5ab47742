"""Which fields of an infotext are settings? Each with A1111's option key and how its value is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any


def is_true(text: str) -> bool:
    """What a field that is on or off says. Raises ValueError."""
    if text.strip().casefold() not in ("true", "false"):
        raise ValueError(text)
    return text.strip().casefold() == "true"


def _tiles(text: str) -> str:
    return "Always" if is_true(text) else "When memory runs out"


OPTIONS: Mapping[str, tuple[str, Callable[[str], Any]]] = MappingProxyType(
    {
        "Clip skip": ("CLIP_stop_at_last_layers", int),
        "ENSD": ("eta_noise_seed_delta", int),
        "Emphasis": ("emphasis", str),
        "RNG": ("randn_source", str),
        "Eta": ("eta_ancestral", float),
        "Eta DDIM": ("eta_ddim", float),
        "Sigma churn": ("s_churn", float),
        "Sigma tmin": ("s_tmin", float),
        "Sigma tmax": ("s_tmax", float),
        "Sigma noise": ("s_noise", float),
        "Schedule min sigma": ("sigma_min", float),
        "Schedule max sigma": ("sigma_max", float),
        "Schedule rho": ("rho", float),
        "Discard penultimate sigma": ("always_discard_next_to_last_sigma", is_true),
        "Beta schedule alpha": ("beta_dist_alpha", float),
        "Beta schedule beta": ("beta_dist_beta", float),
        "SGM noise multiplier": ("sgm_noise_multiplier", is_true),
        "NGMS": ("s_min_uncond", float),
        "NGMS all steps": ("s_min_uncond_all", is_true),
        "Skip Early CFG": ("skip_early_cond", float),
        "UniPC variant": ("uni_pc_variant", str),
        "UniPC skip type": ("uni_pc_skip_type", str),
        "UniPC order": ("uni_pc_order", int),
        "UniPC lower order final": ("uni_pc_lower_order_final", is_true),
        "Face restoration": ("face_restoration_model", str),
        "CodeFormer weight": ("code_former_weight", float),
        "Tiling": ("tiling", is_true),
        "VAE tiles": ("vae_tiles", _tiles),
        "Noise multiplier": ("initial_noise_multiplier", float),
        "Extra noise": ("img2img_extra_noise", float),
        "Conditional mask weight": ("inpainting_mask_weight", float),
        "Exact steps": ("img2img_fix_steps", is_true),
        "Color correction": ("img2img_color_correction", is_true),
        "Background color": ("img2img_background_color", str),
        "Inpaint overlay": ("overlay_inpaint", is_true),
        "Hires refiner": ("hires_fix_refiner_pass", str),
        "Pad conds": ("pad_cond_uncond", is_true),
        "Old prompt editing timelines": ("use_old_scheduling", is_true),
        "Downcast alphas_cumprod": ("use_downcasted_alpha_bar", is_true),
    }
)
"""Infotext field to (option key, its reader, which raises ValueError)."""
