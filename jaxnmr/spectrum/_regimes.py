"""Regimes of motion in an experiment, and the smaller problem that gives the same spectrum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike

from jaxnmr.errors import is_concrete
from jaxnmr.exchange import AveragedExchange, ExchangeModel, Reduced, Regimes, merge, regimes_at
from jaxnmr.spectrum._echoes import known_delay
from jaxnmr.spectrum._experiments import MAGIC_ANGLE, MAS, Static
from jaxnmr.spins import Sites

__all__ = ["reduce", "regimes"]


def regimes(
    sites: Sites,
    experiment: Static | MAS,
    *,
    exchange: ExchangeModel,
    linewidth: ArrayLike | Sequence[float],
    gaussian: float = 0.0,
    tolerance: float = 0.01,
) -> Regimes:
    r"""Each pair of exchanging sites against every scale that it meets: splittings, rotor, linewidth, Larmor frequency.

    Arguments as in `jaxnmr.simulate`, all with known values; both widths count together.

    Args:
        sites: tensors.
        experiment: field, rotor and transition.
        exchange: jumps.
        linewidth: Lorentzian FWHM, Hz.
        gaussian: Gaussian FWHM, Hz.
        tolerance: what merging sites may cost, in linewidths; less where an echo's delay gives the cost more time.

    Returns:
        A report; `print` shows it as a table.

    Raises:
        ValueError: traced values, no width, a tolerance that is not positive, another number of sites.
    """
    if not is_concrete(sites, experiment, exchange, linewidth, gaussian):
        raise ValueError("regimes: values are traced; call it outside jit and grad (see jaxnmr.exchange.merge).")
    rate, angle = 0.0, MAGIC_ANGLE
    if isinstance(experiment, MAS):
        rate, angle = float(experiment.rate), float(experiment.angle)
    width = np.asarray(linewidth, dtype=np.float64) + float(gaussian)
    # A residual width r costs an echo 2 pi r tau of its height besides the r / sqrt(2) linewidths of its shape.
    delay = known_delay(experiment.echo, rate or None)
    allowed = tolerance / (1 + 2 * np.sqrt(2) * np.pi * delay * np.max(width))
    return regimes_at(
        sites,
        exchange,
        field=float(experiment.field),
        linewidth=width,
        rate=rate,
        angle=angle,
        transition=experiment.transition,
        tolerance=allowed if tolerance > 0 else tolerance,
    )


def reduce(
    sites: Sites,
    experiment: Static | MAS,
    *,
    exchange: ExchangeModel,
    linewidth: ArrayLike | Sequence[float],
    gaussian: float = 0.0,
    tolerance: float = 0.01,
) -> Reduced:
    r"""Replace sites that exchange fast by their mean wherever the spectrum stays the same.

    A pair shares one line where its residual width $4\pi p_1 p_2\,\delta\nu^2/k_{ex}$ is below `tolerance` linewidths, δν
    the largest splitting over all orientations; larger groups by the sum over their decaying modes. Sites are kept apart
    too where the rates into other sites differ and the jumps between them do not outrun these.

    Where mean tensors give the line, one site of mean tensors takes the group's place. The second order of a quadrupolar
    nucleus is that of its mean tensor only for jumps far above the Larmor frequency, the mean of the sites' second order far
    below, and neither in between: such sites stay in `sites`, and the exchange averages over them with the second order of
    their true rates (`jaxnmr.exchange.AveragedExchange`).

    The default tolerance keeps the relative L2 to the unreduced spectrum below 1 %. Under spinning at a finite rate the
    static splitting counts, which is safe.

    Args:
        sites: tensors; values known, as those of all arguments.
        experiment: field, rotor and transition.
        exchange: jumps.
        linewidth: Lorentzian FWHM, Hz, one for all sites or one each.
        gaussian: Gaussian FWHM, Hz.
        tolerance: what merging may cost, in linewidths.

    Returns:
        Sites, exchange (None where no jump is left) and linewidth for `jaxnmr.simulate`, and which sites share a line. Take
        derivatives through `jaxnmr.exchange.merge` and `AveragedExchange.over`, with these groups.

    Raises:
        ValueError: as `regimes`.
    """
    report = regimes(sites, experiment, exchange=exchange, linewidth=linewidth, gaussian=gaussian, tolerance=tolerance)
    found = merge(sites, exchange, report.alike, linewidth=linewidth)
    if report.groups == report.alike or found.exchange is None:
        return found
    index = {site: new for new, group in enumerate(report.alike) for site in group}
    lines = sorted({tuple(sorted({index[site] for site in group})) for group in report.groups})
    return found._replace(exchange=AveragedExchange.over(found.exchange, lines), groups=report.groups)
