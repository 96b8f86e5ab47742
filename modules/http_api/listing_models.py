"""The rows of A1111's lists: what there is to choose from, as clients read it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Row(BaseModel):
    """A row of a list."""

    model_config = ConfigDict(protected_namespaces=())


class SamplerItem(Row):
    """A sampler."""

    name: str
    aliases: list[str]
    options: dict[str, Any]


class SchedulerItem(Row):
    """A schedule type; `default_rho` is -1 where it has none."""

    name: str
    label: str
    aliases: list[str]
    default_rho: float
    need_inner_model: bool


class UpscalerItem(Row):
    """An upscaler; `scale` is its own factor."""

    name: str
    model_name: str | None
    model_path: str | None
    model_url: str | None
    scale: float


class NameItem(Row):
    """A thing that has nothing but a name."""

    name: str


class SdModelItem(Row):
    """A checkpoint. The hashes are null until the file has been read."""

    title: str
    model_name: str
    hash: str | None
    sha256: str | None
    filename: str
    config: str | None


class SdVaeItem(Row):
    """A VAE file."""

    model_name: str
    filename: str


class HypernetworkItem(Row):
    """A hypernetwork."""

    name: str
    path: str


class FaceRestorerItem(Row):
    """A face restorer."""

    name: str
    cmd_dir: str | None


class RealesrganItem(Row):
    """A Real-ESRGAN model."""

    name: str
    path: str | None
    scale: int | None


class PromptStyleItem(Row):
    """A saved style."""

    name: str
    prompt: str | None
    negative_prompt: str | None


class EmbeddingItem(Row):
    """A textual inversion. What the file does not say without being loaded is null."""

    step: int | None
    sd_checkpoint: str | None
    sd_checkpoint_name: str | None
    shape: int | None
    vectors: int | None


class EmbeddingsAnswer(Row):
    """The textual inversions by the word that stands for each."""

    loaded: dict[str, EmbeddingItem]
    skipped: dict[str, EmbeddingItem]


class LoraItem(Row):
    """A LoRA: `alias` is what its trainer called it."""

    name: str
    alias: str
    path: str
    metadata: dict[str, Any]


class ScriptsAnswer(Row):
    """The names of the scripts, in small letters."""

    txt2img: list[str]
    img2img: list[str]


class ScriptArgument(Row):
    """An argument of a script, by position."""

    label: str | None
    value: Any
    minimum: Any
    maximum: Any
    step: Any
    choices: list[str] | None


class ScriptItem(Row):
    """A script and its arguments."""

    name: str
    is_alwayson: bool
    is_img2img: bool
    args: list[ScriptArgument]


class ExtensionItem(Row):
    """An extension."""

    name: str
    remote: str
    branch: str
    commit_hash: str
    version: str
    commit_date: int
    enabled: bool
