"""Searches in parts, between which they tell how far they have come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxnmr.errors import is_concrete

__all__ = ["BAND_PART", "Progress", "in_parts"]

Progress = Callable[[int, int, float], None]
"""Called with steps made, steps at most, and what is left: the largest force, eV/Å."""

# Steps between two reports, of structures and of bands. For a foundation model of some dozens of atoms on a processor that
# is about a second and two (a band of seven images takes 0.7 s a step); a call of its own costs far less.
_PART, BAND_PART = 10, 3


def in_parts(
    advance: Callable[[Any, Any], tuple[Any, Any, Any]],
    carry: Any,
    most: Any,
    progress: Progress | None,
    before: int = 0,
    part: int = _PART,
) -> Any:
    """A search to its end: in one call, or in several of the same program where somebody listens.

    Args:
        advance: from what the search carries and a number of steps to what it carries then, the result as it is then, and
            whether it is over, the steps made, and what is left.
        carry: at the beginning.
        most: steps at most.
        progress: who listens; not called under a transformation, where nothing has happened yet.
        before: steps made already, before the search was taken up again; they are told too.
        part: steps between two reports.

    Returns:
        The last result.
    """
    if progress is None or not is_concrete(most, carry):
        return advance(carry, most)[1]
    steps, limit = int(most), 0
    while True:
        limit = min(limit + part, steps)
        carry, result, (over, made, left) = advance(carry, limit)
        progress(before + int(made), before + steps, float(left))
        if over or limit >= steps:
            return result
