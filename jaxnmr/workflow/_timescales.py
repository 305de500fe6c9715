"""Where a motion stands in time: which average of a tensor a line shows, and how fast hops are beside the spectrum."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxnmr.exchange import ExchangeModel
from jaxnmr.isotopes import Isotope, isotope
from jaxnmr.spectrum import MAS, Static, regimes
from jaxnmr.spins import Sites
from jaxnmr.workflow._config import RunConfig

__all__ = ["Averaging", "averaging", "words_of"]


class Averaging(NamedTuple):
    r"""The correlation time of a tensor beside the scales that it meets.

    Attributes:
        larmor: $\omega_0\tau$. The second order builds up over 1/ω₀: far below 1 it is that of the mean tensor.
        splitting: $2\pi\,\delta\nu\,\tau$, δν the spread of the line, by shift or coupling, whichever is larger. Far below
            1 the line is narrowed to its mean.
        rule: which average holds.
    """

    larmor: float
    splitting: float
    rule: str


def averaging(
    time_fs: float, field: float, nucleus: str, spread_ppm: float, spread_hz: float = 0.0, cq_hz: float = 0.0
) -> Averaging:
    r"""Which average of a tensor holds that changes with a correlation time.

    Of integer spins the coupling splits the line at first order, by $\nu_Q = 3 C_Q / 2I(2I - 1)$, and the mean tensor rules
    there whatever the Larmor frequency. Of half-integer spins the central line is seen, which the coupling moves at second
    order alone: the width at rest is $\tfrac{25}{144}\,[I(I + 1) - \tfrac34]\,\nu_Q^2/\nu_0$ for η = 0, and its spread is
    that of $\nu_Q^2$.

    Args:
        time_fs: of the slowest element.
        field: tesla.
        nucleus: isotope.
        spread_ppm: standard deviation of an element of the shift.
        spread_hz: of an element of the coupling tensor eQV/h.
        cq_hz: C_Q of the mean tensor.
    """
    of = isotope(nucleus)
    larmor_hz = abs(float(np.asarray(of.larmor_frequency(field))))
    whole = of.is_quadrupolar and float(of.spin).is_integer()
    spread = max(1e-6 * spread_ppm * larmor_hz, _spread_by_coupling(of, larmor_hz, spread_hz, cq_hz))
    larmor, splitting = 2e-15 * np.pi * time_fs * larmor_hz, 2e-15 * np.pi * time_fs * spread
    if not np.isfinite(larmor):
        rule = "unknown"
    elif splitting > 0.1:
        rule = "none: the motion is no faster than the spread of the line"
    elif not of.is_quadrupolar or larmor < 0.1:
        rule = "mean tensor"
    elif whole:
        rule = "mean tensor, at first order"
    elif larmor > 10:
        rule = "mean of the second order's irreps"
    else:
        rule = "neither the mean tensor nor the mean second order"
    return Averaging(float(larmor), float(splitting), rule)


def _spread_by_coupling(of: Isotope, larmor_hz: float, spread_hz: float, cq_hz: float) -> float:
    """By how much a changing coupling moves the line, Hz."""
    if not of.is_quadrupolar or not np.isfinite(spread_hz):
        return 0.0
    to_splitting = 3 / (2 * of.spin * (2 * of.spin - 1))
    change, mean = to_splitting * spread_hz, to_splitting * abs(cq_hz)
    if float(of.spin).is_integer():
        return change
    return 25 / 144 * (of.spin * (of.spin + 1) - 0.75) * (2 * mean * change + change**2) / larmor_hz


def words_of(sites: Sites, hops: ExchangeModel, field: float, config: RunConfig) -> dict[str, str]:
    """How fast hops between the first two basins are beside each scale of the spectrum: slow, intermediate or fast."""
    asked = config.experiment
    experiment = MAS(field, asked.rate_hz) if asked.rate_hz > 0 else Static(field)
    found = regimes(sites, experiment, exchange=hops, linewidth=asked.linewidth_hz, gaussian=asked.gaussian_hz)
    return {scale.name: scale.words[0] for scale in found.scales} if len(found.pairs) else {}
