"""How does a face restorer get to its faces? Loaded where it is not there yet, run face by face; errors name its file."""

from __future__ import annotations

from collections.abc import Callable

from modules.domain.errors import OutOfMemory
from modules.domain.plans import FacesPlan
from modules.faces.find import FaceFinder
from modules.faces.networks import FaceNetwork, FaceNetworks
from modules.faces.restore import OnFace, restored
from modules.upscalers.resize import Pixels
from modules.weights.load import is_out_of_memory, naming
from modules.weights.placement import Placement
from modules.weights.upscaler_files import read_upscaler

Stage = Callable[[str], None]
"""Is told what begins, in words for people. May raise to stop."""


class FaceTools:
    """A place for one face restorer, and what finds faces. Not for several threads at once."""

    def __init__(self, networks: FaceNetworks) -> None:
        self._networks = networks
        self._finder = FaceFinder()

    def restored(self, pixels: Pixels, plan: FacesPlan, stage: Stage, on_face: OnFace) -> tuple[Pixels, int]:
        """(the picture with its faces restored, how many there are). Where there are none, nothing is loaded.

        Raises `ModelLoadError`, `OutOfMemory` and `NotANumber`, which name the file, and what `stage` and `on_face` raise.
        """
        stage("Looking for faces")
        faces = self._finder.find(pixels)
        if not faces:
            return pixels, 0
        network = self._network(plan, stage)
        try:
            made = restored(pixels, faces, lambda face: network(face, plan.weight), plan.visibility, on_face)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(f"There was not enough memory for {plan.restorer.kind}, which needs about 2 GB.") from error
        return made, len(faces)

    def clear(self) -> None:
        """Hold no restorer."""
        self._networks.clear()

    def _network(self, plan: FacesPlan, stage: Stage) -> FaceNetwork:
        if not self._networks.holds(plan.restorer):
            stage(f"Loading {plan.restorer.kind}")
        with naming(plan.restorer.name):
            return self._networks.get(plan.restorer)


def face_tools(placement: Placement) -> FaceTools:
    """A place for one face restorer beside the model that `placement` places, in the same precision."""
    return FaceTools(FaceNetworks(read_upscaler, placement.device, placement.dtype("upscaler")))
