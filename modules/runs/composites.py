"""How does a picture that a script made get into the gallery? Encoded as the settings say, staged, and saved as a picture of the run."""

from __future__ import annotations

import logging
from pathlib import Path

from modules.domain.errors import StorageError
from modules.domain.events import ImageDone
from modules.domain.results import SavedImage
from modules.gallery.gallery import Gallery
from modules.imaging.files import encode_animation, encode_image
from modules.runs.run import Run
from modules.scripts.script import Composite
from modules.settings.schema import Saving

log = logging.getLogger(__name__)

_EACH_ROUND = 10_000
"""Room for a round's composites among the run's numbers."""


def save_composite(gallery: Gallery, staging: Path, run: Run, number: int, made: Composite) -> SavedImage:
    """The saved picture; saved already, in a try before a crash, it is the one that is there. Raises `StorageError`."""
    saving: Saving = run.settings.saving
    # In the gallery's order a later round comes before an earlier one, and within a round the first composite first.
    index = number + _EACH_ROUND * run.round if made.kind == "image" else number - _EACH_ROUND * (run.round + 1)
    data, suffix = _encoded(made, saving)
    staged = staging / f"{run.id}-{run.round}-{number}.{suffix}"
    try:
        staging.mkdir(parents=True, exist_ok=True)
        staged.write_bytes(data)
    except OSError as error:
        raise StorageError(f"The grid could not be written to {staging}: {error.strerror or error}.") from error
    event = ImageDone(
        job_id=run.id,
        index=index,
        kind=made.kind,
        staged=str(staged),
        width=made.image.width,
        height=made.image.height,
        seed=made.seed,
        infotext=made.infotext,
        prompt=run.request.prompt,
    )
    return gallery.commit(event, run.as_job())


def _encoded(made: Composite, saving: Saving) -> tuple[bytes, str]:
    infotext = made.infotext if saving.embed_infotext else None
    if made.animated:
        return encode_animation(made.animated, made.animation_format, infotext, made.duration), made.animation_format
    wanted = saving.image_format if made.kind == "image" else saving.grid_format
    try:
        return encode_image(made.image, wanted, infotext, saving.jpeg_quality), wanted
    except (OSError, ValueError) as error:
        if wanted == "png":
            raise
        # WebP ends at 16383 pixels a side, and JPEG at 65535
        log.warning("%s can't hold a picture of %dx%d: %s", wanted, made.image.width, made.image.height, error)
        return encode_image(made.image, "png", infotext), "png"
