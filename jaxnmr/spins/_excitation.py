r"""How strongly a real pulse excites each line: the nutation of a spin with a quadrupole coupling."""

from __future__ import annotations

import math
from functools import cache, partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float

from jaxnmr.errors import is_concrete, kept
from jaxnmr.harmonics import fibonacci_hemisphere
from jaxnmr.isotopes import isotope as look_up
from jaxnmr.rotations import Numeric, as_floats
from jaxnmr.spins._sites import Sites
from jaxnmr.spins._transitions import Transition, transitions

__all__ = ["Pulse", "line_amplitudes", "transition_weights"]


class Pulse(eqx.Module):
    r"""One pulse on resonance with the central frequency, before the record.

    Args:
        nutation_frequency: $\nu_1 = |\gamma B_1|/2\pi$ > 0, Hz, as measured on a liquid; a central transition alone nutates
            $I + 1/2$ times as fast.
        length: s, >= 0.

    Raises:
        ValueError: values that are no single numbers, not finite or out of range.
    """

    nutation_frequency: Any
    length: Any

    def __init__(self, nutation_frequency: ArrayLike, length: ArrayLike):
        self.nutation_frequency, self.length = (kept(x, jnp.result_type(float)) for x in (nutation_frequency, length))

    def __check_init__(self):
        for name, value, least in (
            ("nutation_frequency", self.nutation_frequency, "> 0, in Hz"),
            ("length", self.length, ">= 0, in s"),
        ):
            if value.ndim:
                raise ValueError(f"{name}: got shape {value.shape}; give one number (vmap over more).")
            if is_concrete(value):
                known = float(np.asarray(value))
                if not math.isfinite(known) or known < 0 or (known == 0 and name == "nutation_frequency"):
                    raise ValueError(f"{name}: got {known:g}; give a finite number {least}.")

    @property
    def flip_angle(self) -> Any:
        r"""$2\pi\nu_1 t$, radians, of a spin without coupling."""
        return 2 * math.pi * self.nutation_frequency * self.length


def line_amplitudes(isotope: str, pulse: Pulse, coupling: Numeric) -> Float[Array, "transition ..."]:
    r"""Amplitude of each single-quantum line of one crystallite, 1 for an ideal 90-degree pulse.

    $$H/h = \nu_1 I_x + \frac{q_{zz}}{4I(2I-1)}[3I_z^2 - I(I+1)],\qquad
      \rho = e^{-2\pi iHt}\,I_z\,e^{2\pi iHt},\qquad
      a_m = \mathrm{Re}\,\frac{2i\,\rho_{m-1,m}}{\sqrt{I(I+1) - m(m-1)}}\,e^{i\pi f_mt}$$

    with $q_{zz} = \mathbf n\cdot\mathbf q\,\mathbf n$ along the field and $f_m$ the line's first-order frequency. The
    last factor is the linear phase correction that counts time from the pulse's middle, as spectra are phased; what is
    out of phase after it is left out. Offsets and second order during the pulse are too.

    Limits: $\sin 2\pi\nu_1t$ for every line where $\nu_1$ exceeds all quadrupole frequencies; $2\pi\nu_1t\,
    \mathrm{sinc}(f_mt)$ for short pulses, so that the central line then grows alike at every coupling; where the coupling
    exceeds $\nu_1$, $\sin[2\pi(I + 1/2)\nu_1t]/(I + 1/2)$ for the central line and little for the others.

    Smooth in the pulse and the coupling, both modes.

    Args:
        isotope: name, such as "27Al".
        pulse: nutation frequency and length.
        coupling: $q_{zz}$, Hz, (...); zero for spin 1/2.

    Returns:
        $a_m$ for m = I, I - 1, ..., 1 - I, (transition, ...).

    Raises:
        ValueError: an unknown isotope.

    References:
        Samoson and Lippmaa, Phys. Rev. B 28, 6567 (1983); Fenzke, Freude, Fröhlich and Haase, Chem. Phys. Lett. 111, 171
        (1984), for central transitions; Abragam, The Principles of Nuclear Magnetism (1961), for the limits.
    """
    q, nu_1, length = as_floats(coupling, pulse.nutation_frequency, pulse.length)
    return _amplitudes(look_up(isotope).spin, nu_1, length, q.reshape(-1)).reshape(-1, *q.shape)


def transition_weights(
    sites: Sites, pulse: Pulse, transition: Transition = None, *, orientations: int = 500
) -> Float[Array, "transition site"]:
    r"""Signal of each observed line of a powder after a pulse, relative to all of the signal after an ideal one.

    $$w_{m,i} = W_m\,\langle a_m(\mathbf n\cdot\mathbf q_i\,\mathbf n)\rangle_{\mathbf n}$$

    with $W_m$ the share that `transitions` gives and $a_m$ of `line_amplitudes`. Under spinning the same holds for pulses
    that are short beside the rotor period. The intensity over a line's powder pattern is not even either (satellites far
    from the centre are excited less); this is its mean.

    Smooth in tensors and pulse, both modes.

    Args:
        sites: tensors; without `quadrupole` every line has the amplitude $\sin 2\pi\nu_1t$.
        pulse: nutation frequency and length.
        transition: as in `transitions`: which lines are observed, "all" for central and satellites.
        orientations: crystallites of the average; more for pulses long beside the inverse of the pattern's width.

    Returns:
        One row a line, in the order of `transitions`, one column a site; each column of an ideal 90-degree pulse sums to
        one.

    Raises:
        ValueError: a transition that this spin does not have, fewer than 1 orientations.
    """
    if isinstance(orientations, bool) or not isinstance(orientations, int | np.integer) or orientations < 1:
        raise ValueError(f"orientations: got {orientations!r}; give an integer >= 1.")
    nucleus = sites.nucleus
    observed = transitions(nucleus, transition)
    dtype = sites.shift.dtype
    if sites.quadrupole is None:
        along = jnp.zeros((1, len(sites)), dtype)
    else:
        n = jnp.asarray(fibonacci_hemisphere(orientations), dtype)
        along = jnp.einsum("da,sab,db->ds", n, sites.quadrupole, n, precision="highest")
    amplitudes = line_amplitudes(nucleus.name, pulse, along).mean(1).astype(dtype)
    rows = np.array([round(nucleus.spin - m) for m, _ in observed])
    shares = jnp.asarray([share for _, share in observed], dtype)
    return shares[:, None] * amplitudes[rows]


@partial(jax.jit, static_argnames="spin")
def _amplitudes(
    spin: float, nu_1: Float[Array, ""], length: Float[Array, ""], q: Float[Array, " batch"]
) -> Float[Array, "transition batch"]:
    rho = _after(spin, nu_1, length, q)
    levels, ladder = _levels(spin)
    slope = 3 * math.pi * _quadratic(spin) * (1 - 2 * levels[:-1])
    phase = jnp.asarray(slope, q.dtype)[:, None] * (length * q)[None, :]
    # Re[2 i rho e^{i phase}] of the elements under the diagonal.
    below = jnp.diagonal(rho, -1, 1, 2).T
    return -2 * (below.imag * jnp.cos(phase) + below.real * jnp.sin(phase)) / jnp.asarray(ladder, q.dtype)[:, None]


def _quadratic(spin: float) -> float:
    """The factor 1 / 4I(2I - 1) of the first-order coupling; none for spin 1/2."""
    return 0.0 if spin == 0.5 else 1 / (4 * spin * (2 * spin - 1))


@cache
def _levels(spin: float) -> tuple[np.ndarray, np.ndarray]:
    """Levels m from I down, and <m|I+|m - 1> of each neighbouring pair."""
    levels = spin - np.arange(round(2 * spin) + 1)
    return levels, np.sqrt(spin * (spin + 1) - levels[:-1] * (levels[:-1] - 1))


@cache
def _parity(spin: float) -> tuple[np.ndarray, np.ndarray]:
    """Columns of even and of odd states under m -> -m, (level, even) and (level, odd)."""
    levels, _ = _levels(spin)
    count = len(levels)
    even, odd = [], []
    for i in range(count // 2):
        for sign, states in ((1, even), (-1, odd)):
            state = np.zeros(count)
            state[i], state[count - 1 - i] = np.sqrt(0.5), sign * np.sqrt(0.5)
            states.append(state)
    if count % 2:
        even.append(np.eye(count)[count // 2])
    return np.stack(even, 1), np.stack(odd, 1)


def _after(
    spin: float, nu_1: Float[Array, ""], length: Float[Array, ""], q: Float[Array, " batch"]
) -> Complex[Array, "batch level level"]:
    r"""The density matrix $e^{-2\pi iHt}I_ze^{2\pi iHt}$.

    A half turn about x leaves H alone, so H has two blocks, each tridiagonal without zeros beside the diagonal: no two
    eigenvalues of a block ever meet, and derivatives of eigenvectors are safe. (Of the whole H the levels +-m of a strong
    coupling are nearly equal.) I_z joins the blocks.
    """
    levels, ladder = _levels(spin)
    i_x = (np.diag(ladder, 1) + np.diag(ladder, -1)) / 2
    quadrupole = _quadratic(spin) * np.diag(3 * levels**2 - spin * (spin + 1))

    def turned(states: np.ndarray) -> Array:
        first, second = (jnp.asarray(states.T @ part @ states, q.dtype) for part in (i_x, quadrupole))
        values, vectors = jnp.linalg.eigh(nu_1 * first[None] + q[:, None, None] * second[None])
        angle = -2 * math.pi * length * values
        wave = jax.lax.complex(jnp.cos(angle), jnp.sin(angle))
        vectors = vectors.astype(wave.dtype)
        return jnp.einsum("bij,bj,bkj->bik", vectors, wave, vectors, precision="highest")

    even, odd = _parity(spin)
    left, right = turned(even), turned(odd)
    joined = jnp.asarray(even.T @ np.diag(levels) @ odd, left.dtype)
    corner = jnp.einsum("bij,jk,blk->bil", left, joined, right.conj(), precision="highest")
    part = jnp.einsum(
        "mi,bil,nl->bmn", jnp.asarray(even, left.dtype), corner, jnp.asarray(odd, left.dtype), precision="highest"
    )
    return part + jnp.swapaxes(part.conj(), 1, 2)
