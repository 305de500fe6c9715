r"""The state of moving sites at the top of an ideal echo, from which the solvers of decays go on.

$$\mathbf v = \sum_{\text{pathways}} w\;e^{\mathbf L\tau}\,\mathcal C\,e^{\mathbf L_b\tau}\,\mathbf u$$

with $\mathbf L_b$ the generator of the transition that carries the coherence during the first delay, and $\mathcal C$ the
complex conjugation where the pulse reverses its order: precession runs back, jumps and damping run on. In the basis of the
modes, which is real, $e^{\mathbf L^*\tau}\mathbf u = (e^{\mathbf L\tau}\mathbf u)^*$; nothing grows beyond N x N. Line
broadening (`linewidth`) stands for the record alone and is left out of the delays.

The cells' damping (`jaxnmr.spectrum._powder`) starts at the top as well. What a nucleus at rest gathers has come back to
nothing there, and so has the mean of fast jumps; between them the mean over jumps would damp what the nuclei that have
not jumped contribute, which is most of the echo.
"""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxnmr.exchange import Liouvillian
from jaxnmr.spectrum._expm1 import expm1, multiply

__all__ = ["Leg", "Refocusing", "matrices", "rotor_top", "static_top"]


class Leg(eqx.Module):
    """One pathway: the generator of its first delay, its weight, and whether the pulse conjugates.

    Attributes:
        before: generator of the first delay, seen from the transmitter, without line broadening.
        same: whether it is also that of the second delay and of the record.
        weight: of the pathway.
        conjugate: whether the pulse reverses the order of coherence.
    """

    before: Liouvillian
    same: bool = eqx.field(static=True)
    weight: float = eqx.field(static=True)
    conjugate: bool = eqx.field(static=True)


class Refocusing(eqx.Module):
    """An echo on one observed transition.

    Attributes:
        after: generator of the second delay, seen from the transmitter, without line broadening.
        legs: its pathways.
        tau: delay, s.
        periods: delay in rotor periods, where it is so counted.
    """

    after: Liouvillian
    legs: tuple[Leg, ...]
    tau: Float[Array, ""]
    periods: int | None = eqx.field(static=True)


def matrices(generator: Liouvillian, turns: Array) -> Complex[Array, "mode mode batch"]:
    """R + 2 pi i F of each crystallite, from its F."""
    omega = 2 * jnp.pi * turns
    relaxation = jnp.broadcast_to(generator.relaxation[:, :, None], omega.shape)
    if jnp.iscomplexobj(omega):
        return jax.lax.complex(relaxation - omega.imag, omega.real)
    return jax.lax.complex(relaxation, omega)


def static_top(echo: Refocusing, turns: Callable[[Liouvillian], Array]) -> Complex[Array, "site orientation"]:
    """The state at the top, of crystallites at rest.

    Args:
        echo: its delays and pathways.
        turns: F of a generator in each crystallite, Hz.
    """

    def over_delay(generator: Liouvillian) -> Array:
        matrix = matrices(generator, turns(generator))
        e = expm1(matrix * echo.tau.astype(matrix.dtype))
        return e + jnp.eye(e.shape[0], dtype=e.dtype)[:, :, None]

    second = over_delay(echo.after)
    state = echo.after.state[None, :, None].astype(second.dtype)
    vectors = _after_pulse(echo, lambda leg: ((second if leg.same else over_delay(leg.before)) * state).sum(1))
    return _in_sites(echo, (second * vectors[None]).sum(1))


def rotor_top(echo: Refocusing, steps: Callable[[Liouvillian], Array]) -> Complex[Array, "site phase orientation"]:
    r"""The state at the top, for each start phase of the rotor.

    Over M whole periods the propagator from phase j to itself is $\mathbf A_j\mathbf U^{M-1}\mathbf B_j$.

    Args:
        echo: its delays and pathways.
        steps: propagators of a generator over the parts of a rotor period, (phase, mode, mode, orientation).
    """
    assert echo.periods is not None
    laps = echo.periods - 1

    def parts(generator: Liouvillian) -> tuple[Array, Array, Array]:
        step = steps(generator)
        _, n, _, count = step.shape
        eye = jnp.broadcast_to(jnp.eye(n, dtype=step.dtype)[:, :, None], (n, n, count))
        period, done = jax.lax.scan(lambda a, u: (multiply(u, a), a), eye, step)

        def backward(b: Array, u: Array) -> tuple[Array, Array]:
            b = multiply(b, u)
            return b, b

        _, left = jax.lax.scan(backward, eye, step, reverse=True)
        return done, period, left

    def over_delay(pieces: tuple[Array, Array, Array], vectors: Array) -> Array:
        done, period, left = pieces  # (phase, mode, mode, orientation), vectors (mode, phase, orientation)
        vectors = jnp.einsum("jabc,bjc->ajc", left, vectors)
        return jnp.einsum("jabc,bjc->ajc", done, _power_on(period, laps, vectors))

    second = parts(echo.after)
    phases, n, _, count = second[0].shape
    start = jnp.broadcast_to(echo.after.state[:, None, None], (n, phases, count)).astype(second[0].dtype)
    vectors = _after_pulse(echo, lambda leg: over_delay(second if leg.same else parts(leg.before), start))
    return _in_sites(echo, over_delay(second, vectors))


def _after_pulse(echo: Refocusing, first: Callable[[Leg], Array]) -> Array:
    """Sum of the pathways, from the state at the end of the first delay of each."""
    total = None
    for leg in echo.legs:
        state = first(leg)
        state = leg.weight * (state.conj() if leg.conjugate else state)
        total = state if total is None else total + state
    assert total is not None
    return total


def _in_sites(echo: Refocusing, vectors: Array) -> Array:
    return jnp.tensordot(echo.after.to_sites.astype(vectors.dtype), vectors, 1)


def _power_on(u: Array, exponent: int, vectors: Array) -> Array:
    """The power of a matrix on vectors (mode, many, orientation), in few products."""
    while exponent:
        if exponent % 2:
            vectors = multiply(u, vectors)
        exponent //= 2
        u = multiply(u, u) if exponent else u
    return vectors
