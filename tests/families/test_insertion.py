"""Textual inversion: the encoder sees the vectors where the words stood, and the words are found as A1111 finds them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save_file
from torch import Tensor

from modules.domain.errors import ModelLoadError
from modules.families.text_encoding import ClipTextEncoder
from modules.networks.textual_inversion import fit, read_vectors, widths_of
from modules.prompts.tokenizer import clip_tokenizer
from modules.weights.network_files import read_embedding
from modules.weights.placement import Placement
from modules.weights.residency import DeviceOptions
from tests.tiny_models import TinyModel, tiny_model
from tests.tiny_networks import embedding_info

VECTORS = torch.arange(6.0).reshape(2, 3)


@pytest.fixture(scope="module")
def tiny() -> TinyModel:
    return tiny_model()


@pytest.fixture
def encoder(tiny: TinyModel) -> ClipTextEncoder:
    return ClipTextEncoder(tiny.text, clip_tokenizer(), Placement(DeviceOptions(use_cpu=True)))


def encode(encoder: ClipTextEncoder, *texts: str) -> list[Tensor]:
    with torch.inference_mode():
        return [each.context for each in encoder.encode(texts, clip_skip=1, emphasis="original", comma_backtrack=20)]


def by_hand(tiny: TinyModel, before: str, vectors: Tensor, after: str) -> Tensor:
    """The library's own encoder, fed with embeddings instead of ids."""
    first, last = clip_tokenizer().encode(before), clip_tokenizer().encode(after)
    ids = [49406, *first, *[0] * len(vectors), *last]
    ids += [49407] * (77 - len(ids))
    table = tiny.text.embeddings.token_embedding
    embeddings = table(torch.tensor([ids])).clone()
    embeddings[0, 1 + len(first) : 1 + len(first) + len(vectors)] = vectors
    handle = table.register_forward_hook(lambda *_: embeddings)
    try:
        with torch.inference_mode():
            return tiny.text(input_ids=torch.tensor([ids])).last_hidden_state[0]
    finally:
        handle.remove()


def test_the_encoder_sees_the_vectors_in_the_words_place(encoder: ClipTextEncoder, tiny: TinyModel) -> None:
    vectors = torch.randn(3, 32, generator=torch.Generator().manual_seed(1))
    plain = encode(encoder, "a My-Style house")[0]
    encoder.use_vectors({"my-style": vectors})
    assert torch.allclose(encode(encoder, "a My-Style house")[0], by_hand(tiny, "a", vectors, "house"), atol=1e-5)
    assert torch.allclose(encode(encoder, "a my-style")[0], by_hand(tiny, "a", vectors, ""), atol=1e-5)
    encoder.use_vectors({})
    assert torch.equal(encode(encoder, "a My-Style house")[0], plain)


def test_texts_encoded_together_keep_their_own(encoder: ClipTextEncoder, tiny: TinyModel) -> None:
    vectors = torch.randn(1, 32, generator=torch.Generator().manual_seed(1))
    encoder.use_vectors({"style": vectors})
    together = encode(encoder, *[f"{'style ' * (number % 2)}house {number}" for number in range(40)])
    assert torch.allclose(together[0], encode(encoder, "house 0")[0], atol=1e-5)
    assert torch.allclose(together[39], by_hand(tiny, "", vectors, "house 39"), atol=1e-5)


def write_png(path: Path, text: str | None) -> None:
    info = PngInfo()
    if text is not None:
        info.add_text("sd-ti-embedding", text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)


def as_png_text(vectors: Tensor) -> str:
    data = {"string_to_token": {"*": 265}, "string_to_param": {"*": {"TORCHTENSOR": vectors.tolist()}}, "name": "inner"}
    return base64.b64encode(json.dumps(data).encode()).decode()


def test_every_kind_of_file_is_read(tmp_path: Path) -> None:
    parameters = torch.nn.ParameterDict({"*": torch.nn.Parameter(VECTORS.clone())})
    torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": VECTORS}, "name": "x", "step": 5}, tmp_path / "a1111.pt")
    torch.save({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": parameters}, tmp_path / "first.pt")
    torch.save({"<my-style>": VECTORS}, tmp_path / "diffusers.bin")
    torch.save({"<my-style>": VECTORS[0]}, tmp_path / "one.bin")
    save_file({"emb_params": VECTORS}, tmp_path / "plain.safetensors")
    save_file({"<my-style>": VECTORS}, tmp_path / "named.safetensors")
    write_png(tmp_path / "picture.png", as_png_text(VECTORS))
    for path in tmp_path.iterdir():
        found = read_embedding(embedding_info(path))
        assert list(found) == [""]
        assert torch.equal(found[""], VECTORS[:1] if path.stem == "one" else VECTORS), path.name


def test_sdxl_files_have_vectors_for_both_encoders(tmp_path: Path) -> None:
    path = tmp_path / "xl.safetensors"
    save_file({"clip_l": torch.zeros(2, 768), "clip_g": torch.ones(2, 1280)}, path)
    found = read_embedding(embedding_info(path))
    assert widths_of(found) == "1280 and 768"
    roles = fit(found, {"text_encoder": 768, "text_encoder_2": 1280})
    assert roles is not None and roles["text_encoder_2"].shape == (2, 1280) and float(roles["text_encoder"].sum()) == 0.0
    assert fit(found, {"text_encoder": 768}) is None
    refiner = fit(found, {"text_encoder_2": 1280})
    assert refiner is not None and list(refiner) == ["text_encoder_2"] and refiner["text_encoder_2"].shape == (2, 1280)
    assert fit(found, {"text_encoder_2": 1024}) is None
    assert fit({"": torch.zeros(1, 768)}, {"text_encoder": 768, "text_encoder_2": 1280}) is None
    assert fit({"": torch.zeros(1, 1024)}, {"text_encoder": 768}) is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ([1], "no named tensors"),
        ({}, "0 embeddings"),
        ({"a": VECTORS, "b": VECTORS}, "2 embeddings"),
        ({"emb_params": torch.zeros(76, 3)}, "more than the 75"),
        ({"emb_params": torch.full((1, 3), torch.inf)}, "not finite"),
        ({"emb_params": torch.zeros(1, 3, dtype=torch.int64)}, "no vectors"),
        ({"clip_l": torch.zeros(1, 3), "clip_g": torch.zeros(2, 4)}, "different numbers"),
        ({"string_to_param": 5}, "0 embeddings"),
    ],
)
def test_what_is_no_embedding_is_refused(data: object, reason: str) -> None:
    with pytest.raises(ModelLoadError, match=reason):
        read_vectors(data)


@pytest.mark.parametrize(("text", "reason"), [("%%%", "damaged|no named"), ("W10=", "no named tensors"), (None, "without an embedding")])
def test_pictures_without_a_sound_embedding_are_refused(tmp_path: Path, text: str | None, reason: str) -> None:
    write_png(tmp_path / "odd.png", text)
    with pytest.raises(ModelLoadError, match=rf"odd\.png can't be loaded: .*({reason})"):
        read_embedding(embedding_info(tmp_path / "odd.png"))


@pytest.mark.parametrize("suffix", ["pt", "safetensors", "png"])
def test_truncated_files_are_named(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole.{suffix}"
    if suffix == "pt":
        torch.save({"string_to_param": {"*": VECTORS}}, whole)
    elif suffix == "png":
        write_png(whole, as_png_text(VECTORS))
    else:
        save_file({"emb_params": VECTORS}, whole)
    data = whole.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    for length in range(0, len(data) - 1, max(1, len(data) // 40)):
        cut.write_bytes(data[:length])
        if suffix == "png" and length >= data.index(b"IDAT") - 8:
            break  # the text is whole from here on
        with pytest.raises(ModelLoadError, match="can't be loaded"):
            read_embedding(embedding_info(cut))


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    torch.save({"string_to_param": {"*": VECTORS}, "callback": Path("x")}, tmp_path / "evil.pt")
    with pytest.raises(ModelLoadError, match="more than tensors"):
        read_embedding(embedding_info(tmp_path / "evil.pt"))
