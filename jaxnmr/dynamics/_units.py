"""What the numbers of a surface mean: atoms in eV, Å and amu, or no units at all."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxnmr.units import AMU, BOLTZMANN_IN_EV, ELECTRON_VOLT, HBAR

__all__ = ["ATOMIC", "OMEGA", "REDUCED", "Units"]

OMEGA = float(np.sqrt(ELECTRON_VOLT / AMU) * 1e10)
"""Angular frequency, rad/s, of sqrt(1 eV/Å²/amu)."""


class Units(NamedTuple):
    """What the numbers of a surface mean.

    Attributes:
        boltzmann: k_B, energy per temperature.
        hbar: ħ, energy times the surface's unit of time.
        frequency: how many of the rate's units one over the surface's unit of time is.
        clock: how many of the surface's units of time (its length times the root of mass over energy) one unit of the
            motion's time is.
    """

    boltzmann: float
    hbar: float
    frequency: float
    clock: float = 1.0


ATOMIC = Units(BOLTZMANN_IN_EV, HBAR * OMEGA / ELECTRON_VOLT, OMEGA, OMEGA * 1e-15)
"""eV, Å, amu, K; rates in s⁻¹, motion in fs."""
REDUCED = Units(1.0, 1.0, 1.0)
"""A surface without units: temperature in units of its energy, rates in 1 over its unit of time, ħ = 1."""
