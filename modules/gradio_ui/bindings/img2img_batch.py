"""A batch of pictures for img2img: which files, which masks, what each takes from its own parameters, and which are done already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from modules.context import AppContext
from modules.domain.errors import ImageUnreadable, InvalidRequest, UserError
from modules.domain.jobs import ACTIVE
from modules.domain.requests import GenerationRequest
from modules.domain.viewers import FORWARDING, is_at_the_machine
from modules.gradio_ui.bindings.img2img import Inputs, with_picture
from modules.gradio_ui.notices import Told
from modules.gradio_ui.parts.img2img_sources import METADATA
from modules.gradio_ui.pasting.infotext import from_infotext
from modules.imaging.files import read_infotext
from modules.jobs.acceptance import freeze

ENDINGS = frozenset((".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff"))
_REMEMBERED = 10_000
"""How many of the latest jobs are looked through for those that are done already."""

_NAMED = 5
"""How many files a note names."""


@dataclass(frozen=True, slots=True)
class BatchFiles:
    """The pictures, and their masks by file name without ending; a single mask is for all."""

    pictures: tuple[Path, ...]
    masks: Mapping[str, Path]

    def mask_of(self, picture: Path) -> Path | None:
        """The mask of a picture; None where there is none for it."""
        only = next(iter(self.masks.values())) if len(self.masks) == 1 else None
        return self.masks.get(picture.stem, only)


def is_at_this_machine(request: gr.Request) -> bool:
    """Whether whoever asks sits at the machine and may name its folders."""
    client, headers = request.client, request.headers
    forwarded = any(name in headers for name in FORWARDING)
    return client is not None and is_at_the_machine(str(client.host), str(headers.get("host", "")), forwarded=forwarded)


def batch_files(values: Mapping[str, Any], uploads: Sequence[Any], masks: Sequence[Any], *, local: bool) -> BatchFiles:
    """What the form names: uploads and, for whoever sits at this machine, folders. Raises `InvalidRequest`."""
    folder, mask_folder = (str(values[name] or "").strip() for name in ("batch_input_dir", "batch_inpaint_mask_dir"))
    if (folder or mask_folder) and not local:
        raise InvalidRequest("Only whoever sits at the machine may use its folders: empty both directories and upload files.")
    pictures = (*map(upload_path, uploads), *pictures_in(folder, "Input directory"))
    if not pictures:
        raise InvalidRequest("Batch: upload pictures or name a folder of them.")
    found = (*map(upload_path, masks), *pictures_in(mask_folder, "Inpaint batch mask directory"))
    return BatchFiles(pictures, {path.stem: path for path in found})


def batch_requests(
    context: AppContext, values: Mapping[str, Any], make: Callable[[Mapping[str, Any]], GenerationRequest], files: BatchFiles, owner: str
) -> Told:
    """One request a picture, with notes on those that are left out. Raises `InvalidRequest` where none is left."""
    requests: list[GenerationRequest] = []
    refused: list[str] = []
    for picture in files.pictures:
        found = _request_for(context, values, make, picture, files)
        if isinstance(found, GenerationRequest):
            requests.append(found)
        else:
            refused.append(f"{picture.name}: {found}")
    done = 0
    if values["batch_skip_done"] and requests:
        known = _known(context, owner)
        fresh = [request for request in requests if _frozen(context, request) not in known]
        done, requests = len(requests) - len(fresh), fresh
    notes = [*shortened(refused), *([f"{done} of {len(files.pictures)} are done already or wait, and were left out."] if done else [])]
    if not requests:
        end = "" if refused else " Take the tick from “Leave out what is done” to draw them again."
        raise InvalidRequest(" ".join(notes) + end)
    return Told(requests, notes)


def _request_for(
    context: AppContext,
    values: Mapping[str, Any],
    make: Callable[[Mapping[str, Any]], GenerationRequest],
    picture: Path,
    files: BatchFiles,
) -> GenerationRequest | UserError:
    """The request for one picture, or why there can't be one."""
    try:
        return _request(context, values, make, picture, files)
    except UserError as error:
        return error


def _request(
    context: AppContext,
    values: Mapping[str, Any],
    make: Callable[[Mapping[str, Any]], GenerationRequest],
    picture: Path,
    files: BatchFiles,
) -> GenerationRequest:
    own = {**values, **_own_parameters(context, picture, values["batch_metadata"] or ())}
    image = context.inputs.put(read_file(picture))
    mask = None
    if files.masks:
        path = files.mask_of(picture)
        if path is None:
            raise InvalidRequest("there is no mask of its name.")
        mask = context.inputs.put(read_file(path)).id
    return with_picture(make(own), own, Inputs(image.id, mask), masked=mask is not None or bool(own["outpaint_enabled"]))


def _own_parameters(context: AppContext, picture: Path, chosen: Sequence[str]) -> dict[str, Any]:
    """The values of the chosen fields that stand in the picture itself."""
    if not chosen:
        return {}
    try:
        text = read_infotext(picture)
    except ImageUnreadable as error:
        raise InvalidRequest(str(error)) from error
    if not text:
        return {}
    names = [name for label in chosen for name in METADATA.get(label, ())]
    found = from_infotext(text, context.catalog.snapshot(), context.settings.current, img2img=True).values
    return {name: found[name] for name in names if name in found}


def _known(context: AppContext, owner: str) -> list[tuple[Any, Any]]:
    jobs = context.queue.list((owner,), limit=_REMEMBERED)
    return [(job.request, job.settings) for job in jobs if job.request.tab == "img2img" and job.state in (*ACTIVE, "done")]


def _frozen(context: AppContext, request: GenerationRequest) -> tuple[Any, Any]:
    """A request as the queue would keep it."""
    return freeze(request, context.settings.current, context.catalog.snapshot(), context.paths.inputs)


def pictures_in(folder: str, label: str) -> Iterator[Path]:
    """The picture files in `folder`, none for an empty name; `label` is what the page calls it. Raises `InvalidRequest`."""
    if not folder:
        return
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise InvalidRequest(f"{label}: there is no folder {folder}.")
    try:
        found = sorted(each for each in path.iterdir() if each.suffix.lower() in ENDINGS and each.is_file())
    except OSError as error:
        raise InvalidRequest(f"{label}: {folder} can't be read ({error.strerror}).") from error
    if not found:
        raise InvalidRequest(f"{label}: there are no pictures in {folder}.")
    yield from found


def read_file(path: Path) -> bytes:
    """The whole file. Raises `InvalidRequest`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"the file can't be read ({error.strerror}).") from error


def upload_path(upload: Any) -> Path:
    """Where an upload lies: Gradio gives a path as text, or an object with a name."""
    return Path(str(getattr(upload, "name", upload)))


def shortened(lines: Sequence[str]) -> list[str]:
    """The first few lines, and how many more there are."""
    more = len(lines) - _NAMED
    return [*lines[:_NAMED], *([f"… and {more} more files could not be used."] if more > 0 else [])]
