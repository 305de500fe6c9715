"""What a spectrum says in a few numbers: its peaks and its centre of gravity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import jaxnmr as jn

__all__ = ["Summary", "summary"]

# A peak rises this far, of the highest point, above the higher of the valleys beside it.
_PROMINENCE = 0.03


@dataclass(frozen=True)
class Summary:
    """Positions in ppm, the highest peak first; area in the window (1 over all frequencies)."""

    peaks_ppm: tuple[float, ...]
    centre_of_gravity_ppm: float
    area: float


def summary(spectrum: jn.Spectrum, most: int = 6) -> Summary:
    """Peaks (parabola through three points), centre of gravity and area, all of the window alone.

    Args:
        spectrum: at least three points.
        most: how many peaks at most.
    """
    ppm, hz, y = (np.asarray(values, np.float64) for values in (spectrum.ppm, spectrum.hz, spectrum.intensity))
    inner = (np.flatnonzero((y[1:-1] > y[:-2]) & (y[1:-1] >= y[2:])) + 1).tolist()
    peaks = [i for i in inner if _prominence(y, i) >= _PROMINENCE * y.max()]
    peaks = sorted(peaks, key=lambda i: -y[i])[:most]
    centre = float(ppm @ y / y.sum()) if y.sum() > 0 else float("nan")
    area = float(np.sum((y[1:] + y[:-1]) / 2 * np.abs(np.diff(hz))))
    return Summary(tuple(_vertex(ppm, y, i) for i in peaks), centre, area)


def _prominence(y: np.ndarray, i: int) -> float:
    """Height above the higher of the two valleys towards higher ground, or the axis' end."""
    valleys = []
    for side in (y[:i][::-1], y[i + 1 :]):
        higher = np.flatnonzero(side > y[i])
        valleys.append(side[: higher[0] if len(higher) else len(side)].min())
    return float(y[i] - max(valleys))


def _vertex(ppm: np.ndarray, y: np.ndarray, i: int) -> float:
    bend = y[i - 1] - 2 * y[i] + y[i + 1]
    shift = 0.5 * (y[i - 1] - y[i + 1]) / bend if bend else 0.0
    return float(ppm[i] + shift * (ppm[1] - ppm[0]))
