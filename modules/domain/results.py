"""A picture as the engine hands it over, before it has a name, and as the gallery keeps it, after it has one."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

UNFINISHED = "unfinished"
"""The kind of a picture that the user ended on its way."""

_FRAME = "frame-"
"""Kinds of pictures that show one on its way begin with this."""


def frame_kind(step: int) -> str:
    """The kind of the picture that shows how far another one was after `step` (from 1)."""
    return f"{_FRAME}{step:04}"


def step_of(kind: str) -> int | None:
    """The step of such a kind; None for other kinds."""
    return int(kind.removeprefix(_FRAME)) if kind.startswith(_FRAME) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedImage:
    """`index` counts the pictures of a job from 0; a grid has index -1. `kind` is image or grid."""

    image: Image.Image
    infotext: str
    seed: int
    index: int
    kind: str = "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedImage:
    """A row of the gallery: `id` is what URLs name, `path` never leaves the server."""

    id: str
    job_id: str
    index: int
    kind: str
    path: str
    width: int
    height: int
    seed: int
    infotext: str
    created: float
    favourite: bool = False
    note: str = ""
    """A sentence for the user when the file did not go where it should have; empty otherwise."""
