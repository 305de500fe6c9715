"""Ideal echoes: what stands between excitation and the record."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from jaxnmr.errors import is_concrete, kept
from jaxnmr.isotopes import Isotope

__all__ = ["Echo", "HahnEcho", "SolidEcho", "check_spin", "known_delay", "scalar", "synchronised"]

# How far, in rotor periods, a delay given in seconds may be from a whole number.
_SYNCHRONY = 1e-4


class HahnEcho(eqx.Module):
    r"""90 - tau - 180 - tau - record, with ideal pulses that act on every transition alike.

    The second pulse conjugates all coherence, so that shift and, of the central transition, the quadrupole refocus:

    $$s(t) = \mathbf 1^T e^{\mathbf Lt}\,e^{\mathbf L\tau}\,e^{\mathbf L^*\tau}\,\mathbf p .$$

    Jumps (real parts of **L**) do not refocus. Under spinning tau is a whole number of rotor periods, and both delays start
    at the same rotor phase. A transition (m, m - 1) other than the central one comes from (1 - m, -m): its first-order
    quadrupole does not refocus (use `SolidEcho` for spin 1).

    Args:
        tau: from the excitation to the second pulse, s; under spinning a whole number of rotor periods.
        periods: the same in rotor periods (spinning at a finite rate only); the rate may then be traced.

    Raises:
        ValueError: neither or both given, tau < 0, periods < 1.

    References:
        Hahn, Phys. Rev. 80, 580 (1950).
    """

    tau: Any
    periods: int | None = eqx.field(static=True)

    def __init__(self, tau: ArrayLike | None = None, *, periods: int | None = None):
        self.tau, self.periods = _delay(tau, periods)

    def __check_init__(self):
        _check_delay(self.tau, self.periods)


class SolidEcho(eqx.Module):
    r"""90x - tau - 90y - tau - record, with ideal pulses: the quadrupolar echo of integer spins.

    For spin 1 the second pulse sends each coherence, with equal amplitude, along two pathways:

    - conjugated within its transition, where all precession refocuses, quadrupole and shift;
    - unconjugated into the other transition, where the first-order quadrupole refocuses, and neither the offset
      from the transmitter nor the second order does.

    $$s_m(t) = \tfrac12\,\mathbf 1^T e^{\mathbf L_mt}\,e^{\mathbf L_m\tau}
      \left[e^{\mathbf L_m^*\tau} + e^{\mathbf L_{1-m}\tau}\right]\mathbf p$$

    For pure first-order coupling on resonance both are the same, and at rest both restore the whole pattern. Spins above 1
    have more pathways and refocus in part; all that end in observed coherence are followed.

    Args:
        tau: from the excitation to the second pulse, s; under spinning a whole number of rotor periods.
        periods: the same in rotor periods (spinning at a finite rate only); the rate may then be traced.
        carrier: transmitter, Hz from the reference: both kinds of pathway, as the usual phase cycles keep them. None: the
            conjugating ones alone, scaled to the same amplitude, so that offsets play no part (a cycle that subtracts
            90x - tau - 90x selects them).

    Raises:
        ValueError: neither or both of tau and periods given, tau < 0, periods < 1; with the spin known (`simulate`), a
            half-integer spin.

    References:
        Davis et al., Chem. Phys. Lett. 42, 390 (1976), for 2H; Solomon, Phys. Rev. 110, 61 (1958), for half-integer spins.
    """

    tau: Any
    periods: int | None = eqx.field(static=True)
    carrier: Any

    def __init__(self, tau: ArrayLike | None = None, *, periods: int | None = None, carrier: ArrayLike | None = None):
        self.tau, self.periods = _delay(tau, periods)
        self.carrier = None if carrier is None else scalar("carrier", carrier)

    def __check_init__(self):
        _check_delay(self.tau, self.periods)
        if self.carrier is not None and is_concrete(self.carrier) and not np.isfinite(self.carrier):
            raise ValueError(f"carrier: got {float(self.carrier):g}; give the transmitter in Hz from the reference.")


Echo = HahnEcho | SolidEcho


def synchronised(echo: Echo | None, rate: Any) -> Echo | None:
    """The echo with its delay as rotor periods where the rate is finite, and in seconds where there is no rotor phase.

    Args:
        echo: what the user gave.
        rate: rotor frequency, Hz; None or `inf` without rotor phases.

    Raises:
        ValueError: periods without a rate, a delay that is not whole, or one of which this cannot be told.
    """
    if echo is None:
        return None
    if not isinstance(echo, Echo):
        raise ValueError(f"echo: got {type(echo).__name__}; give SolidEcho, HahnEcho or None.")
    if rate is None or (is_concrete(rate) and bool(np.isinf(rate))):
        if echo.periods is not None:
            raise ValueError(f"periods: got {echo.periods}, but no rotor turns at a finite rate here; give tau in seconds.")
        return echo
    if echo.periods is not None:
        return echo
    if not is_concrete(echo.tau, rate):
        raise ValueError(
            "tau: traced, or the rate is, so whole rotor periods cannot be counted; give the delay as periods=...."
        )
    tau = float(echo.tau)
    turns = tau * float(rate)
    whole = round(turns)
    if whole < 1 or abs(turns - whole) > _SYNCHRONY * max(1, whole):
        near = f"periods={max(1, whole)} (tau = {max(1, whole) / float(rate):.6g} s)"
        raise ValueError(
            f"tau: got {tau:.6g} s, which is {turns:.6g} rotor periods at {float(rate):g} Hz; an echo under "
            f"spinning needs a whole number of them, such as {near}."
        )
    if isinstance(echo, SolidEcho):
        return SolidEcho(periods=whole, carrier=echo.carrier)
    return HahnEcho(periods=whole)


def check_spin(echo: Echo | None, nucleus: Isotope) -> None:
    """Refuse an echo that this spin does not have.

    Raises:
        ValueError: a solid echo of a half-integer spin.
    """
    twice = round(2 * nucleus.spin)
    if isinstance(echo, SolidEcho) and twice % 2:
        raise ValueError(
            f"echo: got SolidEcho for {nucleus.name}, of half-integer spin {twice}/2; SolidEcho is implemented for "
            "integer spins, such as 2H. Use HahnEcho."
        )


def known_delay(echo: Echo | None, rate: float | None) -> float:
    """The delay in seconds, or 0 where there is none or it is traced."""
    if echo is None:
        return 0.0
    if echo.periods is not None:
        return 0.0 if rate is None else echo.periods / rate
    return float(echo.tau) if is_concrete(echo.tau) else 0.0


def _delay(tau: ArrayLike | None, periods: int | None) -> tuple[Any, int | None]:
    if (tau is None) == (periods is None):
        raise ValueError(f"tau: got tau={tau!r} and periods={periods!r}; give one of them.")
    if periods is None:
        assert tau is not None
        return scalar("tau", tau), None
    if isinstance(periods, bool) or not isinstance(periods, int | np.integer):
        raise ValueError(f"periods: got {periods!r}; give a whole number of rotor periods.")
    return None, int(periods)


def _check_delay(tau: Any, periods: int | None) -> None:
    if periods is not None and periods < 1:
        raise ValueError(f"periods: got {periods}; give 1 or more rotor periods.")
    if tau is not None and is_concrete(tau) and not (math.isfinite(tau) and tau >= 0):
        raise ValueError(f"tau: got {float(tau):g} s; a delay is finite and >= 0.")


def scalar(name: str, value: ArrayLike) -> Any:
    """One number; NumPy where it is known, so that sizes can be chosen from it inside jit."""
    number = kept(value, jnp.result_type(float))
    if number.ndim:
        raise ValueError(f"{name}: got shape {number.shape}; give one number (vmap over more).")
    return number
