"""Processing of decays, before the transform."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from jaxnmr.errors import is_concrete
from jaxnmr.spectrum._fid import FID

__all__ = ["apodise", "remove_delay", "sine_bell", "start_at", "truncate", "zero_fill"]

_LN2 = float(np.log(2))


def apodise(fid: FID, *, lorentzian: ArrayLike = 0.0, gaussian: ArrayLike = 0.0, centre: ArrayLike = 0.0) -> FID:
    r"""Broaden the spectrum by weighting its decay.

    $$s(t) \to s(t)\,e^{-\pi\Delta |t - t_c|}\,e^{-(\pi G (t - t_c))^2/(4\ln 2)}$$

    convolves with a Lorentzian of FWHM Δ and a Gaussian of FWHM G. A negative Δ narrows, and needs a Gaussian
    to end it (Lorentz-to-Gauss). Noise is correlated afterwards: `noise` measures it. Differentiable in all three.

    Args:
        fid: measured.
        lorentzian: Δ, Hz.
        gaussian: G >= 0, Hz.
        centre: $t_c$, s, such as an echo's top.

    Raises:
        ValueError: values that are not one finite number each, G < 0, Δ < 0 without a Gaussian.
    """
    for name, value in (("lorentzian", lorentzian), ("gaussian", gaussian), ("centre", centre)):
        if jnp.ndim(value) or (is_concrete(value) and not np.isfinite(np.asarray(value))):
            raise ValueError(f"{name}: got {value!r}; give one finite number in {'s' if name == 'centre' else 'Hz'}.")
    if is_concrete(lorentzian, gaussian):
        if np.asarray(gaussian) < 0:
            raise ValueError(f"gaussian: got {float(np.asarray(gaussian)):g} Hz; a full width is >= 0.")
        if np.asarray(lorentzian) < 0 and np.asarray(gaussian) == 0:
            raise ValueError(
                f"lorentzian: got {float(np.asarray(lorentzian)):g} Hz, which grows without end; give a gaussian beside it."
            )
    real = fid.signal.real.dtype
    delta, width, middle = (jnp.asarray(x, real) for x in (lorentzian, gaussian, centre))
    t = fid.times.astype(real) - middle
    # Before a digital filter's t = 0 an exponential would grow: the decay is taken about the centre on both sides.
    return _weighted(fid, jnp.exp(-jnp.pi * delta * jnp.abs(t) - (jnp.pi * width * t) ** 2 / (4 * _LN2)))


def sine_bell(fid: FID, *, shift: float | int = np.pi / 2, power: float | int = 1.0) -> FID:
    r"""Weight the decay by $\sin^p(\phi + (\pi - \phi) t/t_\mathrm{end})$, which ends at zero.

    Args:
        fid: measured.
        shift: φ, radians: π/2 for a cosine, which starts at one.
        power: p; 2 for the squared cosine.

    Raises:
        ValueError: φ outside 0 to π/2, p <= 0.
    """
    if not 0 <= shift <= np.pi / 2:
        raise ValueError(f"shift: got {shift!r}; give radians from 0 (sine) to pi/2 (cosine).")
    if not (np.isfinite(power) and power > 0):
        raise ValueError(f"power: got {power!r}; give a number > 0, 2 for a squared bell.")
    fraction = np.linspace(0, 1, len(fid.signal))
    window = np.maximum(np.sin(shift + (np.pi - shift) * fraction), 0.0) ** power
    return _weighted(fid, jnp.asarray(window, fid.signal.real.dtype))


def zero_fill(fid: FID, points: int) -> FID:
    """The decay with zeros behind it: more points in the spectrum, interpolated.

    Filled to twice the length, the absorption alone holds all that was recorded; further points carry no more information,
    and neighbours are correlated.

    Raises:
        ValueError: fewer points than the decay has.
    """
    count = len(fid.signal)
    if not isinstance(points, int | np.integer) or points < count:
        raise ValueError(f"points: got {points!r} for a decay of {count}; give an integer >= {count}.")
    return dataclasses.replace(fid, signal=jnp.pad(fid.signal, (0, int(points) - count)))


def truncate(fid: FID, time: float | int) -> FID:
    """The decay up to a time, s: what follows is noise, or another echo.

    Raises:
        ValueError: fewer than two points left.
    """
    dt, start = _known(fid)
    count = int(np.floor((time - start) / dt + 1e-6)) + 1 if np.isfinite(time) else 0
    if count < 2:
        raise ValueError(f"time: got {time!r} s, which leaves fewer than two points of {dt:g} s each.")
    return dataclasses.replace(fid, signal=fid.signal[:count])


def start_at(fid: FID, time: float | int) -> FID:
    """The decay from a time on, which becomes t = 0: an echo's top, or the end of dead time.

    Points before it are dropped. Where the time falls between two points, the first kept stands at its fraction of dt after
    zero, and `FID.spectrum` takes that into the phase.

    Args:
        fid: measured.
        time: s, in the decay's own count (`fid.times`).

    Raises:
        ValueError: before the first point, or with fewer than two points after it.
    """
    dt, start = _known(fid)
    first = int(np.ceil((time - start) / dt - 1e-6)) if np.isfinite(time) else -1
    if first < 0 or len(fid.signal) - first < 2:
        last = start + dt * (len(fid.signal) - 1)
        raise ValueError(f"time: got {time!r} s; the decay runs from {start:g} to {last:g} s.")
    left = start + dt * first - time
    return dataclasses.replace(fid, signal=fid.signal[first:], start=left if abs(left) > 1e-6 * dt else 0.0)


def remove_delay(fid: FID, delay: ArrayLike) -> FID:
    r"""Count the time of a decay that a filter shows late by a group delay, exactly, as $e^{2\pi i\nu t_d}$ in the spectrum.

    The points before t = 0 are kept: they hold the filter's rise. `FID.read` does this for Bruker's data already.

    Args:
        fid: measured.
        delay: group delay, s; `GRPDLY * fid.dt`.

    Raises:
        ValueError: a delay that is not one finite number.
    """
    if jnp.ndim(delay) or (is_concrete(delay) and not np.isfinite(np.asarray(delay))):
        raise ValueError(f"delay: got {delay!r}; give one finite number, in s.")
    return dataclasses.replace(fid, start=fid.start - jnp.asarray(delay, fid.start.dtype))


def _weighted(fid: FID, window: Array) -> FID:
    return dataclasses.replace(fid, signal=fid.signal * window.astype(fid.signal.dtype))


def _known(fid: FID) -> tuple[float, float]:
    if not is_concrete(fid.dt, fid.start):
        raise ValueError("fid: dt and start are traced, but the number of points depends on them; keep them out of jit.")
    return float(fid.dt), float(fid.start)
