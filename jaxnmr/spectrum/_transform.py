r"""From a free-induction decay to a spectrum on any axis.

$$S(\nu) = 2\,\mathrm{Re}\;dt\left[\tfrac12 s_0 + \sum_{j \ge 1} s_j\,e^{-2\pi i\nu\,j\,dt}\right]$$

which is periodic in 1/dt: the wings of the line fold. They are those of $\dot s(0)$, since a jump of the n-th
derivative at t = 0 decays as $\nu^{-n-1}$ and s(0) is real; so the exact difference between integral and sum for the
exponential $e^{\dot s(0)t}$ is added back (`unfolded`). The sum is evaluated at every axis point by a zero-padded fast
Fourier transform and an interpolation of compact support, a non-uniform transform whose error (1e-6 in float32, 1e-11
in float64) is below the arithmetic's.
"""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

__all__ = ["apodise", "evaluate", "unfolded"]


def apodise(
    signal: Complex[Array, " times"],
    dt: Float[Array, ""],
    lorentzian: Float[Array, ""] | float,
    gaussian: Float[Array, ""] | float,
) -> Complex[Array, " times"]:
    r"""Broaden by $e^{-\pi\Delta t}\,e^{-(\pi G t)^2/(4\ln 2)}$: a Lorentzian and a Gaussian of FWHM Delta and G, Hz."""
    t = jnp.arange(signal.shape[0], dtype=dt.dtype) * dt
    window = jnp.exp(-jnp.pi * lorentzian * t - (jnp.pi * gaussian * t) ** 2 / (4 * np.log(2)))
    return signal * window.astype(signal.dtype)


def evaluate(
    signal: Complex[Array, " times"],
    dt: Float[Array, ""],
    start: Float[Array, ""],
    step: Float[Array, ""],
    points: int,
) -> Float[Array, " points"]:
    """The spectrum, per Hz, at `start + step * arange(points)` (Hz from the carrier of the signal).

    Periodic in 1 / dt: the caller keeps line and axis within one period.
    """
    times = signal.shape[0]
    width, beta, length, correction = _plan(times, jnp.finfo(dt.dtype).bits)
    weights = np.where(np.arange(times) == 0, 0.5, 1.0) * correction
    spectrum = jnp.fft.fft(_centred(signal * jnp.asarray(weights, signal.dtype), length))
    # Position of each point on the grid of the transform.
    u = (start + step * jnp.arange(points, dtype=dt.dtype)) * (dt * length)
    left = jnp.ceil(jax.lax.stop_gradient(u) - width / 2)
    taps = jnp.arange(width, dtype=dt.dtype)[None, :]
    distance = u[:, None] - left[:, None] - taps
    kernel = _kernel(distance * (2 / width), beta)
    index = jnp.mod(left.astype(jnp.int32)[:, None] + jnp.arange(width, dtype=jnp.int32)[None, :], length)
    values = (kernel.astype(spectrum.dtype) * spectrum[index]).sum(axis=1)
    # The record was moved by length / 4 before the transform; turn its phase back. Any other part of the length would
    # round in single precision and turn the wings' dispersion, 1 / nu, into a constant. Whole turns go first.
    turns = u / 4
    angle = 2 * jnp.pi * (turns - jnp.round(jax.lax.stop_gradient(turns)))
    return 2 * dt * (values.real * jnp.cos(angle) + values.imag * jnp.sin(angle))


def unfolded(
    slope: Complex[Array, ""],
    dt: Float[Array, ""],
    start: Float[Array, ""],
    step: Float[Array, ""],
    points: int,
    jump: Complex[Array, ""] | None = None,
    bend: Complex[Array, ""] | None = None,
) -> Float[Array, " points"]:
    r"""Integral minus sum for the signal $(a + bt)e^{ct}$, c = `slope`, a = `jump` (1 if None), b = `bend` (0 if None).

    $$dt\,\mathrm{Re}\,[a f(y) + \tfrac12 b\,dt\,f'(y)],\qquad f(y) = \coth y - 1/y,\quad y = (c - 2\pi i\nu)\,dt/2 .$$

    Other arguments as `evaluate`.
    """
    nu = start + step * jnp.arange(points, dtype=dt.dtype)
    real = jnp.broadcast_to(slope.real * dt / 2, nu.shape)
    y = jax.lax.complex(real, (slope.imag - 2 * jnp.pi * nu) * (dt / 2))
    small = jnp.abs(y) < 0.3
    safe = jnp.where(small, jnp.ones_like(y), y)
    square = jnp.where(small, y, jnp.zeros_like(y)) ** 2
    series = jnp.where(small, y, jnp.zeros_like(y)) * (1 / 3 - square * (1 / 45 - square * (2 / 945 - square / 4725)))
    # coth y = (1 + e^2y)/(1 - e^2y) up to sign, with Re y <= 0.
    e = jnp.exp(2 * safe)
    value = jnp.where(small, series, (e + 1) / (e - 1) - 1 / safe)
    if jump is not None:
        value = jump * value
    if bend is not None:
        # f' = 1 - coth^2 y + 1/y^2
        inner = jnp.where(small, y, jnp.zeros_like(y)) ** 2
        series = 1 / 3 - inner * (1 / 15 - inner * (2 / 189 - inner / 675))
        derivative = jnp.where(small, series, 1 - ((e + 1) / (e - 1)) ** 2 + 1 / safe**2)
        value = value + bend * (dt / 2).astype(bend.dtype) * derivative
    return dt * value.real


def _centred(signal: Array, length: int) -> Array:
    """Zero-pad to `length` with the middle of the record at time 0, where the interpolation is most exact."""
    half = length // 4
    gap = jnp.zeros((length - signal.shape[0],), signal.dtype)
    return jnp.concatenate([signal[half:], gap, signal[:half]])


def _kernel(x: Array, beta: float) -> Array:
    """Exponential of a semicircle, zero outside [-1, 1], with a safe derivative at its ends."""
    inside = 1 - x**2
    live = inside > 0
    root = jnp.sqrt(jnp.where(live, inside, 1.0))
    return jnp.where(live, jnp.exp(beta * (root - 1)), 0.0)


@cache
def _plan(times: int, bits: int) -> tuple[int, float, int, np.ndarray]:
    """Width and shape of the kernel, length of the transform, and what undoes the kernel in time.

    References:
        Barnett, Magland and af Klinteberg, SIAM J. Sci. Comput. 41, C479 (2019).
    """
    width = 8 if bits <= 32 else 14
    beta = 2.3 * width
    length = 4 * _smooth(-(-times // 2))
    # Fourier transform of the kernel by Gauss-Legendre quadrature; real and even.
    x, weight = np.polynomial.legendre.leggauss(60)
    kernel = np.exp(beta * (np.sqrt(1 - x**2) - 1)) * weight * (width / 2)
    t = np.arange(times) - length // 4
    transform = np.zeros(times)
    for node, value in zip(x, kernel, strict=True):
        transform += value * np.cos(2 * np.pi * t * node * (width / 2) / length)
    return width, beta, length, 1 / transform


def _smooth(n: int) -> int:
    """The least product of 2, 3 and 5 that is >= n: a fast length for the transform."""
    best = 1 << (n - 1).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            two = three
            while two < n:
                two *= 2
            best = min(best, two)
            three *= 3
        five *= 5
    return best
