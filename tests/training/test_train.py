"""A run that is killed and taken up again ends with the weights of one that was left alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from training.starter.config import TINY, StarterConfig
from training.starter.earlier import Earlier
from training.starter.evaluate import Examination, evaluate
from training.starter.export import export
from training.starter.judge import Judge
from training.starter.latents import SCALE_FACTOR, build_cache, standardise
from training.starter.models import build_vae
from training.starter.noise_schedule import alphas_cumprod
from training.starter.pictures import font_path
from training.starter.sampling import read_checkpoint
from training.starter.state import cosine_rate
from training.starter.tokens import SmallVocabulary, words_to_ids
from training.starter.train_text import train_text
from training.starter.train_unet import denoiser_stage, spread_times, train_unet
from training.starter.train_vae import refine_decoder, train_vae


def _has_font() -> bool:
    try:
        return font_path().is_file()
    except FileNotFoundError:
        return False


needs_font = pytest.mark.skipif(not _has_font(), reason="Noto Color Emoji is not installed")


def _same(a: torch.nn.Module, b: torch.nn.Module) -> None:
    for (key, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(x, y), key


@pytest.mark.slow
@needs_font
def test_whole_way_and_resuming(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config: StarterConfig = TINY
    once = train_vae(config, tmp_path / "once")
    train_vae(config, tmp_path / "twice", stop_after=2)
    vae = train_vae(config, tmp_path / "twice")
    assert "parameters, from step 2" in capsys.readouterr().out
    _same(once, vae)
    standardise(vae, config, 16)
    cache = build_cache(vae, config, tmp_path / "latents")
    assert [bucket.latents.shape for bucket in cache] == [(64, 4, 16, 16), (64, 4, 16, 24)]
    model = train_unet(config, cache, tmp_path / "unet-once")
    train_unet(config, cache, tmp_path / "unet-twice", stop_after=3)
    capsys.readouterr()
    _same(model, train_unet(config, cache, tmp_path / "unet-twice"))
    assert "parameters, from step 3" in capsys.readouterr().out
    assert (tmp_path / "unet-once" / "loss.csv").read_text("utf-8").count("\n") == 3
    before = {k: v.clone() for k, v in vae.encoder.state_dict().items()}
    refined = refine_decoder(replace(config, vae=replace(config.vae, decoder_steps=2)), vae, tmp_path / "decoder")
    assert all(torch.equal(v, refined.encoder.state_dict()[k]) for k, v in before.items())
    path = tmp_path / "model.safetensors"
    export(config, refined, model, path)
    out = tmp_path / "sheet.png"
    exam = Examination(scenes=4, names=4, seeds=1, coloured=8, pairs=8, edits=8, steps=2)
    measured = evaluate(read_checkpoint(config, path), config, out, Judge().eval(), exam)
    assert measured["vae_psnr_db"] > 0
    assert {"name_top1", "background_colour", "both_objects", "negative_removes", "inpainting_replaces", "copies"} <= set(measured)
    assert out.stat().st_size > 0
    assert out.with_stem("sheet-scenes").stat().st_size > 0


@pytest.mark.slow
@needs_font
def test_a_finished_checkpoint_is_a_beginning(tmp_path: Path) -> None:
    config = TINY
    vae = build_vae(config.vae, config.data.size).eval()
    first = train_unet(config, build_cache(vae, config, tmp_path / "latents"), tmp_path / "first")
    path = tmp_path / "first.safetensors"
    export(config, vae, first, path)
    earlier, small = Earlier(config, path), SmallVocabulary()
    start = earlier.text(small)
    assert all(torch.equal(value, vae.state_dict()[key].half().float()) for key, value in earlier.vae().state_dict().items())
    known = words_to_ids("cat")[0]
    rows = start["embeddings.token_embedding.weight"]
    assert torch.equal(rows[small.table[known]], first.text.embeddings.token_embedding.weight[small.table[known]].half().float())
    taught = train_text(config, tmp_path / "second-text", start)
    stage, model = denoiser_stage(config, tmp_path / "second", taught, earlier.unet())
    assert stage.step == 0
    for key, value in model.unet.state_dict().items():
        assert torch.equal(value, first.unet.state_dict()[key].half().float()), key


@needs_font
def test_a_broken_off_cache_is_completed(tmp_path: Path) -> None:
    config = replace(TINY, unet=replace(TINY.unet, latents=64))
    vae = build_vae(config.vae, config.data.size).eval()
    whole = [np.array(bucket.latents) for bucket in build_cache(vae, config, tmp_path / "a")]
    (tmp_path / "a" / "48x32" / "progress.json").write_text('{"chunks": 0}', encoding="utf-8")
    again = [bucket.latents for bucket in build_cache(vae, config, tmp_path / "a")]
    assert all(np.array_equal(x, y) for x, y in zip(whole, again, strict=True))


@needs_font
@torch.no_grad()
def test_standardising_changes_latents_but_no_pixel(tmp_path: Path) -> None:
    torch.manual_seed(1)
    vae = build_vae(TINY.vae, TINY.data.size).eval()
    x = torch.randn(2, 3, 32, 32)
    want = vae.decode(vae.encode(x).latent_dist.mean).sample
    standardise(vae, TINY, 64)
    assert torch.allclose(want, vae.decode(vae.encode(x).latent_dist.mean).sample, atol=1e-4)
    cache = build_cache(vae, TINY, tmp_path)
    channels = torch.from_numpy(np.array(cache[0].latents)).float().permute(1, 0, 2, 3).flatten(1)
    assert torch.allclose(channels.std(1), torch.ones(4), atol=0.15)
    assert float(channels.mean().abs()) < 0.15
    assert SCALE_FACTOR == 0.18215


def test_schedules() -> None:
    alphas = alphas_cumprod()
    assert abs(float(alphas[0]) - 0.99915) < 1e-4
    assert abs(float(alphas[-1]) - 0.00466) < 1e-4
    times = spread_times(np.random.default_rng(0), 10).sort().values
    assert [int(t) // 100 for t in times] == list(range(10))
    assert cosine_rate(0.0) < cosine_rate(0.02) == pytest.approx(1.0)
    assert cosine_rate(1.0) == pytest.approx(0.02)
