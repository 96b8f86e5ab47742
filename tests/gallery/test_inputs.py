"""Start pictures: every kind of file becomes a plain PNG, what is no picture is refused with a sentence, and nothing goes too early."""

from __future__ import annotations

import io
import os
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modules.domain.errors import InvalidRequest, StorageError
from modules.gallery import inputs as inputs_module
from modules.gallery.inputs import InputStore

DAY = 24 * 3600


def gradient(width: int = 32, height: int = 16) -> Image.Image:
    """Red rises to the right, green to the bottom."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack((x, y, np.full_like(x, 90)), axis=2).astype(np.uint8))


def file_of(picture: Image.Image, fmt: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, fmt, **options)
    return out.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> InputStore:
    return InputStore(tmp_path / "inputs")


def shown(store: InputStore, data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(store.open(store.put(data).id))


def test_the_same_picture_has_one_id_and_one_file(store: InputStore, tmp_path: Path) -> None:
    first = store.put(file_of(gradient()))
    assert (first.width, first.height, first.has_alpha) == (32, 16, False)
    assert store.put(file_of(gradient(), compress_level=9)) == first
    assert store.put(file_of(gradient(), "WEBP", lossless=True)) == first
    assert [path.name for path in (tmp_path / "inputs").iterdir()] == [f"{first.id}.png"]
    assert len(first.id) == 32
    assert np.array_equal(np.asarray(store.open(first.id)), np.asarray(gradient()))
    assert store.path(first.id).read_bytes()[:4] == b"\x89PNG"


def test_16_bits_are_scaled_and_not_cut_off(store: InputStore) -> None:
    levels = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    wanted = np.round(levels / 257)
    for fmt in ("PNG", "TIFF"):
        assert np.array_equal(shown(store, file_of(Image.fromarray(levels), fmt))[..., 0], wanted), fmt
    whole = Image.fromarray(levels.astype(np.int32))
    assert np.array_equal(shown(store, file_of(whole, "TIFF"))[..., 0], wanted)
    fractions = Image.fromarray((levels / 65535).astype(np.float32))
    assert np.array_equal(shown(store, file_of(fractions, "TIFF"))[..., 0], wanted)


def test_16_bits_of_colour_keep_their_colours(store: InputStore) -> None:
    """Pillow can't write such a file: it is put together by hand."""
    pixels = (np.asarray(gradient()).astype(np.uint16) * 257).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 32, 16, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert np.array_equal(shown(store, png), np.asarray(gradient()))


def test_cmyk_palettes_and_greys_become_rgb(store: InputStore) -> None:
    cmyk = shown(store, file_of(gradient().convert("CMYK"), "TIFF"))
    assert np.abs(cmyk.astype(int) - np.asarray(gradient())).max() <= 2
    jpeg = shown(store, file_of(gradient().convert("CMYK"), "JPEG", quality=100, subsampling=0))
    assert np.abs(jpeg.astype(int) - np.asarray(gradient())).mean() < 3
    assert np.array_equal(shown(store, file_of(gradient().convert("P"))), np.asarray(gradient().convert("P").convert("RGB")))
    assert shown(store, file_of(gradient().convert("L"))).shape == (16, 32, 3)
    assert set(np.unique(shown(store, file_of(gradient().convert("1"))))) == {0, 255}


def test_transparency_is_kept_and_named_only_where_there_is_some(store: InputStore) -> None:
    clear = gradient().convert("RGBA")
    assert store.put(file_of(clear)).has_alpha is False
    clear.putpixel((3, 4), (1, 2, 3, 0))
    kept = store.put(file_of(clear))
    assert kept.has_alpha is True
    assert store.open(kept.id).getpixel((3, 4)) == (1, 2, 3, 0)
    grey = gradient().convert("LA")
    grey.putpixel((0, 0), (7, 100))
    assert store.open(store.put(file_of(grey)).id).getpixel((0, 0)) == (7, 7, 7, 100)
    palette = gradient().convert("P")
    keyed = store.put(file_of(palette, transparency=palette.getpixel((5, 5))))
    assert keyed.has_alpha is True
    assert store.open(keyed.id).getpixel((5, 5))[3] == 0


def test_the_first_picture_of_an_animation_is_taken(store: InputStore) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    for fmt in ("GIF", "WEBP", "PNG"):
        options = {"lossless": True} if fmt == "WEBP" else {}
        assert tuple(shown(store, file_of(frames[0], fmt, save_all=True, append_images=frames[1:], **options))[0, 0]) == (255, 0, 0), fmt


def test_a_turned_photograph_stands_upright(store: InputStore) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = file_of(gradient(), "PNG", exif=exif)
    kept = store.put(data)
    assert (kept.width, kept.height) == (16, 32)
    assert np.array_equal(np.asarray(store.open(kept.id)), np.asarray(gradient().transpose(Image.Transpose.ROTATE_270)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no picture"),
        (b"just text, no picture at all", "no picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture"),
        (file_of(gradient(300, 300))[:600], "damaged"),
        (file_of(gradient(300, 300), "JPEG", quality=100)[:4000], "damaged"),
        (file_of(Image.new("1", (9000, 8))), "8192"),
        (file_of(Image.new("1", (8100, 8100))), "megapixels"),
    ],
)
def test_what_is_no_picture_damaged_or_too_large_is_refused_with_a_sentence(store: InputStore, data: bytes, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        store.put(data)


def test_what_is_not_there_is_said_so_and_no_name_leads_out_of_the_folder(store: InputStore, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(file_of(gradient()))
    for name in ("ab" * 16, "../secret", "", "AB" * 16, "ab" * 16 + "/x"):
        with pytest.raises(InvalidRequest, match="upload it again"):
            store.path(name)
    kept = store.put(file_of(gradient()))
    store.path(kept.id).write_bytes(b"\x89PNG broken")
    with pytest.raises(InvalidRequest, match="can't be read"):
        store.open(kept.id)
    assert store.put(file_of(gradient())) == kept, "a damaged file is written anew"
    assert store.open(kept.id).size == (32, 16)


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "inputs").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="could not be kept"):
        InputStore(tmp_path / "inputs").put(file_of(gradient()))


def test_old_pictures_go_but_never_young_ones_or_those_of_waiting_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: set[str] = set()
    store = InputStore(tmp_path / "inputs", in_use=lambda: waiting)
    pictures = [store.put(file_of(gradient(16 + n, 16))) for n in range(4)]
    old, wanted, young, again = pictures
    waiting.add(wanted.id)
    for picture in (old, wanted, again):
        os.utime(store.path(picture.id), (time.time() - 40 * DAY,) * 2)
    store.put(file_of(gradient(16 + 3, 16)))
    assert store.prune() == 1
    assert not (tmp_path / "inputs" / f"{old.id}.png").exists()
    for picture in (wanted, young, again):
        assert store.path(picture.id).is_file()
    monkeypatch.setattr(inputs_module, "MAX_BYTES", 1)
    assert store.prune() == 0, "too much, but young or in use"
    os.utime(store.path(young.id), (time.time() - 2 * DAY,) * 2)
    assert store.prune() == 1
    assert store.path(again.id).is_file()


def test_a_picture_is_kept_also_where_the_old_ones_can_t_be_tidied_up(tmp_path: Path) -> None:
    def unreadable() -> tuple[str, ...]:
        raise StorageError("jobs.sqlite can't be read.")

    store = InputStore(tmp_path / "inputs", in_use=unreadable)
    assert store.path(store.put(file_of(gradient())).id).is_file()
    with pytest.raises(StorageError):
        store.prune()


def test_a_picture_with_a_broken_exif_block_is_taken_as_it_lies(tmp_path: Path) -> None:
    for fmt in ("JPEG", "PNG", "WEBP"):
        data = file_of(gradient(), fmt, exif=b"Exif\0\0no TIFF at all")
        store = InputStore(tmp_path / fmt)
        assert store.open(store.put(data).id).size == (32, 16)
