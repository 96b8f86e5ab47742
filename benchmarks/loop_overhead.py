"""What does the sampling loop cost beside the networks? One JSON line.

A network of SD1.5's size with random weights; only its time matters. Twice measured: `overhead_pct` is our time minus the time spent inside
the networks (on the CPU, where calls block), `ratio_*` is our loop against the bare network calls it has to make, alternating A B A B in
one process, wall and CPU time. Run from the repository: python -m benchmarks.loop_overhead
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from modules.domain.catalog import CheckpointInfo
from modules.domain.plans import ImagePlan, ModelSpec
from modules.engine.generate import sample
from modules.engine.preview import PreviewMaker, StepPacer
from modules.engine.resolve import PreviewOptions
from modules.families.base import Blueprint, ModelFacts
from modules.families.latent_diffusion import LatentDiffusionModel
from modules.families.networks import build_clip, build_unet, build_vae
from modules.families.parametrization import model_sigmas
from modules.prompts.tokenizer import clip_tokenizer
from modules.weights.placement import Placement
from modules.weights.residency import DeviceOptions

WIDTH = 320
CONTEXT = 768


@dataclass
class Inside:
    """The time spent in some networks, by their hooks."""

    seconds: float = 0.0
    _started: list[float] = field(default_factory=list)

    def watch(self, module: nn.Module) -> None:
        module.register_forward_pre_hook(lambda *_: self._started.append(time.perf_counter()))
        module.register_forward_hook(lambda *_: self._end())

    def _end(self) -> None:
        self.seconds += time.perf_counter() - self._started.pop()


def random_network(build: Callable[[], nn.Module], device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The network without the minutes that its own initialisation takes."""
    with torch.device("meta"):
        network = build()
    network.to(dtype).to_empty(device=device)
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.uniform_(-0.02, 0.02)
        for name, tensor in network.named_buffers():
            tensor.copy_(torch.arange(tensor.numel()).reshape(tensor.shape) if name.endswith("position_ids") else torch.zeros(tensor.shape))
    return network.eval()


def make_model(scale: int, options: DeviceOptions) -> LatentDiffusionModel:
    """SD1.5's UNet with its channels divided by `scale`, and the smallest text encoder and autoencoder that fit it."""
    placement = Placement(options)
    channels = [WIDTH * factor // scale for factor in (1, 2, 4, 4)]
    unet = {"sample_size": 64, "block_out_channels": channels, "cross_attention_dim": CONTEXT, "attention_head_dim": 8}
    vae = {"block_out_channels": [32, 32, 32, 32], "latent_channels": 4, **_blocks("Down", "Up")}
    clip = {"hidden_size": CONTEXT, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 8}
    builders: dict[str, Callable[[], nn.Module]] = {
        "unet": lambda: build_unet(unet),
        "vae": lambda: build_vae(vae),
        "text_encoder": lambda: build_clip({**clip, "vocab_size": 49408, "eos_token_id": 49407}),
    }
    networks = {role: random_network(build, placement.device, placement.dtype(role)) for role, build in builders.items()}
    placement.adopt(networks)
    facts = ModelFacts(family="sd1", prediction="eps", in_channels=4, latent_channels=4, factor=8, text_layers=1)
    blueprint = Blueprint(facts=facts, parts={}, sigmas=model_sigmas(0.00085, 0.012), scaling_factor=0.18215)
    return LatentDiffusionModel(blueprint, networks, clip_tokenizer(), placement)


def _blocks(down: str, up: str) -> dict[str, list[str]]:
    return {"down_block_types": [f"{down}EncoderBlock2D"] * 4, "up_block_types": [f"{up}DecoderBlock2D"] * 4}


def make_plan(size: int, steps: int, batch: int) -> ImagePlan:
    return ImagePlan(
        index=0,
        model=ModelSpec(checkpoint=CheckpointInfo(name="random", path="", format="safetensors")),
        prompts=("a (red:1.2) fox in the snow",) * batch,
        negatives=("blurry",) * batch,
        seeds=tuple(range(batch)),
        variation_seeds=tuple(range(batch)),
        width=size,
        height=size,
        steps=steps,
        sampler="dpmpp_2m",
        sampler_label="DPM++ 2M",
        schedule="karras",
        schedule_label="Karras",
        cfg_scale=7.0,
    )


def ours(model: LatentDiffusionModel, plan: ImagePlan) -> None:
    """Sampling as a job does it, previews included."""
    maker = PreviewMaker(model, PreviewOptions(enabled=True, every_n_steps=1, method="cheap"), (plan.width, plan.height))
    pacer = StepPacer(maker, lambda step, preview: None, model.device)
    sample(plan, model, pacer)
    pacer.finish()
    _wait(model)


def bare(model: LatentDiffusionModel, plan: ImagePlan) -> None:
    """The same number of the same calls of the UNet, and nothing else."""
    unet: Any = model.networks["unet"]
    dtype = next(unet.parameters()).dtype
    shape = (2 * plan.batch_size, *model.latent_shape(plan.width, plan.height))
    x = torch.randn(shape, device=model.device).to(dtype)
    context = torch.randn((shape[0], 77, CONTEXT), device=model.device).to(dtype)
    timesteps = torch.full((shape[0],), 500.0, device=model.device)
    with torch.inference_mode():
        for _ in range(plan.steps):
            unet(x, timesteps, encoder_hidden_states=context, return_dict=False)
    _wait(model)


def _wait(model: LatentDiffusionModel) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize()


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """(wall, CPU) seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="side of the picture in pixels")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=int, default=1, choices=(1, 2, 4, 5), help="divide the UNet's channels by this")
    parser.add_argument("--use-cpu", action="store_true")
    arguments = parser.parse_args()
    model = make_model(arguments.scale, DeviceOptions(use_cpu=arguments.use_cpu))
    plan = make_plan(arguments.size, arguments.steps, arguments.batch)
    inside = Inside()
    for role in ("unet", "text_encoder"):
        inside.watch(model.networks[role])
    bare(model, make_plan(arguments.size, 1, arguments.batch))
    ours(model, make_plan(arguments.size, 2, arguments.batch))
    rounds: list[dict[str, float]] = []
    for _ in range(arguments.rounds):
        bare_wall, bare_cpu = timed(lambda: bare(model, plan))
        inside.seconds = 0.0
        wall, cpu = timed(lambda: ours(model, plan))
        overhead = 100 * (wall - inside.seconds) / inside.seconds
        rounds.append({"wall": wall / bare_wall, "cpu": cpu / bare_cpu, "overhead": overhead, "step": wall / plan.steps})
    result: dict[str, Any] = {
        "benchmark": "loop_overhead",
        "device": model.device.type,
        "unet_parameters": sum(p.numel() for p in model.networks["unet"].parameters()),
        **{name: getattr(arguments, name) for name in ("size", "steps", "batch", "rounds")},
        "seconds_per_step": round(statistics.median(r["step"] for r in rounds), 4),
        "ratio_wall": [round(r["wall"], 4) for r in rounds],
        "ratio_cpu": [round(r["cpu"], 4) for r in rounds],
    }
    if model.device.type == "cpu":
        result["overhead_pct"] = [round(r["overhead"], 3) for r in rounds]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
