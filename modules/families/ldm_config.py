"""What do the notes around a single file say that its tensors' shapes don't? Numbers and the prediction, from the `.yaml` beside it, from
marks among its tensors, and from its own metadata.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from modules.domain.errors import ModelLoadError
from modules.families.base import METADATA, Config, Shapes
from modules.families.parametrization import PREDICTIONS, model_sigmas

LINEAR_START, LINEAR_END = 0.00085, 0.012

V_MARK, ZERO_SNR_MARK = "v_pred", "ztsnr"
"""Empty tensors of these names say it in checkpoints of SDXL's time."""

EDM_MARKS = ("edm_mean", "edm_vpred.sigma_max")

_PARAMETERIZATION = "model.params.parameterization"
_SCALING = "model.params.denoiser_config.params.scaling_config.target"
_SCALINGS = {"EpsScaling": "eps", "VScaling": "v"}
_METADATA_PREDICTIONS = {"epsilon": "eps", "eps": "eps", "v": "v", "v_prediction": "v", "v-prediction": "v", "vpred": "v"}


def number(config: Config, dotted: str, *, low: float, high: float) -> float | None:
    """A number from the config. None where there is none; raises where it makes no sense, since the pictures would be wrong."""
    found = value(config, dotted)
    if found is None or found == -1:  # LDM writes -1 for "the other of num_heads and num_head_channels"
        return None
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not math.isfinite(found) or not low <= found <= high:
        raise ModelLoadError(f"its .yaml sets {dotted} to {str(found)[:40]!r}, which must be a number from {low:g} to {high:g}")
    return found


def value(config: Config, dotted: str) -> Any:
    """What the config has at a path such as `model.params.linear_start`, None where there is nothing."""
    found: Any = config
    for key in dotted.split("."):
        if not isinstance(found, Mapping):
            return None
        found = cast("Mapping[str, Any]", found).get(key)
    return found


def prediction(shapes: Shapes, config: Config) -> str | None:
    """eps or v, from the first that says it: the .yaml, a mark among the tensors, the metadata. None where nothing does."""
    mark = next((name for name in EDM_MARKS if name in shapes), None)
    if mark is not None:
        raise ModelLoadError(f"it was trained on EDM's noise levels ({mark!r}), which this version does not know")
    said = _from_yaml(config)
    if said is not None:
        return said
    if V_MARK in shapes:
        return "v"
    metadata = config.get(METADATA)
    noted = cast("Mapping[str, Any]", metadata).get("modelspec.prediction_type") if isinstance(metadata, Mapping) else None
    return _METADATA_PREDICTIONS.get(str(noted).lower())


def sigmas(shapes: Shapes, config: Config) -> tuple[float, ...]:
    """The noise levels of the training timesteps, ascending."""
    return model_sigmas(
        number(config, "model.params.linear_start", low=1e-6, high=0.5) or LINEAR_START,
        number(config, "model.params.linear_end", low=1e-6, high=0.5) or LINEAR_END,
        zero_snr=ZERO_SNR_MARK in shapes,
    )


def _from_yaml(config: Config) -> str | None:
    said = value(config, _PARAMETERIZATION)
    if said is not None:
        if said not in PREDICTIONS:
            raise ModelLoadError(f"its .yaml sets {_PARAMETERIZATION} to {str(said)[:40]!r}, which must be eps or v")
        return str(said)
    scaling = value(config, _SCALING)
    if scaling is None:
        return None
    known = _SCALINGS.get(str(scaling).rpartition(".")[2])
    if known is None:
        raise ModelLoadError(f"its .yaml sets {_SCALING} to {str(scaling)[:80]!r}, of which this version knows EpsScaling and VScaling")
    return known
