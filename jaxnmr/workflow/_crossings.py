"""Protons that cross together: what a path and its saddle tell of it, and what they leave open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxnmr.workflow._records import Band

__all__ = ["crossing_of", "crossing_words"]

# Protons whose crossing coordinates differ by less at the saddle cross together, Å; from well to well each goes by 1 Å.
_TOGETHER = 0.3


def crossing_of(band: Band) -> dict[str, Any] | None:
    """How the protons of a path cross; None where fewer than two do.

    The path begins with all protons on one side and ends with all on the other. Where an inversion centre takes one proton
    to another, a path that begins symmetric stays so, and a saddle with one negative mode is a true one; neither shows that
    no lower way leads over a minimum with one proton across. So each proton crosses alone once, and the atoms are let go.
    """
    if len(band.crossing_a) < 2:
        return None
    together = max(band.crossing_a) - min(band.crossing_a) < _TOGETHER
    return {
        "protons": len(band.crossing_a),
        "at_saddle_a": list(band.crossing_a),
        "on_this_path": "concerted" if together else "one after another",
        "negative_modes": band.n_negative,
        "one_alone_ends_at": list(band.alone_at),
        "one_alone_ev": list(band.alone_ev),
    }


def crossing_words(crossing: Mapping[str, Any]) -> str:
    """The same as a sentence."""
    places = ", ".join(f"{x:+.2f}" for x in crossing["at_saddle_a"])
    modes = crossing["negative_modes"]
    return (
        f"{crossing['on_this_path']} on this path: {crossing['protons']} protons with d(donor) - d(acceptor) of {places} Å "
        f"at the saddle, which has {modes} negative mode{'' if modes == 1 else 's'}; {_alone(crossing)}."
    )


def _alone(crossing: Mapping[str, Any]) -> str:
    where, levels = crossing["one_alone_ends_at"], crossing["one_alone_ev"]
    if not where:
        return "whether one proton can be across alone was not looked for, and a path that begins symmetric stays so"
    between = [f"{level:+.3f} eV" for place, level in zip(where, levels, strict=True) if place == "between"]
    if between:
        return (
            f"one proton across alone is a minimum ({', '.join(between)} from the first), so there is a way one after the "
            "other too: give that minimum among motion.ends"
        )
    if "nowhere" in where:
        return "where one proton leads that crosses alone was not found in 1000 steps"
    return "one proton that crosses alone finds no minimum: the atoms go back to the first or on to the event's"
