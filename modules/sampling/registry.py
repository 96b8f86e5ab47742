"""Which samplers and schedules are there, under which names? One row each, in the order users know.

Torch-free at import, so that the page can list the rows; `SamplerRow.load` imports the function when somebody samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modules.sampling.types import Sampler


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerRow:
    """`function` is "module:name" within this folder; `params` are the keyword arguments that the function takes."""

    id: str
    label: str
    function: str
    aliases: tuple[str, ...] = ()
    automatic_schedule: str = "uniform"
    second_order: bool = False
    """Two network calls a step: prompt timelines are laid out over twice as many steps."""
    uses_ensd: bool = False
    """Whether the infotext names the "Eta noise seed delta" for this sampler."""
    brownian: bool = False
    discard_next_to_last: bool = False
    """The schedule is made one step longer and its next-to-last sigma left out."""
    variance_preserving: bool = False
    """A timestep sampler: it starts from noise * sqrt(1 + sigma0^2) instead of noise * sigma0, and its sigmas follow `timestep_rule`."""
    timestep_rule: str = ""
    """ddim or unipc: how a timestep sampler spaces its steps; empty for samplers that take any schedule."""
    own_levels: bool = False
    """It takes the ends of the schedule and chooses what lies between; the lower end is then the model's own."""
    every: int = 1
    """The networks made for it were trained on every n-th timestep only, and the schedule is made of those."""
    needs_uncond: bool = False
    """It calls `SplitDenoiser.split`, so the unconditional half may not be skipped."""
    adaptive: bool = False
    """Its step sizes depend on the pictures, so a batch must be one picture for pictures to be independent of their neighbours."""
    guidance_factor: float = 1.0
    """What the CFG scale is multiplied by for this sampler."""
    params: tuple[str, ...] = ()

    def load(self) -> Sampler:
        """The function itself."""
        module, name = self.function.split(":")
        return getattr(import_module(f"modules.sampling.{module}"), name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRow:
    """`default_rho` is None where the schedule has no rho."""

    id: str
    label: str
    aliases: tuple[str, ...] = ()
    default_rho: float | None = None


AUTOMATIC = "automatic"
DEFAULT_SAMPLER = "dpmpp_2m"

_CHURN = ("s_churn", "s_tmin", "s_tmax", "s_noise")
_ANCESTRAL = ("eta", "s_noise")

_SAMPLERS = (
    SamplerRow(id="dpmpp_2m", label="DPM++ 2M", function="ode_samplers:dpmpp_2m", aliases=("k_dpmpp_2m",), automatic_schedule="karras"),
    SamplerRow(
        id="dpmpp_sde",
        label="DPM++ SDE",
        function="sde_samplers:dpmpp_sde",
        aliases=("k_dpmpp_sde",),
        automatic_schedule="karras",
        second_order=True,
        brownian=True,
        params=_ANCESTRAL,
    ),
    SamplerRow(
        id="dpmpp_2m_sde",
        label="DPM++ 2M SDE",
        function="sde_samplers:dpmpp_2m_sde",
        aliases=("k_dpmpp_2m_sde",),
        automatic_schedule="exponential",
        brownian=True,
        params=_ANCESTRAL,
    ),
    SamplerRow(
        id="dpmpp_2m_sde_heun",
        label="DPM++ 2M SDE Heun",
        function="sde_samplers:dpmpp_2m_sde_heun",
        aliases=("k_dpmpp_2m_sde_heun",),
        automatic_schedule="exponential",
        brownian=True,
        params=_ANCESTRAL,
    ),
    SamplerRow(
        id="dpmpp_2s_ancestral",
        label="DPM++ 2S a",
        function="sde_samplers:dpmpp_2s_ancestral",
        aliases=("k_dpmpp_2s_a", "dpmpp_2s_a"),
        automatic_schedule="karras",
        second_order=True,
        uses_ensd=True,
        params=_ANCESTRAL,
    ),
    SamplerRow(
        id="dpmpp_3m_sde",
        label="DPM++ 3M SDE",
        function="sde_samplers:dpmpp_3m_sde",
        aliases=("k_dpmpp_3m_sde",),
        automatic_schedule="exponential",
        brownian=True,
        discard_next_to_last=True,
        params=_ANCESTRAL,
    ),
    SamplerRow(
        id="euler_ancestral",
        label="Euler a",
        function="sde_samplers:euler_ancestral",
        aliases=("k_euler_a", "k_euler_ancestral", "euler_a"),
        uses_ensd=True,
        params=("eta",),
    ),
    SamplerRow(id="euler", label="Euler", function="ode_samplers:euler", aliases=("k_euler",), params=_CHURN),
    SamplerRow(id="lms", label="LMS", function="multistep_samplers:lms", aliases=("k_lms",)),
    SamplerRow(id="heun", label="Heun", function="ode_samplers:heun", aliases=("k_heun",), second_order=True, params=_CHURN),
    SamplerRow(
        id="dpm_2",
        label="DPM2",
        function="ode_samplers:dpm_2",
        aliases=("k_dpm_2",),
        automatic_schedule="karras",
        second_order=True,
        discard_next_to_last=True,
        params=_CHURN,
    ),
    SamplerRow(
        id="dpm_2_ancestral",
        label="DPM2 a",
        function="sde_samplers:dpm_2_ancestral",
        aliases=("k_dpm_2_a", "dpm_2_a"),
        automatic_schedule="karras",
        second_order=True,
        uses_ensd=True,
        discard_next_to_last=True,
        params=_ANCESTRAL,
    ),
    SamplerRow(
        id="dpm_fast",
        label="DPM fast",
        function="dpm_solver:dpm_fast",
        aliases=("k_dpm_fast",),
        uses_ensd=True,
        own_levels=True,
        params=_ANCESTRAL,
    ),
    SamplerRow(
        id="dpm_adaptive",
        label="DPM adaptive",
        function="dpm_solver:dpm_adaptive",
        aliases=("k_dpm_ad", "k_dpm_adaptive"),
        uses_ensd=True,
        own_levels=True,
        adaptive=True,
        params=("eta",),
    ),
    SamplerRow(id="restart", label="Restart", function="sde_samplers:restart", automatic_schedule="karras", second_order=True),
    SamplerRow(id="ddim", label="DDIM", function="timestep_samplers:ddim", variance_preserving=True, timestep_rule="ddim", params=("eta",)),
    SamplerRow(
        id="ddim_cfgpp",
        label="DDIM CFG++",
        function="timestep_samplers:ddim_cfgpp",
        variance_preserving=True,
        timestep_rule="ddim",
        needs_uncond=True,
        guidance_factor=1 / 12.5,
        params=("eta",),
    ),
    SamplerRow(id="plms", label="PLMS", function="timestep_samplers:plms", variance_preserving=True, timestep_rule="ddim"),
    SamplerRow(
        id="unipc",
        label="UniPC",
        function="unipc:unipc",
        variance_preserving=True,
        timestep_rule="unipc",
        params=("unipc_variant", "unipc_order", "unipc_lower_order_final"),
    ),
    SamplerRow(id="lcm", label="LCM", function="sde_samplers:lcm", aliases=("k_lcm",), every=20),
    SamplerRow(id="heunpp2", label="HeunPP2", function="ode_samplers:heunpp2", params=_CHURN),
    SamplerRow(id="ipndm", label="IPNDM", function="multistep_samplers:ipndm"),
    SamplerRow(id="ipndm_v", label="IPNDM_V", function="multistep_samplers:ipndm_v"),
    SamplerRow(id="deis", label="DEIS", function="multistep_samplers:deis"),
    # Ancestral sampling in x_t / alpha (arXiv:2006.11239, algorithm 2) is Euler a with eta 1.
    SamplerRow(id="ddpm", label="DDPM", function="sde_samplers:euler_ancestral"),
)

_SCHEDULES = (
    ScheduleRow(id=AUTOMATIC, label="Automatic"),
    ScheduleRow(id="uniform", label="Uniform"),
    ScheduleRow(id="karras", label="Karras", default_rho=7.0),
    ScheduleRow(id="exponential", label="Exponential"),
    ScheduleRow(id="polyexponential", label="Polyexponential", default_rho=1.0),
    ScheduleRow(id="sgm_uniform", label="SGM Uniform", aliases=("SGMUniform",)),
    ScheduleRow(id="kl_optimal", label="KL Optimal"),
    ScheduleRow(id="align_your_steps", label="Align Your Steps"),
    ScheduleRow(id="simple", label="Simple"),
    ScheduleRow(id="normal", label="Normal"),
    ScheduleRow(id="ddim", label="DDIM", aliases=("ddim_uniform",)),
    ScheduleRow(id="beta", label="Beta"),
    ScheduleRow(id="turbo", label="Turbo"),
    ScheduleRow(id="align_your_steps_GITS", label="Align Your Steps GITS"),
    ScheduleRow(id="align_your_steps_11", label="Align Your Steps 11"),
    ScheduleRow(id="align_your_steps_32", label="Align Your Steps 32"),
)

SAMPLERS: Mapping[str, SamplerRow] = MappingProxyType({row.id: row for row in _SAMPLERS})
SCHEDULES: Mapping[str, ScheduleRow] = MappingProxyType({row.id: row for row in _SCHEDULES})


def resolve_schedule(sampler_id: str, schedule_id: str) -> str:
    """What "automatic" means for this sampler; any other id as it is."""
    return SAMPLERS[sampler_id].automatic_schedule if schedule_id == AUTOMATIC else schedule_id
