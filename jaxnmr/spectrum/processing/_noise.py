"""The noise of a measured spectrum, and how far it is correlated."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from jaxnmr.spectrum._spectrum import Spectrum
from jaxnmr.spectrum.processing._empty import deviation, polynomial_basis
from jaxnmr.spectrum.processing._regions import Regions, chosen, concrete

__all__ = ["Noise", "noise"]

# A sum over lags stops at this multiple of what it has come to: beyond, it gathers noise only.
_WINDOW = 6


@dataclasses.dataclass(frozen=True, eq=False)
class Noise:
    r"""What empty regions of a spectrum say about its noise.

    Attributes:
        sigma: standard deviation of a point, in the units of the intensity.
        correlation_length: $\tau = 1 + 2\sum_k \rho_k$, points, with the autocorrelation ρ at a lag of k points: a mean
            over n points has the deviation $\sigma\sqrt{\tau/n}$. 1 for a spectrum transformed as recorded or with
            zeros to twice the length, 2 with zeros to four times, more with apodisation.
        sigma_stderr: of sigma.
        empty: the points it was estimated from, (points,).
    """

    sigma: float
    correlation_length: float
    sigma_stderr: float
    empty: Bool[np.ndarray, " points"]

    @property
    def effective_points(self) -> float:
        """Independent points in the whole spectrum, `points / correlation_length`."""
        return len(self.empty) / self.correlation_length


def noise(spectrum: Spectrum, regions: Regions | None = None, *, degree: int = 1) -> Noise:
    """Estimate the noise where there is no line.

    After a polynomial base is taken off, the deviation of the points within four deviations of their median size is
    taken, so that single spikes hardly count. The correlation length is summed over lags up to six times itself.

    Args:
        spectrum: with values that are known.
        regions: ends in ppm, (from, to) or several pairs, or a mask; by default `empty_regions`.
        degree: of the polynomial base below the noise.

    Raises:
        ValueError: points that are not numbers, regions without points, fewer than 8 points in them, none found.

    References:
        Sokal, in Functional Integration (1997), for the window of the correlation length.
    """
    intensity = concrete("intensity", spectrum.intensity)
    empty = chosen(spectrum, regions, degree)
    if empty.sum() < max(8, degree + 4):
        raise ValueError(f"regions: {int(empty.sum())} points; the noise needs at least {max(8, degree + 4)} of them.")
    basis = polynomial_basis(len(intensity), degree)
    coefficients = np.linalg.lstsq(basis[empty], intensity[empty], rcond=None)[0]
    residual = np.where(empty, intensity - basis @ coefficients, 0.0)
    rough = deviation(residual[empty])
    inside = empty & (np.abs(residual) <= 4 * rough) if rough > 0 else empty
    count = int(inside.sum())
    freedom = max(count - degree - 1, 1)
    sigma = float(np.sqrt(np.square(residual[inside]).sum() / freedom))
    length = _correlation_length(residual, inside)
    # The variance of a sample of squares falls with their own correlation, which is at most that of the points.
    return Noise(sigma, length, sigma * float(np.sqrt(length / (2 * freedom))), empty)


def _correlation_length(residual: NDArray[np.float64], inside: NDArray[np.bool_]) -> float:
    """Integrated autocorrelation over pairs of points that both count."""
    size = 1 << (2 * len(residual) - 1).bit_length()
    values = np.where(inside, residual, 0.0)
    covariance, pairs = (
        np.fft.irfft(np.abs(np.fft.rfft(x, size)) ** 2)[: len(residual) // 2] for x in (values, inside * 1.0)
    )
    if covariance[0] <= 0:
        return 1.0
    enough = pairs > 0.05 * pairs[0]
    rho = np.where(enough, covariance / np.maximum(pairs, 1), 0.0) / (covariance[0] / pairs[0])
    length = 1 + 2 * np.cumsum(rho[1:])
    lags = np.arange(1, len(rho))
    stop = np.flatnonzero(lags >= _WINDOW * length)
    return float(max(length[stop[0] if len(stop) else -1], 1e-3)) if len(length) else 1.0
