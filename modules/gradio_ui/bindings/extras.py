"""Between the Extras tab's controls and `ExtrasRequest`s: one a picture, whether it was put into the tab, uploaded or lies in a folder."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from modules.context import AppContext
from modules.domain.catalog import CODEFORMER, GFPGAN, Catalog
from modules.domain.errors import InvalidRequest, UserError
from modules.domain.extras import ExtrasRequest
from modules.gradio_ui.bindings.img2img_batch import pictures_in, read_file, shortened, upload_path
from modules.gradio_ui.form import number, whole_number
from modules.gradio_ui.notices import Told
from modules.imaging.files import read_infotext

SCALE_BY, SCALE_TO = "Scale by", "Scale to"

SINGLE, BATCH, FOLDER = "single", "batch", "folder"
"""Where pictures come from, by the name that the page's script gives the sub-tab."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A picture among the inputs, and what its file was called and said."""

    image: str
    name: str = ""
    infotext: str = ""


def extras_requests(context: AppContext, values: Mapping[str, Any], uploads: Sequence[Any], *, local: bool) -> Told:
    """One request a picture, with notes on files that are left out. `local`: whoever asks sits at this machine.

    Raises `InvalidRequest` where none is left, and for values that are out of their range.
    """
    values = {**values, **_without_weights(context.catalog.snapshot())}
    mode, picture = _given(str(values["inputs"] or ""))
    if mode == SINGLE:
        if picture is None:
            raise InvalidRequest("Choose a picture first: drop one on the tab, paste it with Ctrl+V, or click there.")
        return Told([to_request(values, picture)])
    copy_to = ""
    if mode == FOLDER:
        if not local:
            raise InvalidRequest("Only whoever sits at the machine may use its folders: upload the files in Batch Process.")
        files = list(pictures_in(str(values["batch_input_dir"] or "").strip(), "Input directory"))
        copy_to = _output_folder(str(values["batch_output_dir"] or "").strip())
    else:
        files = [upload_path(upload) for upload in uploads]
    if not files:
        raise InvalidRequest("Name a folder of pictures." if mode == FOLDER else "Upload pictures first: each becomes a job of its own.")
    return _batch(context, values, files, copy_to)


def to_request(values: Mapping[str, Any], source: Source, copy_to: str = "") -> ExtrasRequest:
    """The request that the form's `values` ask for. Raises `InvalidRequest` with the control's label in the sentence."""
    second = number(values, "upscaler_2_visibility", "Upscaler 2 visibility")
    how: dict[str, Any] = {"resize_by": number(values, "upscaling_resize", "Resize")}
    if values["resize_kind"] == SCALE_TO:
        sides = whole_number(values, "upscaling_resize_w", "Width"), whole_number(values, "upscaling_resize_h", "Height")
        how = {"size": sides, "crop": bool(values["upscaling_crop"])}
    return ExtrasRequest(
        image=source.image,
        name=source.name,
        infotext=source.infotext,
        upscaler_1=str(values["upscaler_1"]),
        upscaler_2=str(values["upscaler_2"]),
        upscaler_2_visibility=second,
        gfpgan_visibility=number(values, "gfpgan_visibility", "GFPGAN visibility"),
        codeformer_visibility=number(values, "codeformer_visibility", "CodeFormer visibility"),
        codeformer_weight=number(values, "codeformer_weight", "CodeFormer weight"),
        copy_to=copy_to,
        **how,
    )


def _without_weights(catalog: Catalog) -> dict[str, float]:
    """Nothing for the sliders of face restorers that are not there: nobody sees them, but they may keep what was once chosen."""
    sliders = {GFPGAN: "gfpgan_visibility", CODEFORMER: "codeformer_visibility"}
    return {name: 0.0 for kind, name in sliders.items() if catalog.restorer_of(kind) is None}


def _batch(context: AppContext, values: Mapping[str, Any], files: Sequence[Path], copy_to: str) -> Told:
    requests: list[ExtrasRequest] = []
    refused: list[str] = []
    for file in files:
        found = _stored(context, file)
        if isinstance(found, Source):
            requests.append(to_request(values, found, copy_to))
        else:
            refused.append(f"{file.name}: {found}")
    if not requests:
        raise InvalidRequest(" ".join(shortened(refused)))
    return Told(requests, shortened(refused))


def _stored(context: AppContext, file: Path) -> Source | UserError:
    """The picture in the file, or why there is none."""
    try:
        data = read_file(file)
        kept = context.inputs.put(data)
        return Source(image=kept.id, name=file.name, infotext=read_infotext(io.BytesIO(data)))
    except UserError as error:
        return error


def _output_folder(text: str) -> str:
    """An absolute folder, or nothing for none. Raises `InvalidRequest` for one that is not there."""
    if not text:
        return ""
    folder = Path(text).expanduser()
    if not folder.is_dir():
        raise InvalidRequest(f"Output directory: there is no folder {text}. Make it first, or leave it empty.")
    return str(folder.absolute())


def _given(text: str) -> tuple[str, Source | None]:
    """What `static/extras.js` says at a click: the mode, and the picture where there is one. Raises `InvalidRequest`."""
    try:
        document: Any = json.loads(text)
        given = cast("dict[str, Any]", document)
        if given.get("error"):
            raise InvalidRequest(str(given["error"]))
        picture = given.get("picture")
        found = {name: str(picture.get(name) or "") for name in ("image", "name", "infotext")} if picture else None
        return str(given["mode"]), Source(**found) if found else None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidRequest("The page did not say which picture is meant. Reload the page and try again.") from error
