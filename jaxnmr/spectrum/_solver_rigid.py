r"""No exchange: sites precess independently, their frequencies commute, and everything is analytic.

Static, spinning infinitely fast, or with sidebands; thousands of sites in one call. Over a rotor period a crystallite's
phase is closed-form, its sidebands are $|\mathrm{FFT}|^2$, and each direction puts them on a fine circular frequency grid,
spread over its cell (`jaxnmr.spectrum._grids`). One Fourier transform of the grid is the free-induction decay of the powder.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxnmr.harmonics import frames, smoothed, zonal
from jaxnmr.spectrum._cis import cis
from jaxnmr.spectrum._grids import Points, basis_gradients
from jaxnmr.spectrum._rotor import accumulated, cone, phases

__all__ = ["rigid_signal"]

# Bins of the frequency grid for each point of the decay: the spreading kernel then aliases below 1e-4.
_BINS = 4


def _mixture(count: int) -> tuple[tuple[float, float], ...]:
    r"""A Gaussian as a mixture of boxes: squared widths, in units of the variance, and masses.

    A Gaussian of unit variance is a mixture of boxes of squared width 8y, y distributed as $\sqrt{y}e^{-y}$; Gauss-Laguerre
    quadrature in y keeps the moments up to order 4 count - 2, and boxes can be put on a grid exactly.
    """
    diagonal = 2 * np.arange(count) + 1.5
    off = np.sqrt(np.arange(1, count) * (np.arange(1, count) + 0.5))
    nodes, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1))
    return tuple((float(8 * y), float(v**2)) for y, v in zip(nodes, vectors[0], strict=True))


_BOXES = _mixture(3)


def rigid_signal(
    irreps: Float[Array, "irrep site"],
    weights: Float[Array, " site"],
    linewidth: Float[Array, " site"] | None,
    points: Points,
    ranks: tuple[int, ...],
    bandwidth: Float[Array, ""],
    periods: int,
    phase_count: int,
    angle: Float[Array, ""] | None,
    smooth: bool,
) -> Complex[Array, " times"]:
    r"""Powder-averaged free-induction decay $\sum_i w_i\langle e^{2\pi i\int\nu_i dt}\rangle$.

    Args:
        irreps: frequencies of the sites from the carrier, Hz.
        weights: of the sites.
        linewidth: FWHM of each site, Hz, or None where one is applied afterwards.
        points: powder grid.
        ranks: of the irreps.
        bandwidth: 1 / dt, Hz; with `phase_count` n it is n times the rotor frequency.
        periods: rotor periods of the decay; its length is `periods * phase_count`.
        phase_count: samples in a rotor period; 1 without sidebands.
        angle: of the rotor, radians; None for a static sample.
        smooth: spread each direction over its cell.

    Returns:
        The decay at t = 0, dt, ..., unit at t = 0, (times,).
    """
    dtype = irreps.dtype
    times = periods * phase_count
    size = periods * _BINS  # bins per rotor frequency
    values, slopes = (jnp.asarray(array, dtype) for array in basis_gradients(points.directions.tobytes(), ranks))
    if smooth:
        values = values * jnp.asarray(np.stack(smoothed(points.spread, ranks)), dtype)
    share = jnp.asarray(points.weights, dtype)
    spread = jnp.asarray(points.spread if smooth else np.zeros_like(points.spread), dtype)
    mean = irreps if angle is None else irreps * jnp.stack(zonal(jnp.cos(angle), ranks))[:, None]
    path = None
    if angle is not None and phase_count > 1:
        axes = jnp.asarray(frames(points.directions), dtype)
        along = cone(axes, angle, ranks)
        gather = jnp.asarray(accumulated(phases(ranks), phase_count), dtype)
        path = jnp.einsum("jp,rpc->rcj", gather, along)  # (irrep, orientation, phase)
        path = path.reshape(path.shape[0], -1)
    rate = bandwidth / phase_count

    def site_grid(site: tuple[Array, Array, Array]) -> Array:
        """Differences of the density on the grid, (3 size, phase_count): below, on and above the central order."""
        mean_irreps, all_irreps, weight = site
        bins = (mean_irreps @ values) * (size / rate)
        slope = (slopes * mean_irreps[None, :, None]).sum(1) * (size / rate)
        variance = spread * (slope**2).sum(0)
        order = jnp.floor(jax.lax.stop_gradient(bins) / size)
        bins = bins - size * order
        if path is None:
            amplitude = jnp.ones((bins.shape[0], 1), dtype)
        else:
            turns = (all_irreps @ path).reshape(-1, phase_count) / rate
            harmonic = order[:, None] * jnp.arange(phase_count, dtype=dtype)[None, :] / phase_count
            cosine, sine = cis(turns + harmonic)
            sidebands = jnp.fft.fft(jax.lax.complex(cosine, sine), axis=1) / phase_count
            amplitude = sidebands.real**2 + sidebands.imag**2
        rows = jnp.zeros((3 * size, phase_count), dtype)
        for node, mass in _BOXES:
            # One bin wide at least; the excess is divided out below.
            width = jnp.minimum(jnp.sqrt(node * variance + 1), size)
            height = amplitude * (mass * weight * share / width)[:, None]
            for sign in (1, -1):
                edge = bins - sign * width / 2 + size
                nearest = jnp.round(jax.lax.stop_gradient(edge))
                part = (edge - nearest)[:, None]
                index = nearest.astype(jnp.int32)
                # A parabolic spline, whose slope is continuous: gradients in frequencies are as exact as values.
                for step, share_of in ((-1, (0.5 - part) ** 2 / 2), (0, 0.75 - part**2), (1, (0.5 + part) ** 2 / 2)):
                    rows = rows.at[index + step].add(sign * share_of * height, mode="promise_in_bounds")
        return rows

    def decay(rows: Array) -> Array:
        """From differences on the grid to the decay."""
        lower, central, upper = rows[:size], rows[size : 2 * size], rows[2 * size : 3 * size]
        central = central + jnp.roll(lower, -1, axis=1) + jnp.roll(upper, 1, axis=1)
        line = central.T.reshape(-1)
        length = line.shape[0]
        transform = jnp.fft.ifft(line)[:times] * length
        # Differences -> density: divide by the box' own transform; the spline and the floor of the width: sinc^4.
        t = np.arange(times) / length
        kernel = np.sinc(t) ** 4 * (-2j * np.pi * t)
        kernel[0] = 1.0
        total = weights.sum() if linewidth is None else None
        signal = transform / jnp.asarray(kernel, transform.dtype)
        return signal if total is None else signal.at[0].set(total.astype(signal.dtype))

    sites = (mean.T, irreps.T, weights)
    if linewidth is None:

        def add_site(carry: tuple[Array, Array], site: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], None]:
            """Kahan's sum: thousands of sites would lose three digits of single precision."""
            total, lost = carry
            part = site_grid(site) - lost
            summed = total + part
            return (summed, (summed - total) - part), None

        empty = jnp.zeros((3 * size, phase_count), dtype)
        rows = jax.lax.scan(add_site, (empty, empty), sites)[0][0]
        return decay(rows)
    time = jnp.arange(times, dtype=dtype) / bandwidth

    def add(total, site):
        *rest, width = site
        signal = decay(site_grid(tuple(rest)))
        signal = signal.at[0].set(rest[2].astype(signal.dtype))
        return total + signal * jnp.exp(-jnp.pi * width * time).astype(complex_type), None

    complex_type = jax.lax.complex(time, time).dtype
    return jax.lax.scan(add, jnp.zeros(times, complex_type), (*sites, linewidth))[0]
