"""Where is each network, and in which precision does it compute? The memory flags carried out.

Normally all networks stay on the device. `--medvram` keeps one at a time there. `--lowvram` does the same and streams the UNet's layers
to the device one after another while it runs.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Mapping

import psutil
import torch
from torch import nn

from modules.families.attention import use_attention
from modules.weights.residency import DeviceOptions


class Placement:
    """The `families.base.Residency` that follows `DeviceOptions`; one for the process."""

    def __init__(self, options: DeviceOptions) -> None:
        self._options = options
        cuda = not options.use_cpu and torch.cuda.is_available()
        self.device = torch.device("cuda" if cuda else "cpu")
        self._one_at_a_time = cuda and (options.medvram or options.lowvram)
        self._stream_unet = cuda and options.lowvram
        self._networks: Mapping[str, nn.Module] = {}

    def dtype(self, role: str) -> torch.dtype:
        """float16 on CUDA unless a flag says no; float32 on the CPU, where half precision is slower."""
        full = self.device.type == "cpu" or self._options.no_half or (role == "vae" and self._options.no_half_vae)
        return torch.float32 if full else torch.float16

    @property
    def holds_all(self) -> bool:
        """Whether all networks stay on the device: no memory flag sends them to and fro."""
        return not self._one_at_a_time

    def describe(self) -> str:
        """The device for people."""
        if self.device.type == "cpu":
            return "CPU"
        return f"{torch.cuda.get_device_name(self.device)} ({torch.cuda.get_device_properties(self.device).total_memory / 2**30:.0f} GB)"

    def adopt(self, networks: Mapping[str, nn.Module]) -> None:
        """These are the networks from now on; they are brought to the device as they are used."""
        before, self._networks = self._networks, dict(networks)
        diffusers_networks = [network for role, network in networks.items() if not role.startswith("text_encoder")]
        use_attention(diffusers_networks, self.device, prefer_xformers=self._options.xformers)
        if self._stream_unet and networks["unet"] is not before.get("unet"):
            from accelerate import cpu_offload

            cpu_offload(networks["unet"], execution_device=self.device)

    def put_aside(self, networks: Mapping[str, nn.Module]) -> bool:
        """Take the networks off the device for a later `adopt`; False where they are streamed or there is not enough memory."""
        if self.device.type == "cpu":
            return True
        size = sum(each.nbytes for network in networks.values() for each in network.parameters() if each.device.type != "cpu")
        if self._stream_unet or psutil.virtual_memory().available < size * 1.2:
            return False
        for network in networks.values():
            _bring(network, "cpu")
        return True

    def use(self, module: nn.Module) -> None:
        """Bring `module` to the device; in the memory-saving modes the others make room first."""
        if self._stream_unet and module is self._networks.get("unet"):
            self._clear_except(module)
        elif _device_of(module) != self.device.type:
            if self._one_at_a_time:
                self._clear_except(module)
            self._move(module)

    def forget(self) -> None:
        """Let go of the networks."""
        self._networks = {}

    def _move(self, module: nn.Module) -> None:
        try:
            _bring(module, self.device)
        except RuntimeError:
            # half of a network on the device would be in the way of everything after
            _bring(module, "cpu")
            raise

    def _clear_except(self, module: nn.Module) -> None:
        for other in self._networks.values():
            streamed = self._stream_unet and other is self._networks.get("unet")
            if other is not module and not streamed and _device_of(other) != "cpu":
                _bring(other, "cpu")


def release_memory() -> None:
    """Give what nobody holds any more back to the device and to the system. The C library keeps freed blocks unless it is asked."""
    gc.collect()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _bring(module: nn.Module, device: torch.device | str) -> None:
    """Move a network. Sampling does it in inference mode, and weights that are made in that could never be trained with."""
    with torch.inference_mode(False):
        module.to(device)


def _device_of(module: nn.Module) -> str:
    first = next(module.parameters(), None)
    return "cpu" if first is None else first.device.type
