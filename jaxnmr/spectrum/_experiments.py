"""Experiments: what the spectrometer does to the sample."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import ArrayLike

from jaxnmr.errors import is_concrete
from jaxnmr.spectrum._echoes import Echo, scalar, synchronised
from jaxnmr.spins import Pulse, Transition

__all__ = ["MAGIC_ANGLE", "MAS", "Static"]

# A number that is known stays a NumPy array, so that sizes can be chosen from it inside jit.
Scalar = Any

MAGIC_ANGLE = float(np.arctan(np.sqrt(2.0)))


class Static(eqx.Module):
    """A static powder.

    Args:
        field: tesla.
        transition: None, the central line of half-integer spins and all lines of integer spins; "central"; "all"; or
            (m, m - 1).
        echo: `SolidEcho` or `HahnEcho` before the record, which then starts at the echo's top; None for a plain decay.
        excitation: `jaxnmr.spins.Pulse` that made the signal; None for an ideal one. Each line of each site has its mean
            over the powder (`jaxnmr.spins.transition_weights`); the integral is the signal relative to an ideal pulse's.

    Raises:
        ValueError: field <= 0, an echo whose delay is in rotor periods, an excitation with an echo.
    """

    field: Scalar
    transition: Transition = eqx.field(static=True)
    echo: Echo | None
    excitation: Pulse | None

    def __init__(
        self,
        field: ArrayLike,
        transition: Transition = None,
        echo: Echo | None = None,
        excitation: Pulse | None = None,
    ):
        self.field = scalar("field", field)
        self.transition = _hashable(transition)
        self.echo = synchronised(echo, None)
        self.excitation = excitation

    def __check_init__(self):
        _check_field(self.field)
        _check_excitation(self.excitation, self.echo)


class MAS(eqx.Module):
    """A powder spinning about an axis inclined to the field.

    Args:
        field: tesla.
        rate: rotor frequency, Hz; `inf` for the limit without sidebands.
        angle: between rotor axis and field, radians; the magic angle by default.
        transition: as in `Static`.
        echo: as in `Static`; its delay is a whole number of rotor periods.
        excitation: as in `Static`; short beside a rotor period.

    Raises:
        ValueError: field <= 0, rate <= 0 (use `Static` for 0), an echo that is not synchronised with the rotor, an
            excitation with an echo.
    """

    field: Scalar
    rate: Scalar
    angle: Scalar
    transition: Transition = eqx.field(static=True)
    echo: Echo | None
    excitation: Pulse | None
    # Known when built, because it chooses the algorithm; a traced rate is finite.
    infinite: bool = eqx.field(static=True)

    def __init__(
        self,
        field: ArrayLike,
        rate: ArrayLike,
        angle: ArrayLike = MAGIC_ANGLE,
        transition: Transition = None,
        echo: Echo | None = None,
        excitation: Pulse | None = None,
    ):
        self.field = scalar("field", field)
        self.rate = scalar("rate", rate)
        self.angle = scalar("angle", angle)
        self.transition = _hashable(transition)
        self.infinite = is_concrete(self.rate) and bool(np.isinf(self.rate))
        # Counted here, where the rate is known: inside jit it is traced.
        self.echo = synchronised(echo, self.rate)
        self.excitation = excitation

    def __check_init__(self):
        _check_field(self.field)
        _check_excitation(self.excitation, self.echo)
        if is_concrete(self.rate) and not self.rate > 0:
            raise ValueError(
                f"rate: got {float(self.rate):g} Hz; a rotor frequency is > 0 (use Static for a rotor at rest)."
            )
        if is_concrete(self.angle) and not np.isfinite(self.angle):
            raise ValueError(f"angle: got {float(self.angle):g}; give radians between rotor axis and field.")


def _hashable(transition: Transition) -> Transition:
    if transition is None or isinstance(transition, str):
        return transition
    try:
        return tuple(transition)  # type: ignore[return-value]
    except TypeError:
        raise ValueError(f"transition: got {transition!r}; use None, 'central', 'all' or a pair (m, m - 1).") from None


def _check_excitation(excitation: Pulse | None, echo: Echo | None) -> None:
    if excitation is None:
        return
    if not isinstance(excitation, Pulse):
        raise ValueError(f"excitation: got {type(excitation).__name__}; give jaxnmr.spins.Pulse or None.")
    if echo is not None:
        raise ValueError("excitation: came together with an echo, whose pulses are ideal; leave one of them out.")


def _check_field(field: Scalar) -> None:
    if is_concrete(field) and not (field > 0 and np.isfinite(field)):
        raise ValueError(f"field: got {float(field):g} T; give the static field in tesla, > 0.")
