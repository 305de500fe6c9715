"""How a search ended, and what to do about it."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

__all__ = ["CONVERGED", "MAX_STEPS", "NOT_FINITE", "OVERFLOW", "SearchError", "Status", "status_of"]


class Status(IntEnum):
    """How a search ended; arrays of results hold the numbers."""

    CONVERGED = 0
    MAX_STEPS = 1
    NOT_FINITE = 2
    OVERFLOW = 3


CONVERGED, MAX_STEPS, NOT_FINITE, OVERFLOW = (int(code) for code in Status)

_ADVICE = {
    Status.CONVERGED: "converged",
    Status.MAX_STEPS: "max_steps reached before max_force; give more steps, a larger max_force, or a better start",
    Status.NOT_FINITE: "an energy or force is not finite; look for atoms that overlap at the start, or take smaller steps",
    Status.OVERFLOW: "a neighbour list was too short; make a longer one (NeighborList.grow) at `result.positions`, go on",
}


class SearchError(RuntimeError):
    """A search did not converge; with `throw=False` it returns what it has, with the same status.

    Attributes:
        result: what was reached.
    """

    def __init__(self, message: str, result: object):
        super().__init__(message)
        self.result = result


def status_of(code: object) -> Status:
    """The worst status of an array of them."""
    return Status(int(np.max(np.asarray(code))))


def explain(name: str, code: object, max_force: object) -> str:
    """A sentence on a search that failed."""
    codes, force = np.atleast_1d(np.asarray(code)), float(np.max(np.asarray(max_force)))
    bad = int((codes != CONVERGED).sum())
    which = "" if codes.size == 1 else f" for {bad} of {codes.size}"
    return f"{name}: {_ADVICE[status_of(code)]}{which} (largest force {force:.3g}). throw=False returns what was reached."
