"""A saved picture keeps its pixels and its text; a bad file gives a sentence, never a crash."""

from __future__ import annotations

import contextlib
import io
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from modules.domain.errors import ImageUnreadable
from modules.imaging.files import encode_image, open_image, read_infotext

TEXTS = ["a cat\nSteps: 20, Sampler: Euler a", "猫, naïve ☕ 🦊\nNegative prompt: bad\nSteps: 1", "plain latin-1: é", "a" * 20_000]


def picture(size: tuple[int, int] = (40, 24)) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("fmt", ["png", "jpg", "webp", "avif"])
@pytest.mark.parametrize("text", TEXTS, ids=["ascii", "unicode", "latin", "long"])
def test_text_comes_back(fmt: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{fmt}"
    path.write_bytes(encode_image(picture(), fmt, text))
    assert read_infotext(path) == text
    assert read_infotext(io.BytesIO(path.read_bytes())) == text


def test_png_keeps_every_pixel_and_uses_the_usual_chunk() -> None:
    data = encode_image(picture(), "png", TEXTS[0])
    image = Image.open(io.BytesIO(data))
    assert image.info["parameters"] == TEXTS[0]
    assert np.array_equal(np.asarray(image), np.asarray(picture()))


@pytest.mark.parametrize("fmt", ["png", "jpg", "webp", "avif"])
def test_no_text_is_an_empty_text(fmt: str) -> None:
    assert read_infotext(io.BytesIO(encode_image(picture(), fmt))) == ""


def test_a_text_that_a_jpeg_has_no_room_for_does_not_lose_the_picture() -> None:
    assert open_image(io.BytesIO(encode_image(picture(), "jpg", "a" * 60_000))).size == (40, 24)


def test_reads_what_other_programs_write() -> None:
    text = "a cat ☕\nSteps: 20"
    exif = Image.Exif()
    for comment in (b"UNICODE\0" + text.encode("utf-16-le"), b"UNICODE\0" + text.encode("utf-16"), b"\0" * 8 + text.encode()):
        exif.get_ifd(0x8769)[0x9286] = comment
        out = io.BytesIO()
        picture().save(out, "JPEG", exif=exif.tobytes())
        assert read_infotext(io.BytesIO(out.getvalue())) == text
    out = io.BytesIO()
    picture().quantize(16).save(out, "GIF", comment=text.encode())
    assert read_infotext(io.BytesIO(out.getvalue())) == text


def test_reads_text_behind_the_pixels() -> None:
    plain = encode_image(picture(), "png")
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("parameters", "late")
    with_text = encode_image(picture(), "png", "late")
    start = with_text.index(b"tEXt") - 4
    chunk = with_text[start : start + 12 + int.from_bytes(with_text[start : start + 4], "big")]
    end = plain.index(b"IEND") - 4
    assert read_infotext(io.BytesIO(plain[:end] + chunk + plain[end:])) == "late"


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"\x89PNG\r\n\x1a\n", encode_image(picture(), "png")[:60], b"\xff\xd8\xff\xe0" + b"\0" * 40]
)
def test_bad_files_give_a_sentence(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(data)
    with pytest.raises(ImageUnreadable, match=r"bad\.png"):
        open_image(path)
    with pytest.raises(ImageUnreadable):
        read_infotext(tmp_path / "gone.png")


def test_too_many_pixels_are_refused() -> None:
    data = encode_image(Image.new("1", (1000, 1000)), "png")
    with pytest.raises(ImageUnreadable, match="1000 x 1000"):
        open_image(io.BytesIO(data), max_pixels=999_999)
    huge = bytearray(data)
    huge[16:24] = (60_000).to_bytes(4, "big") * 2
    with pytest.raises(ImageUnreadable):
        read_infotext(io.BytesIO(bytes(huge)))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_text_of_a_picture_that_is_too_large_to_decode_is_read() -> None:
    data = encode_image(Image.new("1", (10_240, 10_240)), "png", "a grid\nSteps: 1")
    with pytest.raises(ImageUnreadable):
        open_image(io.BytesIO(data))
    assert read_infotext(io.BytesIO(data)) == "a grid\nSteps: 1"


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("fmt", ["png", "jpg", "webp", "avif"])
def test_damage_never_gets_out_as_another_error(fmt: str) -> None:
    rng = random.Random(0)
    whole = encode_image(picture(), fmt, TEXTS[1])
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        for read in (open_image, read_infotext):
            with contextlib.suppress(ImageUnreadable):
                read(io.BytesIO(bytes(data[: rng.randint(1, len(data))])))
