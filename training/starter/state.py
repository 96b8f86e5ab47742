"""One training stage that can be killed at any moment: schedule, moving average, checkpoint, loss curve."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.starter.muon import optimizers


def cosine_rate(progress: float, warmup: float = 0.02, floor: float = 0.02) -> float:
    """Return the share of the top learning rate at `progress` (0..1): a short rise, then half a cosine."""
    if progress < warmup:
        return max(progress, 1e-3) / warmup
    turn = min(1.0, (progress - warmup) / (1.0 - warmup))
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * turn))


class Stage:
    """Trains `module` step by step; `checkpoint.pt` in `folder` holds all that the next step depends on."""

    def __init__(
        self,
        name: str,
        module: torch.nn.Module,
        folder: Path,
        *,
        lr: float,
        ema: float,
        steps: int,
        minutes: float = 0.0,
        seed: int = 0,
        save_every_s: float = 180.0,
        log_every: int = 50,
        muon: bool = False,
    ) -> None:
        self.name, self.module, self.folder = name, module, folder
        self.lr, self.ema_rate, self.steps, self.minutes = lr, ema, steps, minutes
        self.save_every_s, self.log_every = save_every_s, log_every
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)  # noise is drawn on the CPU, so that devices agree
        self.optimizers = optimizers(module, lr, muon)
        self.ema = {k: v.detach().clone() for k, v in module.state_dict().items()}
        self.step = 0
        self.spent = 0.0  # seconds of training, over all runs
        self.extra: dict[str, Any] = {}
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def progress(self) -> float:
        """How much of the schedule is done, by the clock when `minutes` is set and else by steps."""
        if self.extra.get("done"):
            return 1.0
        return self.spent / (60.0 * self.minutes) if self.minutes > 0 else self.step / self.steps

    def run(
        self,
        loss_of: Callable[[Stage], torch.Tensor],
        on_save: Callable[[Stage], None] | None = None,
        stop_after: int | None = None,
    ) -> None:
        """Step until the schedule ends, saving now and then; `on_save` is called after each save.

        `stop_after` leaves at that step, with the schedule unfinished.
        """
        if self.progress >= 1.0:
            return
        saved = time.monotonic()
        total, count, tick = 0.0, 0, time.monotonic()
        self.module.train()
        while self.progress < 1.0 and (stop_after is None or self.step < stop_after):
            rate = self.lr * cosine_rate(self.progress)
            loss = loss_of(self)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
            for optimizer in self.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            self.step += 1
            self._average()
            now = time.monotonic()
            self.spent, tick = self.spent + now - tick, now
            total, count = total + loss.item(), count + 1
            if count == self.log_every:
                self._log(total / count, rate)
                total, count = 0.0, 0
            if now - saved > self.save_every_s:
                self.save()
                if on_save:
                    on_save(self)
                saved = tick = time.monotonic()
        # A finished stage stays finished, whatever schedule is asked for later.
        self.extra["done"] = self.progress >= 1.0
        self.save()
        if on_save:
            on_save(self)

    def forget_average(self) -> None:
        """Start the average anew from the present weights."""
        self.ema = {k: v.detach().clone() for k, v in self.module.state_dict().items()}

    def _average(self) -> None:
        """Move the average towards the weights, faster in the beginning."""
        rate = min(self.ema_rate, (1.0 + self.step) / (10.0 + self.step))
        with torch.no_grad():
            for key, value in self.module.state_dict().items():
                if value.is_floating_point():
                    self.ema[key].lerp_(value, 1.0 - rate)

    def _log(self, loss: float, rate: float) -> None:
        line = f"{self.step},{self.spent:.1f},{loss:.6f},{rate:.3e}"
        curve = self.folder / "loss.csv"
        if not curve.exists():
            curve.write_text("step,seconds,loss,rate\n", encoding="utf-8")
        with curve.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        print(
            f"{time.strftime('%H:%M:%S')} {self.name} step {self.step} {100 * self.progress:.1f} % "
            f"loss {loss:.4f} lr {rate:.2e} {self.spent / max(1, self.step):.2f} s/step",
            flush=True,
        )

    def save(self) -> None:
        """Write the checkpoint beside the old one, then put it in its place."""
        state = {
            "step": self.step,
            "spent": self.spent,
            "module": self.module.state_dict(),
            "ema": self.ema,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "generator": self.generator.get_state(),
            "rng": json.dumps(self.rng.bit_generator.state),
            "extra": self.extra,
        }
        part = self.folder / "checkpoint.part"
        torch.save(state, part)
        part.replace(self.folder / "checkpoint.pt")

    def resume(self) -> bool:
        """Take up the checkpoint, when there is one."""
        path = self.folder / "checkpoint.pt"
        if not path.is_file():
            return False
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.module.load_state_dict(state["module"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        for key, value in state["ema"].items():
            self.ema[key].copy_(value)
        self.generator.set_state(state["generator"])
        self.rng.bit_generator.state = json.loads(state["rng"])
        self.step, self.spent, self.extra = state["step"], state["spent"], state["extra"]
        return True

    def averaged(self) -> dict[str, torch.Tensor]:
        """Return the averaged weights, on the CPU."""
        return {k: v.detach().cpu().clone() for k, v in self.ema.items()}
