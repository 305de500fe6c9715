"""Which coherence an ideal second pulse turns into which, from spin matrices."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from jaxnmr.spectrum._echoes import Echo, SolidEcho

__all__ = ["Pathway", "pathways"]


class Pathway(NamedTuple):
    """From one transition to another through the second pulse.

    Attributes:
        weight: of the signal, 1 for all of it.
        start: upper level m of the transition that carries the coherence during the first delay.
        conjugate: whether the pulse reverses the order of coherence.
    """

    weight: float
    start: float
    conjugate: bool


def pathways(spin: float, m: float, echo: Echo) -> tuple[Pathway, ...]:
    """All pathways that end in the transition (m, m - 1), weighted so that they sum to one without a delay.

    (The sum is over pathways and, with the transitions' shares of the intensity, over transitions.)

    Args:
        spin: I.
        m: upper level of the observed transition.
        echo: its pulses.
    """
    if isinstance(echo, SolidEcho):
        found = _transfers(spin, m, np.pi / 2)
        if echo.carrier is None:
            # Half of the signal goes either way, whatever the spin.
            found = tuple(p._replace(weight=2 * p.weight) for p in found if p.conjugate)
        return found
    return _transfers(spin, m, np.pi)


@cache
def _transfers(spin: float, m: float, angle: float) -> tuple[Pathway, ...]:
    r"""Pathways through a rotation by `angle` about y of coherence that 90x has made, $\rho \propto I_y$.

    $$\rho'_{m-1,m} = \sum_{m'} d_{m-1,m'-1}d_{m,m'}\,\rho_{m'-1,m'} + d_{m-1,m'}d_{m,m'-1}\,\rho_{m',m'-1}$$

    with $\rho_{m-1,m} = -\rho_{m,m-1} \propto \sqrt{I(I+1) - m(m-1)}$.
    """
    levels = spin - np.arange(round(2 * spin) + 1)
    amplitude = np.sqrt(spin * (spin + 1) - levels[:-1] * (levels[:-1] - 1))  # of (levels[i], levels[i] - 1)
    y = np.diag(amplitude, 1) / 2j
    energy, vectors = np.linalg.eigh(y + y.conj().T)
    d = np.real((vectors * np.exp(-1j * angle * energy)) @ vectors.conj().T)
    row = round(spin - m)
    found = []
    for start in range(len(amplitude)):
        ratio = amplitude[start] / amplitude[row]
        direct = ratio * d[row + 1, start + 1] * d[row, start]
        reversed_ = -ratio * d[row + 1, start] * d[row, start + 1]
        for weight, conjugate in ((reversed_, True), (direct, False)):
            if abs(weight) > 1e-12:
                found.append(Pathway(float(round(weight, 14)), float(levels[start]), conjugate))
    return tuple(found)
