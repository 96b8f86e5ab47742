"""A short lesson for the text encoder before the denoiser's: say what a caption names, at every word after it.

A new cross attention looks at all 77 places alike, and after a short caption about 70 of them are end tokens.  Left to
the denoiser's loss alone, those come to say what the caption said only slowly; taught for a minute, they say it from
the denoiser's first step.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import CLIPTextModel

from training.starter.captions import CaptionMaker
from training.starter.config import StarterConfig
from training.starter.models import build_text
from training.starter.scenes import GROUND_LIST, LAYOUTS, NAME_LIST, NOTHING, STYLE_LIST, Said, Scene, draw_composition, draw_scene
from training.starter.state import Stage

LIKENESS = 8.0  # weight of staying like an earlier encoder
PLACES = 6  # places per caption that the loss looks at
MARK = 0.06  # three times the deviation of a new embedding
PULL = 2.8  # how strongly the first layer looks at marked words: some 50 times as much as at others


@torch.no_grad()
def look_at_words(text: CLIPTextModel, words: list[int]) -> None:
    """Start the first layer with its attention on `words`, the small ids that name things and colours.

    The first number of every embedding says whether a word is one of them, and the first layer's attention asks for
    it; so at once every later place holds the mean of the words that matter.  Training is free to change all of it.
    """
    tokens = text.embeddings.token_embedding.weight
    tokens[:, 0] = -MARK
    tokens[words, 0] = MARK
    text.embeddings.position_embedding.weight[:, 0] = 0.0
    attention = text.encoder.layers[0].self_attn
    for head in range(attention.num_heads):
        first = head * attention.head_dim
        attention.q_proj.bias[first] = PULL
        attention.k_proj.weight[first] = 0.0
        attention.k_proj.weight[first, 0] = PULL


class Reader(nn.Module):
    """The text encoder with a head for each thing that a caption can tell."""

    def __init__(self, text: CLIPTextModel, width: int) -> None:
        super().__init__()
        self.text = text
        sizes = (len(NAME_LIST), len(GROUND_LIST), len(LAYOUTS), len(NAME_LIST), len(STYLE_LIST))
        self.heads = nn.ModuleList(nn.Linear(width, size + 1) for size in sizes)  # the last class: it is not told


WEIGHTS = (2.0, 1.0, 1.0, 2.0, 1.0)  # of name, ground, layout, the other name and the style


def reading_loss(reader: Reader, ids: torch.Tensor, said: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy of what is `said` (b, 5), read at `places` (b, p) of the captions (b, 77)."""
    states = reader.text(input_ids=ids).last_hidden_state
    seen = torch.gather(states, 1, places[..., None].expand(-1, -1, states.shape[-1])).flatten(0, 1)
    wanted = said.repeat_interleave(places.shape[1], 0)
    losses = [w * F.cross_entropy(head(seen), wanted[:, i]) for i, (w, head) in enumerate(zip(WEIGHTS, reader.heads, strict=True))]
    return torch.stack(losses).sum()


def classes(reader: Reader, said: Said) -> tuple[int, ...]:
    """Return what a caption tells as one class for each head."""
    told = (said.name, said.ground, said.layout, said.other, said.style)
    return tuple(head.out_features - 1 if index == NOTHING else index for index, head in zip(told, reader.heads, strict=True))


def lesson(rng: np.random.Generator, config: StarterConfig, captions: CaptionMaker, reader: Reader) -> tuple[torch.Tensor, ...]:
    """Return captions (b, 77), what they tell (b, 5) and places after them (b, p)."""
    scenes = [draw_composition(rng, config.data, captions.names) for _ in range(config.unet.text_batch)]
    rows = [captions.tokens(rng, scene) for scene in scenes]
    places = np.stack([rng.integers(row.end, 77, PLACES) for row in rows])
    ids, said = np.stack([row.ids for row in rows]), np.array([classes(reader, row.said) for row in rows])
    return tuple(torch.from_numpy(a).to(config.device) for a in (ids, said, places))


@torch.no_grad()
def read_right(reader: Reader, config: StarterConfig, captions: CaptionMaker, batches: int = 16) -> list[float]:
    """Return the shares of fresh captions whose name, ground, layout, other name and style are read right."""
    rng, right = np.random.default_rng(config.seed + 23), torch.zeros(len(reader.heads))
    for _ in range(batches):
        ids, said, places = lesson(rng, config, captions, reader)
        states = reader.text(input_ids=ids).last_hidden_state
        seen = states[torch.arange(len(ids), device=states.device), places[:, 0]]
        right += torch.stack([(head(seen).argmax(1) == said[:, i]).float().mean().cpu() for i, head in enumerate(reader.heads)])
    return (right / batches).tolist()


def likeness_loss(text: CLIPTextModel, teacher: CLIPTextModel, ids: torch.Tensor) -> torch.Tensor:
    """Return how far the encoder's states of captions (b, 77) are from those of an earlier one, which a denoiser has learnt to read."""
    with torch.no_grad():
        wanted = teacher(input_ids=ids).last_hidden_state
    return F.mse_loss(text(input_ids=ids).last_hidden_state, wanted)


@torch.no_grad()
def spread_states(text: CLIPTextModel, captions: CaptionMaker, seed: int, count: int = 512) -> None:
    """Give each number of the encoder's states mean 0 and deviation 1 over captions, by its last normalisation alone.

    What all captions have in common would else be most of every state, and what tells them apart a small rest.
    """
    rng = np.random.default_rng(seed)
    ids = np.stack([captions.tokens(rng, draw_composition(rng, captions.data, captions.names)).ids for _ in range(count)])
    states = text(input_ids=torch.from_numpy(ids)).last_hidden_state.flatten(0, 1)
    norm = text.final_layer_norm
    norm.weight /= states.std(0)
    norm.bias.copy_((norm.bias - states.mean(0)) / states.std(0))


def scene_of_old(rng: np.random.Generator, config: StarterConfig, names: list[int]) -> Scene:
    """Pick a scene of the kinds that an earlier file was taught."""
    if config.unet.text_earlier == "scenes":
        return draw_composition(rng, replace(config.data, styled=0.0), names)
    return draw_scene(rng, names)


def train_text(config: StarterConfig, folder: Path, start: dict[str, torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
    """Teach (or take up teaching) the text encoder and return its averaged weights.

    `start` are the weights of an earlier encoder. It is then taught what it does not know yet, and held to its states for captions that
    it did know (`UnetConfig.text_earlier`).
    """
    torch.manual_seed(config.seed + 20)
    u, captions = config.unet, CaptionMaker(config.data)
    text = build_text(u, captions.vocabulary)
    teacher = build_text(u, captions.vocabulary).eval().requires_grad_(False).to(config.device)
    if start is None:
        look_at_words(text, captions.words)
    else:
        text.load_state_dict(start)
        teacher.load_state_dict(start)
    reader = Reader(text, u.text_width).to(config.device)
    stage = Stage(
        "text",
        reader,
        folder,
        lr=1e-3,
        ema=0.98,
        steps=u.text_steps,
        seed=config.seed + 21,
        save_every_s=config.save_every_s,
        log_every=config.log_every,
    )
    stage.resume()

    def loss_of(stage: Stage) -> torch.Tensor:
        loss = reading_loss(reader, *lesson(stage.rng, config, captions, reader))
        if start is None:
            return loss
        known = [captions.tokens(stage.rng, scene_of_old(stage.rng, config, captions.names)).ids for _ in range(u.text_batch // 2)]
        return loss + LIKENESS * likeness_loss(text, teacher, torch.from_numpy(np.stack(known)).to(config.device))

    stage.run(loss_of)
    reader.load_state_dict(stage.averaged())
    print("text: read right " + " ".join(f"{share:.3f}" for share in read_right(reader.eval(), config, captions)), flush=True)
    taught = reader.text.cpu()
    if start is None:
        spread_states(taught, captions, config.seed + 22)
    return taught.state_dict()
