"""How does an upscaler model get to its picture? Loaded where it is not there yet, run tile by tile; errors name its file."""

from __future__ import annotations

from collections.abc import Callable

from modules.domain.errors import OutOfMemory
from modules.domain.plans import UpscalerPlan
from modules.upscalers.models import UpscalerModels, UpscalerNetwork
from modules.upscalers.resize import Pixels
from modules.upscalers.upscale import Progress, upscaled
from modules.weights.load import is_out_of_memory, naming
from modules.weights.placement import Placement
from modules.weights.upscaler_files import read_upscaler

Stage = Callable[[str], None]
"""Is told what begins, in words for people. May raise to stop."""


def upscaler_models(placement: Placement) -> UpscalerModels:
    """A place for one upscaler beside the model that `placement` places, in the same precision."""
    return UpscalerModels(read_upscaler, placement.device, placement.dtype("upscaler"))


class Upscaling:
    """`engine.hires.ByModel` that tells `stage` about each tile, or `progress` where that is given. Both may raise to stop."""

    def __init__(self, models: UpscalerModels, stage: Stage, progress: Progress | None = None) -> None:
        self._models = models
        self._stage = stage
        self._progress = progress or self._tell

    def __call__(self, picture: Pixels, size: tuple[int, int], plan: UpscalerPlan) -> Pixels:
        """The picture in `size`, (width, height).

        Raises `ModelLoadError`, `OutOfMemory` and `NotANumber`, which name the file, and what `stage` raises.
        """
        network = self._network(plan)
        try:
            return upscaled(picture, size, network, tile=plan.tile, overlap=plan.overlap, progress=self._progress)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            cut = f"in tiles of {plan.tile} pixels. Set a smaller tile size" if plan.tile else "as a whole. Set a tile size"
            raise OutOfMemory(f"There was not enough memory to upscale with {plan.info.name} {cut} in Settings, Upscaling.") from error

    def _network(self, plan: UpscalerPlan) -> UpscalerNetwork:
        if not self._models.holds(plan.info):
            self._stage(f"Loading {plan.info.label}")
        with naming(plan.info.name):
            return self._models.get(plan.info)

    def _tell(self, number: int, count: int) -> None:
        self._stage(f"Upscaling, tile {number} of {count}")
