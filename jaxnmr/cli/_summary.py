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
    """Positions in ppm and Hz, the highest peak first, None without signal; area in the window (1 over all frequencies)."""

    peaks_ppm: tuple[float, ...]
    peaks_hz: tuple[float, ...]
    centre_of_gravity_ppm: float | None
    centre_of_gravity_hz: float | None
    area: float

    def told(self, unit: str) -> str:
        """One line for the reader, in "ppm" or "hz"."""
        peaks, centre = (self.peaks_ppm, self.centre_of_gravity_ppm)
        shown = "ppm"
        if unit == "hz":
            peaks, centre, shown = self.peaks_hz, self.centre_of_gravity_hz, "Hz"
        named = ", ".join(f"{peak:.2f}" for peak in peaks)
        at = f"peaks at {named} {shown}" if named else "no peaks"
        middle = "" if centre is None else f"; centre of gravity {centre:.2f} {shown}"
        return f"{at}{middle}; area {self.area:.3f}"


def summary(spectrum: jn.Spectrum, most: int = 6) -> Summary:
    """Peaks (parabola through three points), centre of gravity and area, all of the window alone.

    Args:
        spectrum: any; peaks need three points.
        most: how many peaks at most.
    """
    ppm, hz, y = (np.asarray(values, np.float64) for values in (spectrum.ppm, spectrum.hz, spectrum.intensity))
    inner = (np.flatnonzero((y[1:-1] > y[:-2]) & (y[1:-1] >= y[2:])) + 1).tolist()
    peaks = [i for i in inner if _prominence(y, i) >= _PROMINENCE * y.max()]
    peaks = sorted(peaks, key=lambda i: -y[i])[:most]
    centre, centre_hz = (float(x @ y / y.sum()) if y.sum() > 0 else None for x in (ppm, hz))
    area = float(np.sum((y[1:] + y[:-1]) / 2 * np.abs(np.diff(hz))))
    at_ppm, at_hz = (tuple(_vertex(x, y, i) for i in peaks) for x in (ppm, hz))
    return Summary(at_ppm, at_hz, centre, centre_hz, area)


def _prominence(y: np.ndarray, i: int) -> float:
    """Height above the higher of the two valleys towards higher ground, or the axis' end."""
    valleys = []
    for side in (y[:i][::-1], y[i + 1 :]):
        higher = np.flatnonzero(side > y[i])
        valleys.append(side[: higher[0] if len(higher) else len(side)].min())
    return float(y[i] - max(valleys))


def _vertex(x: np.ndarray, y: np.ndarray, i: int) -> float:
    bend = y[i - 1] - 2 * y[i] + y[i + 1]
    shift = 0.5 * (y[i - 1] - y[i + 1]) / bend if bend else 0.0
    return float(x[i] + shift * (x[1] - x[0]))
