"""What sits on which device, in which precision, and when: A1111's memory flags as one value and the policy made from it.

`DeviceOptions` is plain and picklable, and this module imports torch only inside functions: the web process builds the options.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOptions:
    """A1111's flags of the same names."""

    use_cpu: bool = False
    no_half: bool = False
    no_half_vae: bool = False
    medvram: bool = False
    lowvram: bool = False
    xformers: bool = False
    """Prefer xformers' attention where its kernels run."""
