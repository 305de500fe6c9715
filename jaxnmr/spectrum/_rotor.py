r"""Generators along a rotor period.

A generator is a polynomial of degree L <= 4 in the field's direction, so along the cone that the field describes it is a
trigonometric polynomial of the rotor phase: its values at 2L + 1 phases hold all of it. What a solver needs (means over a
time step, the accumulated phase) is a constant matrix times these values.
"""

from __future__ import annotations

from functools import cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.harmonics import harmonics

__all__ = ["accumulated", "cone", "phases", "step_means", "step_moments"]


def phases(ranks: tuple[int, ...]) -> int:
    """How many rotor phases determine a generator of these ranks."""
    return 2 * max(ranks) + 1


def cone(
    frames: Float[Array, "orientation 3 3"], angle: Float[Array, ""], ranks: tuple[int, ...]
) -> Float[Array, "irrep phase orientation"]:
    r"""The basis along the field's path $\cos\theta\,\mathbf a + \sin\theta(\cos\varphi\,\mathbf e_1 + \sin\varphi\,\mathbf
    e_2)$ in frames whose columns are $\mathbf e_1, \mathbf e_2$ and the rotor axis **a**.
    """  # noqa: D205
    count = phases(ranks)
    phi = 2 * np.pi * np.arange(count) / count
    cosine, sine = (jnp.asarray(f(phi), frames.dtype)[:, None] for f in (np.cos, np.sin))
    along, across = jnp.cos(angle), jnp.sin(angle)
    components = [
        along * frames[None, :, k, 2] + across * (cosine * frames[None, :, k, 0] + sine * frames[None, :, k, 1])
        for k in range(3)
    ]
    values = harmonics(components, ranks)
    return jnp.stack([jnp.broadcast_to(value, components[0].shape) for value in values])


@cache
def _fourier(count: int) -> np.ndarray:
    """Fourier coefficients m = -L ... L from values at `count` = 2L + 1 phases."""
    m = np.arange(count) - count // 2
    return np.exp(-2j * np.pi * np.outer(m, np.arange(count)) / count) / count


@cache
def step_means(count: int, steps: int) -> np.ndarray:
    """Matrix (step, phase): means over each of `steps` equal parts of the period from values at `count` phases."""
    m = np.arange(count) - count // 2
    middle = 2 * np.pi * (np.arange(steps) + 0.5) / steps
    mean = np.exp(1j * np.outer(middle, m)) * np.sinc(m / steps)
    return (mean @ _fourier(count)).real


@cache
def accumulated(count: int, steps: int) -> np.ndarray:
    r"""Matrix (step, phase): $\int_0^{\varphi_j}(f - \bar f)\,d\varphi/2\pi$ at $\varphi_j = 2\pi j/\mathrm{steps}$, up to
    a constant: the phase, in rotor periods, that a frequency f gathers beyond its mean.
    """  # noqa: D205
    m = np.arange(count) - count // 2
    phi = 2 * np.pi * np.arange(steps) / steps
    inverse = np.where(m == 0, 0, 1 / np.where(m == 0, 1, m))
    integral = np.exp(1j * np.outer(phi, m)) * (-1j * inverse) / (2 * np.pi)
    return (integral @ _fourier(count)).real


@cache
def step_moments(count: int, steps: int) -> np.ndarray:
    r"""Matrix (step, phase): first moments $\frac{1}{h^2}\int(t - \bar t)f\,dt$ over each of `steps` equal parts h."""
    m = np.arange(count) - count // 2
    middle = 2 * np.pi * (np.arange(steps) + 0.5) / steps
    a = np.where(m == 0, 1.0, 2 * np.pi * m / steps)
    moment = np.where(m == 0, 0, 1j * (2 * np.sin(a / 2) / a**2 - np.cos(a / 2) / a))
    return np.real((np.exp(1j * np.outer(middle, m)) * moment) @ _fourier(count))
