"""A1111's lists: samplers, models, styles and the rest of what a request may name; and looking at the folders again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from fastapi import APIRouter

from modules.domain.catalog import LATENT_UPSCALERS, PIXEL_UPSCALERS, Catalog, CheckpointInfo, UpscalerInfo
from modules.domain.networks import LoraInfo
from modules.http_api import listing_models as shown
from modules.http_api.access import Api
from modules.http_api.errors import PROBLEMS, ApiRoute
from modules.http_api.scripts import script_infos, script_names

_RHO: Mapping[str, float] = MappingProxyType({"karras": 7.0, "polyexponential": 1.0})
_WITH_MODEL = frozenset(("sgm_uniform", "simple", "normal", "ddim", "beta"))
"""Schedules that A1111 computes with the model's own noise levels."""

_FACTOR = re.compile(r"(?<![0-9a-z])(?:x([1-8])|([1-8])x)(?![0-9a-z])", re.IGNORECASE)
_USUAL_FACTOR = 4.0


def listing_routes(api: Api) -> APIRouter:
    """Everything that there is to choose from."""
    router = APIRouter(prefix="/sdapi/v1", tags=["lists"], route_class=ApiRoute, responses=PROBLEMS)
    _sampling(router, api)
    _models(router, api)
    _networks(router, api)
    _scripts(router, api)
    _refresh(router, api)
    return router


def _sampling(router: APIRouter, api: Api) -> None:
    @router.get("/samplers")
    def samplers() -> list[shown.SamplerItem]:
        """The samplers; `options` names the schedule that “Automatic” means, where it is not the uniform one."""
        return [
            shown.SamplerItem(
                name=row.label,
                aliases=list(row.aliases),
                options={} if row.automatic_schedule == "uniform" else {"scheduler": row.automatic_schedule},
            )
            for row in api.context.catalog.snapshot().samplers
        ]

    @router.get("/schedulers")
    def schedulers() -> list[shown.SchedulerItem]:
        """The schedule types."""
        return [
            shown.SchedulerItem(
                name=row.id,
                label=row.label,
                aliases=list(row.aliases),
                default_rho=_RHO.get(row.id, -1.0),
                need_inner_model=row.id in _WITH_MODEL,
            )
            for row in api.context.catalog.snapshot().schedules
        ]

    @router.get("/prompt-styles")
    def styles() -> list[shown.PromptStyleItem]:
        """The saved styles."""
        return [
            shown.PromptStyleItem(name=style.name, prompt=style.prompt, negative_prompt=style.negative_prompt)
            for style in api.context.styles.all()
        ]


def _models(router: APIRouter, api: Api) -> None:
    @router.get("/sd-models")
    def sd_models() -> list[shown.SdModelItem]:
        """The checkpoints."""
        return [_checkpoint(info) for info in api.context.catalog.snapshot().checkpoints]

    @router.get("/sd-modules")
    @router.get("/sd-vae")
    def sd_vae() -> list[shown.SdVaeItem]:
        """The VAE files. Forge calls the list sd-modules."""
        return [shown.SdVaeItem(model_name=info.name, filename=info.path) for info in api.context.catalog.snapshot().vaes]

    @router.get("/upscalers")
    def upscalers() -> list[shown.UpscalerItem]:
        """What enlarges pictures: without a model first, then the models."""
        return _upscalers(api.context.catalog.snapshot())

    @router.get("/latent-upscale-modes")
    def latent_upscale_modes() -> list[shown.NameItem]:
        """What hires. fix can enlarge without decoding."""
        return [shown.NameItem(name=name) for name in LATENT_UPSCALERS]

    @router.get("/realesrgan-models")
    def realesrgan_models() -> list[shown.RealesrganItem]:
        """Empty: models of every kind are among the upscalers."""
        return []

    @router.get("/face-restorers")
    def face_restorers() -> list[shown.FaceRestorerItem]:
        """The face restorers whose weights are there, and their folders."""
        found = api.context.catalog.snapshot().face_restorers
        return [shown.FaceRestorerItem(name=info.kind, cmd_dir=str(Path(info.path).parent)) for info in found]


def _checkpoint(info: CheckpointInfo) -> shown.SdModelItem:
    return shown.SdModelItem(
        title=info.title, model_name=info.stem, hash=info.short_hash, sha256=info.sha256, filename=info.path, config=None
    )


def _upscalers(catalog: Catalog) -> list[shown.UpscalerItem]:
    plain = [shown.UpscalerItem(name=name, model_name=None, model_path=None, model_url=None, scale=4.0) for name in PIXEL_UPSCALERS]
    return plain + [
        shown.UpscalerItem(name=info.label, model_name=info.label, model_path=info.path, model_url=None, scale=_factor(info))
        for info in catalog.upscalers
    ]


def _factor(info: UpscalerInfo) -> float:
    """The factor that a model's name says it has."""
    for name in (info.label, *info.aliases):
        found = _FACTOR.search(name.replace("_", " "))
        if found:
            return float(found.group(1) or found.group(2))
    return _USUAL_FACTOR


def _networks(router: APIRouter, api: Api) -> None:
    @router.get("/loras")
    def loras() -> list[shown.LoraItem]:
        """The LoRAs."""
        return [
            shown.LoraItem(name=info.stem, alias=info.alias or info.stem, path=info.path, metadata=_metadata(info))
            for info in api.context.catalog.snapshot().loras
        ]

    @router.get("/embeddings")
    def embeddings() -> shown.EmbeddingsAnswer:
        """The textual inversions."""
        loaded = {
            info.word: shown.EmbeddingItem(step=None, sd_checkpoint=None, sd_checkpoint_name=None, shape=None, vectors=info.vectors)
            for info in api.context.catalog.snapshot().embeddings
        }
        return shown.EmbeddingsAnswer(loaded=loaded, skipped={})

    @router.get("/hypernetworks")
    def hypernetworks() -> list[shown.HypernetworkItem]:
        """Empty: there are no hypernetworks in this program."""
        return []


def _metadata(info: LoraInfo) -> dict[str, str]:
    """What is known of the trainer's notes without reading the file again."""
    known = {"ss_output_name": info.alias, "ss_base_model_version": info.made_for}
    return {key: value for key, value in known.items() if value}


def _scripts(router: APIRouter, api: Api) -> None:
    @router.get("/scripts")
    def scripts() -> shown.ScriptsAnswer:
        """The names that `script_name` and `alwayson_scripts` take."""
        return shown.ScriptsAnswer(**script_names())

    @router.get("/script-info")
    def script_info() -> list[shown.ScriptItem]:
        """The same with their arguments."""
        return [shown.ScriptItem(**row) for row in script_infos(api.context.catalog.snapshot(), api.context.styles.all())]

    @router.get("/extensions")
    def extensions() -> list[shown.ExtensionItem]:
        """Empty: this version loads no extensions."""
        return []


def _refresh(router: APIRouter, api: Api) -> None:
    @router.post("/refresh-embeddings")
    @router.post("/refresh-loras")
    @router.post("/refresh-vae")
    @router.post("/refresh-checkpoints")
    def refresh() -> None:
        """Look at the models folders again; all of them, whichever was named."""
        api.context.catalog.refresh()
