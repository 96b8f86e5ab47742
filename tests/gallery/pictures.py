"""What an engine hands over, jobs to hand it over for, and what lies in the outputs then."""

from __future__ import annotations

import datetime
import random
from dataclasses import replace
from pathlib import Path

from PIL import Image

from modules.domain.events import ImageDone
from modules.domain.jobs import Job
from modules.domain.requests import GenerationRequest
from modules.imaging.files import encode_image
from modules.settings.paths import Paths
from modules.settings.schema import Saving, Settings

TODAY = datetime.date.today().isoformat()


def paths_in(folder: Path) -> Paths:
    return Paths(
        data=folder, models=folder, checkpoints=(), vaes=(), loras=(), embeddings=folder / "embeddings", outputs=folder / "outputs"
    )


def a_job(job_id: str = "job1", prompt: str = "a red apple", **saving: object) -> Job:
    return Job(
        id=job_id,
        seq=1,
        state="running",
        request=GenerationRequest(prompt=prompt, steps=7, batch_size=2, checkpoint="sub/tiny.safetensors"),
        settings=replace(Settings(), saving=Saving(**saving)),
        entropy=1,
        created=0.0,
    )


def staged(
    paths: Paths, job: Job, index: int = 0, *, kind: str = "image", seed: int = 123, suffix: str = "png", name: str = ""
) -> ImageDone:
    """What an engine hands over: a complete file with its infotext."""
    infotext = f"{job.request.prompt}\nSteps: 7, Seed: {seed}"
    paths.staging.mkdir(parents=True, exist_ok=True)
    file = paths.staging / f"{name or job.id}-1-{index}-{kind}.{suffix}"
    rng = random.Random(f"{seed}-{index}")
    image = Image.frombytes("RGB", (24, 16), rng.randbytes(24 * 16 * 3))
    file.write_bytes(encode_image(image, suffix, infotext, 80))
    return ImageDone(
        job_id=job.id,
        index=index,
        kind=kind,
        staged=str(file),
        width=24,
        height=16,
        seed=seed,
        infotext=infotext,
        prompt=job.request.prompt,
        name_fields=(("sampler", "Euler a"), ("model_name", "tiny")),
    )


def saved_files(paths: Paths) -> list[str]:
    return sorted(
        path.relative_to(paths.outputs).as_posix() for path in paths.outputs.rglob("*") if path.is_file() and ".staging" not in path.parts
    )
