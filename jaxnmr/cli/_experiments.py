"""Experiments as tables and flags say them: rotor, transition, echo."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

import jaxnmr as jn
from jaxnmr.cli._say import Failure

__all__ = ["echo_of", "experiment_of", "transition_of"]

Echo = jn.SolidEcho | jn.HahnEcho
Transition = str | tuple[float, float] | None


def experiment_of(
    field: float,
    rate: float,
    angle_deg: float | None,
    transition: Transition,
    echo: Echo | None,
    excitation: jn.spins.Pulse | None = None,
) -> jn.Static | jn.MAS:
    """At rest where the rate is 0.

    Raises:
        Failure: an angle without a rotor.
        ValueError: what the library refuses.
    """
    if rate == 0:
        if angle_deg is not None:
            raise Failure("experiment.angle_deg: came without a rotor; give rate_hz (--rate-hz) too, or leave it out.")
        return jn.Static(field, transition, echo, excitation)
    if angle_deg is None:
        return jn.MAS(field, rate, transition=transition, echo=echo, excitation=excitation)
    return jn.MAS(field, rate, np.radians(angle_deg), transition=transition, echo=echo, excitation=excitation)


def echo_of(kind: str | None, tau_us: float | None, periods: int | None, nucleus: jn.isotopes.Isotope) -> Echo | None:
    """By default the kind that restores the whole line: solid for integer spins, Hahn for the others.

    Raises:
        Failure: a kind without its delay, or two delays.
    """
    if tau_us is None and periods is None:
        if kind is not None:
            raise Failure(
                "experiment.echo: the delay is missing; give echo_tau_us (--echo-tau-us), or echo_periods (--echo-periods) "
                "under spinning."
            )
        return None
    if tau_us is not None and periods is not None:
        raise Failure("experiment.echo_tau_us: came together with echo_periods; give one of them.")
    solid = (kind or ("solid" if float(nucleus.spin).is_integer() else "hahn")) == "solid"
    make = jn.SolidEcho if solid else jn.HahnEcho
    return make(periods=periods) if tau_us is None else make(1e-6 * tau_us)


def transition_of(text: str | None) -> Transition:
    """The name as it is, or two levels, "3/2,1/2".

    Raises:
        Failure: levels that are no numbers.
    """
    if text is None or "," not in text:
        return text
    try:
        upper, lower = (float(Fraction(part.strip())) for part in text.split(","))
    except (ValueError, ZeroDivisionError):
        raise Failure(f"experiment.transition: got {text!r}; give central, all, or m,m-1, as 3/2,1/2.") from None
    return upper, lower
