"""Which other program wrote a picture's metadata, and what is it as an infotext?"""

from __future__ import annotations

from collections.abc import Mapping

from modules.imaging.foreign.comfyui import comfyui_recipe
from modules.imaging.foreign.others import fooocus_recipe, invokeai_recipe, novelai_comment, novelai_recipe, old_invokeai_recipe
from modules.imaging.foreign.recipe import Recipe, json_object


def foreign_infotext(chunks: Mapping[str, str]) -> str | None:
    """The infotext of what `chunks` (names of a picture's texts -> texts) say in another program's way; None if they say nothing. Never
    raises, whatever the texts are."""
    found = _recipe(chunks)
    return found.infotext() if found else None


def _recipe(chunks: Mapping[str, str]) -> Recipe | None:
    def chunk(name: str) -> str:
        return chunks.get(name, "")

    if chunk("invokeai_metadata"):
        return invokeai_recipe(json_object(chunk("invokeai_metadata")))
    if chunk("sd-metadata"):
        return old_invokeai_recipe(json_object(chunk("sd-metadata")))
    if chunk("Software") == "NovelAI":
        return novelai_recipe(novelai_comment(chunk("Comment")), chunk("Description"), chunk("Source"))
    parameters = json_object(chunk("parameters"))
    if parameters:
        return fooocus_recipe(parameters)
    # in WebP it stands in EXIF, where the name of the chunk begins the text
    graph = chunk("prompt") or next((text[len("prompt:") :] for text in chunks.values() if text.startswith("prompt:")), "")
    return comfyui_recipe(json_object(graph))
