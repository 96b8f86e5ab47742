"""A short lesson for the text encoder before the denoiser's: say what a caption names, at every word after it.

A new cross attention looks at all 77 places alike, and after a short caption about 70 of them are end tokens.  Left to
the denoiser's loss alone, those come to say what the caption said only slowly; taught for a minute, they say it from
the denoiser's first step.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import CLIPTextModel

from training.starter import pictures
from training.starter.captions import CaptionMaker
from training.starter.config import StarterConfig
from training.starter.models import build_text
from training.starter.state import Stage

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
    """The text encoder with two heads that read the name and the background off its states."""

    def __init__(self, text: CLIPTextModel, width: int) -> None:
        super().__init__()
        self.text = text
        self.name = nn.Linear(width, len(pictures.NAME_LIST) + 1)
        self.colour = nn.Linear(width, len(pictures.COLOUR_LIST) + 1)


def reading_loss(reader: Reader, ids: torch.Tensor, said: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy of names and colours `said` (b, 2), read at `places` (b, p) of the captions (b, 77)."""
    states = reader.text(input_ids=ids).last_hidden_state
    seen = torch.gather(states, 1, places[..., None].expand(-1, -1, states.shape[-1])).flatten(0, 1)
    wanted = said.repeat_interleave(places.shape[1], 0)
    return 2.0 * F.cross_entropy(reader.name(seen), wanted[:, 0]) + F.cross_entropy(reader.colour(seen), wanted[:, 1])


@torch.no_grad()
def spread_states(text: CLIPTextModel, captions: CaptionMaker, seed: int, count: int = 512) -> None:
    """Give each number of the encoder's states mean 0 and deviation 1 over captions, by its last normalisation alone.

    What all captions have in common would else be most of every state, and what tells them apart a small rest.
    """
    rng = np.random.default_rng(seed)
    ids = np.stack([captions.tokens(rng, pictures.draw_scene(rng, captions.names)).ids for _ in range(count)])
    states = text(input_ids=torch.from_numpy(ids)).last_hidden_state.flatten(0, 1)
    norm = text.final_layer_norm
    norm.weight /= states.std(0)
    norm.bias.copy_((norm.bias - states.mean(0)) / states.std(0))


def train_text(config: StarterConfig, folder: Path) -> dict[str, torch.Tensor]:
    """Teach (or take up teaching) the text encoder and return its averaged weights."""
    torch.manual_seed(config.seed + 20)
    u, captions = config.unet, CaptionMaker(config.data)
    text = build_text(u, captions.vocabulary)
    look_at_words(text, captions.words)
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
        scenes = [pictures.draw_scene(stage.rng, captions.names) for _ in range(u.text_batch)]
        rows = [captions.tokens(stage.rng, scene) for scene in scenes]
        places = np.stack([stage.rng.integers(row.end, 77, PLACES) for row in rows])
        ids, said = np.stack([row.ids for row in rows]), np.array([row.said for row in rows])
        return reading_loss(reader, *(torch.from_numpy(a).to(config.device) for a in (ids, said, places)))

    stage.run(loss_of)
    taught = build_text(u, captions.vocabulary)
    taught.load_state_dict({k.removeprefix("text."): v for k, v in stage.averaged().items() if k.startswith("text.")})
    spread_states(taught.eval(), captions, config.seed + 22)
    return taught.state_dict()
