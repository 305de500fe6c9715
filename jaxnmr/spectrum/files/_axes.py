"""Checks of an axis that came from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["check_finite", "check_uniform", "is_uniform"]

Real = NDArray[np.float64]

# Columns are printed with few digits: one in a hundred of a step is rounding, more is another axis.
_UNEVEN = 0.01


def is_uniform(axis: NDArray) -> bool:
    """Whether points are equally spaced and distinct, up to the rounding of their digits."""
    values = np.asarray(axis, np.float64)
    if len(values) < 2 or not np.isfinite(values).all() or values[0] == values[-1]:
        return False
    step = (values[-1] - values[0]) / (len(values) - 1)
    precision = np.finfo(axis.dtype).eps if axis.dtype == np.float32 else 0.0
    slack = _UNEVEN * abs(step) + 4 * precision * np.abs(values).max()
    ideal = values[0] + step * np.arange(len(values))
    return bool(abs(step) > slack / 2 and np.abs(values - ideal).max() <= slack)


def check_finite(path: Path, **columns: NDArray | None) -> None:
    """Refuse NaN and infinity, naming column and point."""
    for name, column in columns.items():
        if column is not None and not np.isfinite(column).all():
            bad = int(np.flatnonzero(~np.isfinite(column))[0])
            raise ValueError(
                f"{path}: {name} of point {bad + 1} is not a finite number (NaN or infinity); remove or replace it."
            )


def check_uniform(path: Path, axis: Real) -> None:
    """Refuse an axis with unequal, repeated or unsorted points, naming the first."""
    if is_uniform(axis):
        return
    steps = np.diff(axis)
    turned = np.flatnonzero(steps * np.median(steps) <= 0)
    if len(turned):
        what = f"point {turned[0] + 2} repeats or goes back ({axis[turned[0]]:g}, then {axis[turned[0] + 1]:g})"
    else:
        worst = int(np.argmax(np.abs(steps - np.median(steps))))
        what = f"points {worst + 1} and {worst + 2} are {abs(steps[worst]):g} apart, others {abs(np.median(steps)):g}"
    raise ValueError(f"{path}: the axis is not equally spaced: {what}; sort and interpolate the data first.")
