"""Between the Checkpoint Merger's controls and a `MergeRequest`; and who may make one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import gradio as gr

from modules.context import AppContext
from modules.domain.catalog import Catalog
from modules.domain.errors import InvalidRequest
from modules.domain.jobs import JobRequest
from modules.domain.merging import (
    ADD_DIFFERENCE,
    NO_INTERPOLATION,
    NO_VAE,
    SUFFIX,
    WEIGHTED_SUM,
    MergeRequest,
    with_free_name,
    without_unused,
)
from modules.gradio_ui.bindings.img2img_batch import is_at_this_machine
from modules.gradio_ui.form import number
from modules.prompts.network_tags import NetworkTag, extract_network_tags

FORMULAS: Mapping[str, str] = {
    NO_INTERPOLATION: "The result is A alone. Useful to save it as float16, or to put a VAE or LoRAs into it. M, B and C are not used.",
    WEIGHTED_SUM: "A * (1 - M) + B * M: M = 0 is A, M = 1 is B, and between them a mixture. C is not used.",
    ADD_DIFFERENCE: "A + (B - C) * M: what B has learned beyond C is added to A. C is usually the model that B was trained from.",
}

NOT_ALLOWED = (
    "A merge writes a large file to this machine's disk, so only whoever sits at it or has logged in may start one: "
    "start the program with --gradio-auth and log in."
)


def may_write_models(request: gr.Request) -> bool:
    """Whether whoever asks sits at this machine or has a login: nobody else may fill its disk or keep it busy for hours."""
    return bool(request.username) or is_at_this_machine(request)


def merge_request(context: AppContext, values: Mapping[str, Any], *, allowed: bool) -> MergeRequest:
    """What the form asks for, under a name that neither a file nor a job that waits has. Raises `InvalidRequest` and `ModelNotFound`."""
    if not allowed:
        raise InvalidRequest(NOT_ALLOWED)
    request = to_request(values, context.catalog.snapshot())
    files = [info.name.rsplit("/", 1)[-1] for info in context.catalog.snapshot().checkpoints]
    return with_free_name(request, [*files, *_coming(job.request for job in context.queue.list(active_only=True))])


def to_request(values: Mapping[str, Any], catalog: Catalog) -> MergeRequest:
    """The request that the form's `values` ask for. Raises `InvalidRequest` with the control's label in the sentence."""
    request = without_unused(
        MergeRequest(
            primary=_chosen(values, "primary_model_name"),
            secondary=_chosen(values, "secondary_model_name"),
            tertiary=_chosen(values, "tertiary_model_name"),
            method=str(values["interp_method"]),
            multiplier=number(values, "interp_amount", "Multiplier (M)"),
            block_weights=str(values["block_weights"] or ""),
            name=_without_suffix(str(values["custom_name"] or "").strip()),
            file_format=str(values["checkpoint_format"]),
            half=bool(values["save_as_half"]),
            vae=_chosen(values, "bake_in_vae") or NO_VAE,
            discard=str(values["discard_weights"] or ""),
            config_from=str(values["config_method"]),
            copy_metadata=bool(values["copy_metadata_fields"]),
            add_recipe=bool(values["add_merge_recipe"]),
            loras=_loras(str(values["loras"] or "")),
        )
    )
    # with the catalogue's own names, which is what the automatic name is made of
    names: dict[str, Any] = {
        name: catalog.checkpoint(text).name for name in ("primary", "secondary", "tertiary") if (text := getattr(request, name))
    }
    return replace(request, **names)


def _chosen(values: Mapping[str, Any], name: str) -> str:
    return str(values[name] or "").strip()


def _without_suffix(name: str) -> str:
    return name[: -len(SUFFIX)] if name.lower().endswith(SUFFIX) else name


def _coming(requests: Iterable[JobRequest]) -> list[str]:
    return [request.file_name for request in requests if isinstance(request, MergeRequest)]


def _loras(text: str) -> tuple[tuple[str, float], ...]:
    rest, tags = extract_network_tags(text)
    if rest.strip(" ,\n\t"):
        raise InvalidRequest(f"LoRAs to put in: {rest.strip()[:40]!r} can't be read. Write them as <lora:name:0.8>.")
    return tuple(_lora(tag) for tag in tags)


def _lora(tag: NetworkTag) -> tuple[str, float]:
    wrong = f"LoRAs to put in: <{tag.kind}:{':'.join(tag.values)}> can't be read. Write it as <lora:name:0.8>."
    if tag.kind not in ("lora", "lyco") or tag.named or not 1 <= len(tag.values) <= 2:
        raise InvalidRequest(wrong)
    try:
        return tag.values[0].strip(), float(tag.values[1]) if len(tag.values) == 2 else 1.0
    except ValueError:
        raise InvalidRequest(wrong) from None
