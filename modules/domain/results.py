"""A picture as the engine hands it over, before it has a name, and as the gallery keeps it, after it has one."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image


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
    note: str = ""
    """A sentence for the user when the file did not go where it should have; empty otherwise."""
