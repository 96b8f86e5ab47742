"""What does the picture look like so far? Small JPEGs of a batch in the making, made without keeping the network waiting."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from modules.engine.resolve import PreviewOptions
from modules.families.base import LoadedModel
from modules.imaging.grid import grid_rows, image_grid

MAX_SIDE = 512
QUALITY = 75
MIN_INTERVAL = 0.1
"""Seconds between two previews: a quick network must not spend its time on pictures that nobody can see."""

MAX_PICTURES = 16


class PreviewMaker:
    """Makes the previews of one batch of pictures of (width, height)."""

    def __init__(
        self,
        model: LoadedModel,
        options: PreviewOptions,
        size: tuple[int, int],
        decoder: Callable[[Tensor], Tensor] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`decoder` makes (B, h, w, 3) uint8 of latents (B, C, H, W); without one the method "tiny" is the cheap one."""
        self._model = model
        self._decoder = decoder
        self._options = options
        self._size = size
        self._clock = clock
        self._next = -1.0

    def frames(self, step: int, x0: Tensor) -> Tensor | None:
        """The batch (B, C, H, W) as (B, h, w, 3) uint8 on its device, or None where no preview is due at `step` (from 1)."""
        if not self._options.enabled or step % self._options.every_n_steps or self._clock() < self._next:
            return None
        self._next = self._clock() + MIN_INTERVAL
        latents = x0[:MAX_PICTURES]
        if self._options.method == "tiny" and self._decoder is not None:
            return self._decoder(latents)
        if self._options.method != "full":
            return torch.stack([self._model.preview(latent) for latent in latents])
        decoded = [self._model.decode_latent(latent) for latent in latents]
        return torch.from_numpy(np.stack([np.zeros((8, 8, 3), np.uint8) if pixels is None else pixels for pixels in decoded]))

    def encode(self, frames: Tensor) -> bytes:
        """The frames (B, h, w, 3), on the CPU, side by side as a JPEG of at most `MAX_SIDE` pixels a side."""
        pictures = [Image.fromarray(frame) for frame in frames.numpy()]
        sheet = image_grid(pictures, grid_rows(len(pictures), -1, len(pictures))) if len(pictures) > 1 else pictures[0]
        scale = min(self._size[0] / frames.shape[2], MAX_SIDE / max(sheet.size))
        wanted = (max(1, round(sheet.width * scale)), max(1, round(sheet.height * scale)))
        out = io.BytesIO()
        (sheet if wanted == sheet.size else sheet.resize(wanted, Image.Resampling.BICUBIC)).save(out, "JPEG", quality=QUALITY)
        return out.getvalue()


class StepPacer:
    """The samplers' `on_step`: reports each step with its preview through `report(step, jpeg or None)`, `step` counted from 1.

    On a CUDA device the program runs ahead of the network. The pacer lets it be one step ahead and no more: the device never waits, and
    steps are reported, and may be stopped by `report`, when they have happened.
    """

    def __init__(self, previews: PreviewMaker, report: Callable[[int, bytes | None], None], device: torch.device) -> None:
        self._previews = previews
        self._report = report
        self._asynchronous = device.type == "cuda"
        self._pending: tuple[int, Tensor | None, torch.cuda.Event] | None = None
        self.latest: Tensor | None = None
        """The batch (B, C, H, W) as the last step saw it: finished, but for what later steps would have changed."""

    def __call__(self, i: int, x: Tensor, sigma: float, denoised: Tensor) -> None:
        self.latest = denoised
        frames = self._previews.frames(i + 1, denoised)
        if not self._asynchronous:
            self._report(i + 1, None if frames is None else self._previews.encode(frames))
            return
        if frames is not None and frames.is_cuda:
            copy = torch.empty(frames.shape, dtype=frames.dtype, pin_memory=True)
            frames = copy.copy_(frames, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self.finish()
        self._pending = (i + 1, frames, event)

    def finish(self) -> None:
        """Report the step that is still on the device, once it is done."""
        if self._pending is None:
            return
        step, frames, event = self._pending
        self._pending = None
        event.synchronize()
        self._report(step, None if frames is None else self._previews.encode(frames))
