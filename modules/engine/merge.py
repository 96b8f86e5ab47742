"""How are checkpoints merged? From the request to the new file in the models folder, told tensor by tensor. No model is loaded for it.

The arithmetic is `modules.merging`'s; here are the file's place and name, the room on the disk, and what it says of itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from modules.domain.catalog import Catalog, CheckpointInfo
from modules.domain.errors import InvalidRequest, StorageError
from modules.domain.events import Cancelled, Finished, JobEvent, Stage, Started, StepDone
from modules.domain.merging import FIRST_OF_ALL, NO_VAE, NONE_OF_THEM, OF_B, MergeRequest, without_unused
from modules.jobs.protocol import Control, RunJob
from modules.merging.merge import Merge, MergePlan, open_merge
from modules.merging.writer import header, writing
from modules.weights.hashes import HashCache

Say = Callable[[JobEvent], None]

TEMPORARY = "merging"
"""The ending of a result that is not complete. Its name begins with a dot, so no list of models shows it."""

_ABANDONED_SECONDS = 3600.0
_ROOM = 64 << 20
"""Bytes that are left free on the disk."""

_SHARES = 200
"""Into how many steps the work is told."""

PREDICTION = "modelspec.prediction_type"
_OF_ONE_FILE = ("modelspec.hash_sha256", "sshs_model_hash", "sshs_legacy_hash")


class _Interrupted(Exception):
    """The user ended the job."""


def run_merge(job: RunJob, request: MergeRequest, folder: Path, hashes: HashCache, say: Say, control: Control) -> JobEvent:
    """All of the job but its last event, which is returned. The result lies in `folder`. Raises the errors of reading and writing."""
    started = time.monotonic()

    watcher = _Watcher(job, say, control)
    say(Started(job_id=job.job_id, attempt=job.attempt, image_count=0))
    plan = merge_plan(request, job.catalog)
    target = folder / request.file_name
    try:
        watcher.stage("Comparing the models")
        digests = _digests(plan, hashes, watcher) if request.add_recipe else {}
        with open_merge(plan) as merge:
            head = header(merge.entries, merge_metadata(plan, merge, digests))
            if not (job.attempt > 1 and _is_there(target, head, merge)):
                _write(job, merge, head, target, _config_file(plan), watcher)
            notes = (f"Saved as {target.name}.", *_remarks(plan), *merge.notes)
    except _Interrupted:
        return Cancelled(job_id=job.job_id, attempt=job.attempt, seconds=time.monotonic() - started)
    return Finished(job_id=job.job_id, attempt=job.attempt, seconds=time.monotonic() - started, notes=notes)


def merge_plan(request: MergeRequest, catalog: Catalog) -> MergePlan:
    """The files that the request names. Raises `ModelNotFound`."""
    asked = without_unused(request)
    return MergePlan(
        request=asked,
        a=catalog.checkpoint(asked.primary),
        b=catalog.checkpoint(asked.secondary) if asked.secondary else None,
        c=catalog.checkpoint(asked.tertiary) if asked.tertiary else None,
        vae=None if asked.vae == NO_VAE else catalog.vae(asked.vae),
        loras=tuple((catalog.lora(name), weight) for name, weight in asked.loras),
    )


def merge_metadata(plan: MergePlan, merge: Merge, digests: Mapping[str, str]) -> dict[str, str]:
    """What the result says of itself: the sources' notes where they are wanted, A's winning, and A1111's recipe.

    `digests` are the sources' sha256 by name. What A says of its prediction is kept in any case: without it the result is another model.
    """
    asked, metadata = plan.request, {"format": "pt"}
    if asked.copy_metadata:
        for notes in reversed(merge.metadata):
            metadata |= {key: text for key, text in notes.items() if key not in _OF_ONE_FILE}
    metadata.pop(PREDICTION, None)
    if PREDICTION in merge.metadata[0]:
        metadata[PREDICTION] = merge.metadata[0][PREDICTION]
    if asked.add_recipe:
        models: dict[str, Any] = {}
        for info, notes in zip(plan.sources, merge.metadata, strict=True):
            models[digests.get(info.name, "")] = {
                "name": info.name,
                "legacy_hash": _legacy_hash(info),
                "sd_merge_recipe": _from_json(notes.get("sd_merge_recipe")),
            }
            models |= _from_json(notes.get("sd_merge_models")) or {}
        metadata["sd_merge_recipe"] = json.dumps(_recipe(plan, merge, digests))
        metadata["sd_merge_models"] = json.dumps(models)
    return metadata


def _recipe(plan: MergePlan, merge: Merge, digests: Mapping[str, str]) -> dict[str, Any]:
    """As A1111 writes it, and behind that what A1111 does not have."""
    asked = plan.request
    places = zip(("primary", "secondary", "tertiary"), (plan.a, plan.b, plan.c), strict=True)
    recipe: dict[str, Any] = {
        "type": "webui",
        **{f"{place}_model_hash": digests.get(info.name) if info else None for place, info in places},
        "interp_method": asked.method,
        "multiplier": asked.multiplier,
        "save_as_half": asked.half,
        "custom_name": asked.name,
        "config_source": asked.config_from,
        "bake_in_vae": asked.vae,
        "discard_weights": asked.discard,
        "is_inpainting": merge.is_inpainting,
        "is_instruct_pix2pix": merge.is_instructed,
    }
    if asked.block_weights.strip():
        recipe["block_weights"] = asked.block_weights.strip()
    if asked.loras:
        recipe["loras"] = [[name, weight] for name, weight in asked.loras]
    return recipe


def _write(job: RunJob, merge: Merge, head: bytes, target: Path, config: Path | None, watcher: _Watcher) -> None:
    folder, needed = target.parent, len(head) + sum(entry.bytes for entry in merge.entries)
    beside = target.with_suffix(".yaml")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _forget_abandoned(folder)
        free = shutil.disk_usage(folder).free
        if free < needed + _ROOM:
            raise StorageError(
                f"{target.name} needs {_size(needed)}, and there are {_size(free)} left in {folder}. Make room, then try again."
            )
        foreign = config is not None and beside.exists() and beside.read_bytes() != config.read_bytes()
        if target.exists() or foreign:
            raise FileExistsError(str(beside if foreign else target))
        with writing(target, folder / f".{job.job_id}.{TEMPORARY}", head, merge.entries) as put:
            for number, entry in enumerate(merge.entries):
                watcher.tensors(number, len(merge.entries))
                put(merge.tensor(entry.name))
            watcher.tensors(len(merge.entries), len(merge.entries))
            if config:
                shutil.copyfile(config, beside)
    except FileExistsError as error:
        raise InvalidRequest(f"There is a file {Path(str(error)).name} already, which is not overwritten: choose another name.") from error
    except OSError as error:
        raise StorageError(f"{target.name} could not be written to {folder} ({error.strerror or error}).") from error


class _Watcher:
    """Turns what is done into a job's events, in steps that are large enough to be told, and the user's wishes into `_Interrupted`."""

    def __init__(self, job: RunJob, say: Say, control: Control) -> None:
        self._job, self._say, self._control = job, say, control
        self._told = -1

    def stage(self, text: str) -> None:
        """Something begins."""
        self._say(Stage(job_id=self._job.job_id, attempt=self._job.attempt, text=text))
        self.check()

    def tensors(self, number: int, count: int) -> None:
        """So many of the tensors are done."""
        share = number * _SHARES // count
        if share != self._told:
            self._told = share
            self._say(StepDone(job_id=self._job.job_id, attempt=self._job.attempt, step=number, steps=count, batch=1, batches=1))
            self.stage("Merging" if number < count else "Saving")
        self.check()

    def is_interrupted(self) -> bool:
        """Whether the user wants the job to end."""
        return self._control.interrupted()

    def check(self) -> None:
        """Raise `_Interrupted` where the user wants it."""
        if self._control.interrupted() or self._control.skipped():
            raise _Interrupted


def _digests(plan: MergePlan, hashes: HashCache, watcher: _Watcher) -> dict[str, str]:
    """The sha256 of the sources, computed where the catalogue does not know it yet."""
    found: dict[str, str] = {}
    for info in plan.sources:
        digest = info.sha256
        if digest is None:
            watcher.stage(f"Hashing {info.stem}")
            with contextlib.suppress(OSError):
                digest = hashes.sha256(info.path, watcher.is_interrupted)
            watcher.check()
        if digest:
            found[info.name] = digest
    return found


def _remarks(plan: MergePlan) -> Sequence[str]:
    files = [info.name for info in plan.sources]
    return ["A and B are the same model."] if len(files) == 2 and files[0] == files[1] else []


def _config_file(plan: MergePlan) -> Path | None:
    """The `.yaml` that is to lie beside the result: that of the source that was asked for, None where it has none."""
    wanted = plan.request.config_from
    if wanted == NONE_OF_THEM:
        return None
    sources = (plan.a, plan.b, plan.c) if wanted == FIRST_OF_ALL else (plan.b if wanted == OF_B else plan.c,)
    files = [Path(info.path).with_suffix(".yaml") for info in sources if info is not None]
    return next((file for file in files if file.is_file()), None)


def _is_there(target: Path, head: bytes, merge: Merge) -> bool:
    """Whether the attempt before had come to its end when the engine died: a file with this very table, of the right length."""
    try:
        if target.stat().st_size != len(head) + sum(entry.bytes for entry in merge.entries):
            return False
        with target.open("rb") as file:
            return file.read(len(head)) == head
    except OSError:
        return False


def _forget_abandoned(folder: Path) -> None:
    """Delete what a merge left that was ended from outside."""
    for path in folder.glob(f".*.{TEMPORARY}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()


def _legacy_hash(info: CheckpointInfo) -> str | None:
    """A1111's hash of its first weeks: eight digits of 64 KB from the second megabyte on."""
    try:
        with Path(info.path).open("rb") as file:
            file.seek(0x100000)
            return hashlib.sha256(file.read(0x10000)).hexdigest()[:8]
    except OSError:
        return None


def _from_json(text: str | None) -> dict[str, Any] | None:
    """The object in a file's note; None where there is none."""
    try:
        found: Any = json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
