r"""No exchange: sites precess independently, their frequencies commute, and everything is analytic.

Static, spinning infinitely fast, or with sidebands; thousands of sites in one call. Over a rotor period a crystallite's
phase is closed-form, its sidebands are $|\mathrm{FFT}|^2$, and each direction puts them on a fine circular frequency grid,
spread over its cell (`jaxnmr.spectrum._grids`). One Fourier transform of the grid is the free-induction decay of the powder.
"""

from __future__ import annotations

from collections.abc import Callable

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

# Bytes that one part of the powder may use.
_PART = 64 * 2**20


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
    mean = irreps if angle is None else irreps * jnp.stack(zonal(jnp.cos(angle), ranks))[:, None]
    rate = bandwidth / phase_count
    values, slopes = basis_gradients(points.directions.tobytes(), ranks)
    if smooth:
        values = values * np.stack(smoothed(points.spread, ranks))
    spread = points.spread if smooth else np.zeros_like(points.spread)
    spinning = angle is not None and phase_count > 1
    # Orientation first: (orientation, ...) of basis, its slopes, weight, cell and, of a rotor, frames.
    powder = [
        values.T,
        np.moveaxis(slopes, 2, 0),
        points.weights,
        spread,
        *([frames(points.directions)] if spinning else []),
    ]
    per_orientation = 4 * phase_count * (len(values) + 8) if spinning else 4 * len(values)
    count = len(points.weights)
    parts = -(-count * per_orientation // _PART)
    length = -(-count // parts)
    # Orientations of zero weight fill the last part.
    fill = parts * length - count
    powder = [np.concatenate([x, np.repeat(x[:1] * (i != 2), fill, axis=0)]) for i, x in enumerate(powder)]
    powder = [jnp.asarray(x.reshape(parts, length, *x.shape[1:]), dtype) for x in powder]
    gather = jnp.asarray(accumulated(phases(ranks), phase_count), dtype) if spinning else None

    def grids(part: list[Array]) -> Callable[[tuple[Array, Array, Array]], Array]:
        """For some of the orientations, the function from a site to its grid."""
        values, slopes, share, spread = part[0].T, jnp.moveaxis(part[1], 0, 2), part[2], part[3]
        path = None
        if gather is not None:
            assert angle is not None
            path = jnp.einsum("jp,rpc->rcj", gather, cone(part[4], angle, ranks))  # (irrep, orientation, phase)
            path = path.reshape(path.shape[0], -1)

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

        return site_grid

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
        signal = transform / jnp.asarray(kernel, transform.dtype)
        return signal.at[0].set(weights.sum().astype(signal.dtype))

    sites = (mean.T, irreps.T, weights)

    def over_parts(total: Callable[[list[Array]], Array]) -> Array:
        """Sum over the parts of the powder; a gradient computes each again, so that only one is ever held."""
        if parts == 1:
            return total([x[0] for x in powder])
        again = jax.checkpoint(total)
        shape = jax.eval_shape(total, [x[0] for x in powder])
        return jax.lax.scan(lambda sum_, part: (sum_ + again(part), None), jnp.zeros(shape.shape, shape.dtype), powder)[0]

    if linewidth is None:

        def of_part(part: list[Array]) -> Array:
            return _kahan(grids(part), sites, jnp.zeros((3 * size, phase_count), dtype))

        return decay(over_parts(of_part))
    time = jnp.arange(times, dtype=dtype) / bandwidth

    complex_type = jax.lax.complex(time, time).dtype

    def damped(part: list[Array]) -> Array:
        site_grid = grids(part)

        def add(total, site):
            *rest, width = site
            return total + decay(site_grid(tuple(rest))) * jnp.exp(-jnp.pi * width * time).astype(complex_type), None

        return jax.lax.scan(add, jnp.zeros(times, complex_type), (*sites, linewidth))[0]

    return over_parts(damped).at[0].set(weights.sum().astype(complex_type))


def _kahan(
    site_grid: Callable[[tuple[Array, Array, Array]], Array], sites: tuple[Array, Array, Array], empty: Array
) -> Array:
    """Kahan's sum of grids over sites: thousands of them would lose three digits of single precision."""

    def add(carry: tuple[Array, Array], site: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], None]:
        total, lost = carry
        part = site_grid(site) - lost
        summed = total + part
        return (summed, (summed - total) - part), None

    return jax.lax.scan(add, (empty, empty), sites)[0][0]
