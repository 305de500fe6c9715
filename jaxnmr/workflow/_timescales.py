"""Where a motion stands in time: which average of a tensor a line shows, and how fast hops are beside the spectrum."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxnmr.exchange import ExchangeModel
from jaxnmr.isotopes import isotope
from jaxnmr.spectrum import MAS, Static, regimes
from jaxnmr.spins import Sites
from jaxnmr.workflow._config import RunConfig

__all__ = ["Averaging", "averaging", "words_of"]


class Averaging(NamedTuple):
    r"""The correlation time of a tensor beside the scales that it meets.

    Attributes:
        larmor: $\omega_0\tau$. The second order builds up over 1/ω₀: far below 1 it is that of the mean tensor.
        splitting: $2\pi\,\delta\nu\,\tau$, δν the spread of the shift. Far below 1 the line is narrowed to its mean.
        rule: which average holds.
    """

    larmor: float
    splitting: float
    rule: str


def averaging(time_fs: float, field: float, nucleus: str, spread_ppm: float) -> Averaging:
    """Which average of a tensor holds that changes with a correlation time.

    Args:
        time_fs: of the slowest element.
        field: tesla.
        nucleus: isotope.
        spread_ppm: standard deviation of an element of the shift.
    """
    omega = 2 * np.pi * abs(float(np.asarray(isotope(nucleus).larmor_frequency(field))))
    larmor, splitting = 1e-15 * time_fs * omega, 1e-15 * time_fs * omega * 1e-6 * spread_ppm
    if not np.isfinite(larmor):
        rule = "unknown"
    elif splitting > 0.1:
        rule = "none: the motion is no faster than the spread of the line"
    elif not isotope(nucleus).is_quadrupolar or larmor < 0.1:
        rule = "mean tensor"
    elif larmor > 10:
        rule = "mean of the second order's irreps"
    else:
        rule = "neither the mean tensor nor the mean second order"
    return Averaging(float(larmor), float(splitting), rule)


def words_of(sites: Sites, hops: ExchangeModel, field: float, config: RunConfig) -> dict[str, str]:
    """How fast hops between the first two basins are beside each scale of the spectrum: slow, intermediate or fast."""
    asked = config.experiment
    experiment = MAS(field, asked.rate_hz) if asked.rate_hz > 0 else Static(field)
    found = regimes(sites, experiment, exchange=hops, linewidth=asked.linewidth_hz, gaussian=asked.gaussian_hz)
    return {scale.name: scale.words[0] for scale in found.scales} if len(found.pairs) else {}
