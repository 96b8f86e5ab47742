"""What an engine process is told when it starts: plain, picklable, torch-free."""

from __future__ import annotations

from dataclasses import dataclass

from modules.settings.paths import Paths
from modules.weights.residency import DeviceOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """`preload` names the checkpoint to load before the first job asks for it: empty for the first one there is, None for none."""

    paths: Paths
    device: DeviceOptions
    log_level: str = "INFO"
    preload: str | None = None
    version: str = ""
    """What the infotext calls this program's version, such as 0.1.0."""
