"""Corrections of a rate for tunnelling along one dimension, and where they end."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.errors import JaxnmrWarning, is_concrete, warn

__all__ = ["Eckart", "TransitionStateWarning", "Tunnelling", "TunnellingWarning", "Wigner"]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(400)


class TunnellingWarning(JaxnmrWarning):
    """Nuclei are too much waves for the rate that was asked for."""


class TransitionStateWarning(JaxnmrWarning):
    """A barrier too low for transition-state theory."""


class _Correction(eqx.Module):
    def log_factor(self, quantum: Array, kt: Array, forward: Array, back: Array) -> Float[Array, ...]:
        raise NotImplementedError

    def factor(self, quantum: Array, kt: Array, forward: Array, back: Array) -> Float[Array, ...]:
        """κ; arguments as `Wigner.log_factor`."""
        return jnp.exp(self.log_factor(quantum, kt, forward, back))


class Wigner(_Correction):
    r"""Leading order in ħ: $\kappa = 1 + (\hbar\omega_b / kT)^2 / 24$.

    References:
        Wigner, Z. Phys. Chem. B 19, 203 (1932).
    """

    def log_factor(self, quantum: Array, kt: Array, forward: Array, back: Array) -> Float[Array, ...]:
        """The logarithm of κ, which has a number where κ itself is beyond the largest one of single precision.

        Args:
            quantum: ħω_b, eV.
            kt: kT, eV.
            forward: barrier from this side with zero-point energies, eV.
            back: from the other side, eV.
        """
        return jnp.log1p((quantum / kt) ** 2 / 24)


class Eckart(_Correction):
    r"""Exact transmission of the Eckart barrier that has this height from both sides and this curvature.

    $$\kappa = \frac{e^{V_1/kT}}{kT}\int_{E_0}^\infty P(E)\,e^{-E/kT}\,dE,\qquad E_0 = \max(0, V_1 - V_2)$$

    References:
        Eckart, Phys. Rev. 35, 1303 (1930); Johnston, Heicklen, J. Phys. Chem. 66, 532 (1962).
    """

    def log_factor(self, quantum: Array, kt: Array, forward: Array, back: Array) -> Float[Array, ...]:
        """The logarithm of κ; arguments as `Wigner.log_factor`."""
        v1, v2 = (jnp.maximum(v, 1e-6 * quantum) for v in (forward, back))
        a1, a2 = 2 * jnp.pi * v1 / quantum, 2 * jnp.pi * v2 / quantum
        bottom, top = jnp.maximum(v1 - v2, 0.0), jnp.maximum(v1, v1 - v2) + 40 * kt
        nodes, log_weights = jnp.asarray(_NODES, kt.dtype), jnp.asarray(np.log(_WEIGHTS), kt.dtype)
        level, each = (x.reshape((1,) * kt.ndim + x.shape) for x in (nodes, log_weights))
        pieces = []
        # Two pieces, below and above the top: P bends there.
        for low, high in ((bottom + 0 * kt, v1 + 0 * kt), (v1 + 0 * kt, top)):
            half = (high - low)[..., None] / 2
            energy = low[..., None] + half * (1 + level)
            # Where the far side is the higher one nothing lies between bottom and top: no share, and no derivative.
            width = jnp.where(half > 0, jnp.log(jnp.where(half > 0, half, 1.0)), -jnp.inf)
            pieces.append(width + each + _log_transmission(energy / v1, a1, a2) + (v1 - energy) / kt[..., None])
        return jax.nn.logsumexp(jnp.concatenate(pieces, axis=-1), axis=-1) - jnp.log(kt)


def _log_transmission(xi: Array, a1: Array, a2: Array) -> Array:
    share = 1 / (a1**-0.5 + a2**-0.5)
    a = 2 * share * jnp.sqrt(a1 * xi)
    b = 2 * share * jnp.sqrt(jnp.maximum((xi - 1) * a1 + a2, 1e-30))
    inside = a1 * a2 - jnp.pi**2 / 4
    d = 2 * jnp.sqrt(jnp.where(inside > 0, inside, 1.0))
    low = jnp.cos(2 * jnp.sqrt(jnp.where(inside > 0, 0.0, -inside)))
    # Hyperbolic cosines times one factor, so that none overflows; their difference above as a product, so that far below
    # the top it does not vanish.
    scale = jnp.maximum(a + b, jnp.where(inside > 0, d, 0.0))
    cosh = lambda x: (jnp.exp(x - scale) + jnp.exp(-x - scale)) / 2  # noqa: E731
    fixed = jnp.where(inside > 0, cosh(d), low * jnp.exp(-scale))
    above = a + b - scale + jnp.log(-jnp.expm1(-2 * a)) + jnp.log(-jnp.expm1(-2 * b)) - jnp.log(2.0)
    return above - jnp.log(cosh(a + b) + fixed)


Tunnelling = Wigner | Eckart


def warn_of_tunnelling(quantum: Array, kt: Array, barrier: Array, corrected: Array, corrects: bool) -> bool:
    """Warn where jumps over one barrier, or one-dimensional corrections to them, are not to be trusted.

    Args:
        quantum: ħω_b, eV.
        kt: kT, eV.
        barrier: of the surface, eV.
        corrected: the lowest barrier with zero-point energies, eV; that of the surface for classical nuclei.
        corrects: whether a correction for tunnelling is asked for.

    Returns:
        Whether it was told that no barrier is left.
    """
    if not is_concrete(quantum, kt, barrier, corrected):
        return False
    ratio = float(np.max(np.asarray(quantum / kt)))
    lowest = float(np.min(np.asarray(corrected)))
    low = float(np.min(np.minimum(np.asarray(barrier), np.asarray(corrected)) / np.asarray(quantum)))
    if lowest <= 0:
        warn(
            f"tunnelling: with zero-point energies the saddle lies {-lowest:.3g} below a minimum (in the surface's energy): "
            "nothing is left to jump over, and a harmonic quantum rate or its correction is the rate of no process. Use "
            "path integrals, or averages over the motion.",
            TunnellingWarning,
        )
    if corrects and ratio > 4:
        warn(
            f"tunnelling: hbar omega_b / kT reaches {ratio:.2g}; above 4 the Wigner and Eckart corrections fail, by "
            "orders of magnitude at low temperature. Leave these temperatures out, or use a theory of instantons or "
            "path integrals.",
            TunnellingWarning,
        )
    elif corrects and 0 < lowest and low < 1:
        warn(
            f"tunnelling: the barrier is only {low:.2g} quanta of its own frequency high, so that the proton has no state "
            "below its top; the jump is no activated one, and its rate an upper estimate at best.",
            TunnellingWarning,
        )
    return lowest <= 0


def warn_of_speed(share: Array, temperature: Array, name: str) -> None:
    """Warn of a rate above kT/h: a free energy that is no higher on the saddle than in the well.

    Args:
        share: of each way, k h / kT.
        temperature: K, of the same shape.
        name: of the rate, for the message.
    """
    if not is_concrete(share, temperature):
        return
    shares, temperatures = np.broadcast_arrays(np.asarray(share), np.asarray(temperature))
    if (shares > 1).any():
        at, most = float(temperatures[shares > 1].min()), float(shares.max())
        warn(
            f"{name}: exceeds kT/h at {at:g} K (up to {most:.2g} times): the barrier is so low that atoms do not settle "
            "before they cross it again, and transition-state theory does not hold. Count what happens in a trajectory "
            "instead: `counted_rates`.",
            TransitionStateWarning,
        )
