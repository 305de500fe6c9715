"""Which coherences a spectrum observes, and how strongly."""

from __future__ import annotations

from jaxnmr.errors import near
from jaxnmr.isotopes import Isotope

__all__ = ["Transition", "transitions"]

# None, a name, or (m, m - 1).
Transition = str | tuple[float | int, float | int] | None


def _half(x: float) -> str:
    return str(int(x)) if float(x).is_integer() else f"{int(2 * x)}/2"


def transitions(isotope: Isotope, which: Transition = None) -> tuple[tuple[float, float], ...]:
    r"""The observed single-quantum transitions (m, m - 1), each with its share of the intensity.

    Args:
        isotope: the nucleus; its spin decides what exists.
        which: None, the central line of half-integer spins and all lines of integer spins; "central"; "all", weighted
            by $I(I+1) - m(m-1)$; or one transition (m, m - 1).

    Returns:
        Pairs (m, weight); the weights sum to one.

    Raises:
        ValueError: a transition that this spin does not have.
    """
    spin = isotope.spin
    half_integer = round(2 * spin) % 2 == 1
    existing = [spin - i for i in range(round(2 * spin))]
    if which is None:
        which = "central" if half_integer else "all"
    if isinstance(which, str):
        if which == "central":
            if not half_integer:
                raise ValueError(
                    f"transition: {isotope.name} has integer spin {_half(spin)} and no central transition; use 'all' or "
                    f"one of {_listed(existing)}."
                )
            return ((0.5, 1.0),)
        if which == "all":
            weights = [spin * (spin + 1) - m * (m - 1) for m in existing]
            return tuple((m, w / sum(weights)) for m, w in zip(existing, weights, strict=True))
        raise ValueError(f"transition: got {which!r}{near(which, ('central', 'all'))}; use 'central', 'all' or (m, m - 1).")
    try:
        upper, lower = (float(m) for m in which)
    except (TypeError, ValueError):
        raise ValueError(f"transition: got {which!r}; use None, 'central', 'all' or a pair (m, m - 1).") from None
    if upper not in existing or lower != upper - 1:
        raise ValueError(
            f"transition: got ({_half(upper)}, {_half(lower)}), which {isotope.name} (spin {_half(spin)}) does not have; "
            f"it has {_listed(existing)}."
        )
    return ((upper, 1.0),)


def _listed(existing: list[float]) -> str:
    return ", ".join(f"({_half(m)}, {_half(m - 1)})" for m in existing)
