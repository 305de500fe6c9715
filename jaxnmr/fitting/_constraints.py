"""What a parameter may be: the constraints that a user states by name, and the variables in which the search moves."""

from __future__ import annotations

import math
from typing import ClassVar

import equinox as eqx
import numpy as np

__all__ = ["Constraint", "Free", "Interval", "LogRate", "Ordered", "Positive", "Simplex", "Unit"]


class Constraint(eqx.Module):
    """Base of all constraints; `kind` says which inner variable the search uses.

    The inner variables of "linear" are θ/unit, those of "log" ln θ; both may have ends, which the search can reach and
    leave again. "simplex" uses ln(p_i / p_n), "ordered" the first value and the logarithms of the gaps.
    """

    kind: ClassVar[str] = "linear"
    whole: ClassVar[bool] = False

    def ends(self) -> tuple[float, float]:
        """Lowest and highest allowed value."""
        return -math.inf, math.inf

    def fault(self, values: np.ndarray) -> str | None:
        """What is wrong with a start, or None."""
        low, high = self.ends()
        if not ((values >= low) & (values <= high)).all():
            return f"lies outside {self}"
        return None

    def __repr__(self) -> str:
        """The class with its ends, as a user writes it."""
        low, high = self.ends()
        return f"{type(self).__name__}({low:g}, {high:g})"


class Free(Constraint):
    """No constraint: what a parameter has unless one is given."""


class Interval(Constraint):
    """Between two values, ends included; one of them may be infinite.

    Args:
        low: lowest value.
        high: highest value.

    Raises:
        ValueError: low is not below high.
    """

    low: float = eqx.field(static=True)
    high: float = eqx.field(static=True)

    def __init__(self, low: float | int, high: float | int):
        self.low, self.high = float(low), float(high)

    def __check_init__(self):
        if not self.low < self.high:
            raise ValueError(f"Interval: got ({self.low:g}, {self.high:g}); give low < high.")

    def ends(self) -> tuple[float, float]:
        """The two ends."""
        return self.low, self.high


class Unit(Constraint):
    """Between 0 and 1, ends included: asymmetry parameters, fractions."""

    def ends(self) -> tuple[float, float]:
        """0 and 1."""
        return 0.0, 1.0

    def __repr__(self) -> str:
        """As a user writes it."""
        return "Unit()"


class Positive(Constraint):
    """Above 0; the search moves in ln θ, so that only ratios count: line widths, couplings, pre-factors."""

    kind: ClassVar[str] = "log"

    def ends(self) -> tuple[float, float]:
        """0, excluded, and infinity."""
        return 0.0, math.inf

    def fault(self, values: np.ndarray) -> str | None:
        """Zero has no logarithm."""
        if not (values > 0).all():
            return "must be > 0 (Interval(0, inf) allows 0)"
        return None

    def __repr__(self) -> str:
        """As a user writes it."""
        return "Positive()"


class LogRate(Constraint):
    """A rate over many decades; the search moves in ln k between two ends, and global starts are even in ln k.

    Args:
        low: slowest rate, > 0, 1/s.
        high: fastest rate, 1/s.

    Raises:
        ValueError: not 0 < low < high < inf.
    """

    kind: ClassVar[str] = "log"
    low: float = eqx.field(static=True)
    high: float = eqx.field(static=True)

    def __init__(self, low: float | int = 1.0, high: float | int = 1e12):
        self.low, self.high = float(low), float(high)

    def __check_init__(self):
        if not 0 < self.low < self.high < math.inf:
            raise ValueError(f"LogRate: got ({self.low:g}, {self.high:g}); give 0 < low < high, both finite, in 1/s.")

    def ends(self) -> tuple[float, float]:
        """The two ends."""
        return self.low, self.high


class Simplex(Constraint):
    """An array of positive numbers whose sum is one: populations."""

    kind: ClassVar[str] = "simplex"
    whole: ClassVar[bool] = True

    def ends(self) -> tuple[float, float]:
        """0 and 1, both excluded."""
        return 0.0, 1.0

    def fault(self, values: np.ndarray) -> str | None:
        """All positive, sum one, at least two."""
        if len(values) < 2:
            return "has one element; a simplex has at least two"
        if not ((values > 0).all() and abs(values.sum() - 1) < 1e-5):
            return "must be > 0 and sum to one"
        return None

    def __repr__(self) -> str:
        """As a user writes it."""
        return "Simplex()"


class Ordered(Constraint):
    """An array whose elements ascend: shifts of sites that a model could otherwise exchange."""

    kind: ClassVar[str] = "ordered"
    whole: ClassVar[bool] = True

    def fault(self, values: np.ndarray) -> str | None:
        """Strictly ascending, at least two."""
        if len(values) < 2:
            return "has one element; an order needs at least two"
        return None if (np.diff(values) > 0).all() else "must ascend strictly"

    def __repr__(self) -> str:
        """As a user writes it."""
        return "Ordered()"
