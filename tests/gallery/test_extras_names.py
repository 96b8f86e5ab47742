"""What an enlarged picture's file is called: by its source, numbered on from what is there, and never too long for a file system."""

from __future__ import annotations

from dataclasses import replace

from PIL import Image

from modules.domain.events import ImageDone
from modules.domain.extras import ExtrasRequest
from modules.domain.jobs import Job
from modules.gallery.gallery import Gallery
from modules.imaging.files import encode_image
from modules.settings.paths import Paths
from modules.settings.schema import Saving, Settings
from tests.gallery.pictures import TODAY

PICTURE = "0" * 32


def saved_name(paths: Paths, source: str, *, upscaler: str = "Lanczos", **saving: object) -> str:
    """The name under which a program that has just started saves an enlarged `source`."""
    job = Job(
        id=f"job-{source[:20]}-{upscaler[:20]}",
        seq=1,
        state="running",
        request=ExtrasRequest(image=PICTURE, name=source),
        settings=replace(Settings(), saving=Saving(**saving)),
        entropy=1,
        created=0.0,
    )
    paths.staging.mkdir(parents=True, exist_ok=True)
    staged = paths.staging / "one.png"
    staged.write_bytes(encode_image(Image.new("RGB", (8, 8)), "png"))
    event = ImageDone(
        job_id=job.id,
        index=0,
        kind="image",
        staged=str(staged),
        width=8,
        height=8,
        seed=-1,
        infotext="",
        name_fields=(("upscaler", upscaler),),
    )
    gallery = Gallery(paths)
    try:
        image = gallery.commit(event, job)
        assert image.note == "", "it is not in the rescue folder"
        return image.path.rsplit("/", 1)[-1]
    finally:
        gallery.close()


def test_numbers_go_on_behind_the_highest_however_many_there_are(paths: Paths) -> None:
    folder = paths.outputs / "extras-images" / TODAY
    folder.mkdir(parents=True)
    for number in range(1200):
        (folder / f"cat-{number:04}.png").touch()
    (folder / "cat-7-0031-Lanczos.png").touch()
    assert saved_name(paths, "cat.png") == "cat-1200.png"
    assert saved_name(paths, "cat-7.png", name_upscaler=True) == "cat-7-0032-Lanczos.png"
    assert saved_name(paths, "dog.png") == "dog-0000.png"


def test_the_longest_names_are_cut_to_what_a_file_system_takes(paths: Paths) -> None:
    name = saved_name(paths, f"{'é' * 120}.png", upscaler="漢" * 60, name_upscaler=True)
    assert name.startswith("éé") and "-0000-漢" in name and name.endswith("漢.png")
    assert len(name.encode()) <= 255
