"""Phase of complex spectra."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxnmr.errors import is_concrete
from jaxnmr.spectrum._spectrum import Spectrum
from jaxnmr.spectrum.processing._regions import concrete

__all__ = ["Phased", "autophase", "dispersion", "phase"]

# Trials of the zero order over a turn.
_ZERO_ORDER = 24
_SIGN = 1e-3


class Phased(NamedTuple):
    """A spectrum in phase, and the arguments of `phase` that brought it there."""

    spectrum: Spectrum
    p0: Float[Array, ""]
    p1: Float[Array, ""]
    pivot: float


def phase(spectrum: Spectrum, p0: ArrayLike, p1: ArrayLike = 0.0, pivot: float | int | None = None) -> Spectrum:
    r"""Turn the phase of a complex spectrum.

    $$S + iS' \to e^{i\varphi}(S + iS'),\qquad \varphi(\nu) = p_0 + p_1\,\frac{\nu - \nu_\mathrm{pivot}}{\Delta\nu}$$

    with Δν > 0 the distance of the axis' ends, whichever way it runs. A decay whose first point stood at a time t, but
    was transformed as if at zero, needs $p_1 = -2\pi t\,\Delta\nu$. Differentiable in phases and intensities.

    Args:
        spectrum: with an imaginary part.
        p0: zero order, radians.
        p1: first order, radians over the whole axis.
        pivot: shift where the first order adds nothing, ppm; that of the largest $|S + iS'|$ by default.

    Raises:
        ValueError: a spectrum without imaginary part (see `dispersion`), phases or a pivot that are not one finite number.
    """
    imaginary = _imaginary(spectrum)
    for name, value in (("p0", p0), ("p1", p1), ("pivot", 0.0 if pivot is None else pivot)):
        if jnp.ndim(value) or (is_concrete(value) and not np.isfinite(np.asarray(value))):
            raise ValueError(
                f"{name}: got {value!r}; give one finite number{' in ppm' if name == 'pivot' else ', radians'}."
            )
    at = _pivot(spectrum, imaginary) if pivot is None else pivot
    dtype = spectrum.intensity.dtype
    real, other = _turned(
        spectrum.intensity, imaginary, _fraction(spectrum, at), jnp.asarray(p0, dtype), jnp.asarray(p1, dtype)
    )
    return dataclasses.replace(spectrum, intensity=real, imaginary=other)


def autophase(spectrum: Spectrum, *, first_order: float | int = 0.0, pivot: float | int | None = None) -> Phased:
    r"""Find the phase that makes a spectrum absorptive and positive.

    $$\min_{p_0, p_1} \sum_i |S_i|\,\Big/ \sum_i |S_i + iS_i'|$$

    The wings of dispersion fall off slower than those of absorption, so the least area is that of absorption; noise
    changes it in second order only, where the negative area alone, or the entropy of the slope, follow the noise. A
    grid over both orders, then a search that halves its steps. Three lines with signal-to-noise ratios of 780, 280
    and 90 came out with phase errors of 1, 3 and 6 degrees, with the first order free; one order alone is surer. The
    choice has no gradient.

    Args:
        spectrum: with an imaginary part, and values that are known; on a flat base.
        first_order: largest size of p1 to try, radians; 0 for zero order only.
        pivot: as in `phase`.

    Returns:
        The spectrum in phase, with p0 (-π to π), p1 and the pivot.

    Raises:
        ValueError: as `phase`; no signal.

    References:
        Siegel, Anal. Chim. Acta 133, 103 (1981), for phasing by the least area.
    """
    if not (np.isfinite(first_order) and first_order >= 0):
        raise ValueError(f"first_order: got {first_order!r}; give the largest p1 to try, radians, >= 0.")
    imaginary = _imaginary(spectrum)
    concrete("intensity", spectrum.intensity)
    concrete("imaginary", imaginary)
    if not float(jnp.abs(spectrum.intensity).max()) > 0:
        raise ValueError("spectrum: all intensities are zero; there is nothing to phase.")
    at = float(_pivot(spectrum, imaginary)) if pivot is None else pivot
    fraction = _fraction(spectrum, at)

    size = jnp.sqrt(spectrum.intensity**2 + imaginary**2).sum()

    @jax.jit
    def costs(phases: Array) -> Array:
        def one(pair: Array) -> Array:
            real, _ = _turned(spectrum.intensity, imaginary, fraction, pair[0], pair[1])
            # The sign, which the area does not know, by a part too small to move the minimum.
            return (jnp.abs(real).sum() - _SIGN * real.sum()) / size

        return jax.lax.map(one, phases)

    # A first order of p1 over the axis turns the lines' phases against each other: half a radian shows.
    orders = np.linspace(-first_order, first_order, 2 * int(np.ceil(2 * first_order)) + 1)
    zero = np.arange(_ZERO_ORDER) * (2 * np.pi / _ZERO_ORDER)
    grid = np.stack(np.meshgrid(zero, orders, indexing="ij"), -1).reshape(-1, 2)
    dtype = spectrum.intensity.dtype
    best = grid[int(jnp.argmin(costs(jnp.asarray(grid, dtype))))]
    step = np.array([zero[1], orders[1] - orders[0] if len(orders) > 1 else 0.0])
    around = np.stack(np.meshgrid([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0], indexing="ij"), -1).reshape(-1, 2)
    while step[0] > 1e-5:
        trial = best + around * step
        lowest = int(jnp.argmin(costs(jnp.asarray(trial, dtype))))
        if np.allclose(trial[lowest], best):
            step = step / 2
        best = trial[lowest]
    p0 = (best[0] + np.pi) % (2 * np.pi) - np.pi
    return Phased(phase(spectrum, p0, best[1], at), jnp.asarray(p0, dtype), jnp.asarray(best[1], dtype), at)


def dispersion(spectrum: Spectrum) -> Spectrum:
    r"""The spectrum with the imaginary part that belongs to its absorption, from the causal decay of `Spectrum.fid`.

    For files that hold the real part only. Exact where the line's decay ended within half the record that the axis' spacing
    stands for, $t < 1/(2\,d\nu)$: as where data were zero-filled once. Differentiable.

    Raises:
        ValueError: an axis that is not equally spaced.
    """
    whole = dataclasses.replace(spectrum, imaginary=None).fid().spectrum()
    up = spectrum.hz[-1] > spectrum.hz[0]
    assert whole.imaginary is not None
    return dataclasses.replace(spectrum, imaginary=jnp.where(up, whole.imaginary[::-1], whole.imaginary))


def _imaginary(spectrum: Spectrum) -> Array:
    if spectrum.imaginary is None:
        raise ValueError(
            "spectrum: it has no imaginary part to turn; read a file that has one (1i beside 1r, a second column), or take "
            "the one that belongs to its absorption by `dispersion`."
        )
    return spectrum.imaginary


def _pivot(spectrum: Spectrum, imaginary: Array) -> Array:
    return spectrum.ppm[jnp.argmax(spectrum.intensity**2 + imaginary**2)]


def _fraction(spectrum: Spectrum, pivot: ArrayLike) -> Array:
    """Distance from the pivot by that of the ends."""
    ppm = spectrum.ppm
    return (ppm - jnp.asarray(pivot, ppm.dtype)) / jnp.abs(ppm[-1] - ppm[0])


def _turned(real: Array, imaginary: Array, fraction: Array, p0: Array, p1: Array) -> tuple[Array, Array]:
    angle = p0 + p1 * fraction.astype(real.dtype)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    return real * cosine - imaginary * sine, real * sine + imaginary * cosine
