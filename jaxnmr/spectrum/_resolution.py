"""Sizes of a calculation: chosen from what is known when it starts, or given."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from jaxnmr.errors import ResolutionWarning, warn
from jaxnmr.spectrum._grids import Fibonacci, Grid

__all__ = ["BAND", "Resolution", "Survey", "choose"]

# Sampling rate of a decay over the extent of line and axis together.
BAND = 1.4

# Decay of the signal over the record, e^-8: what is cut off is 3e-4 of a Lorentzian line in relative L2.
_DECAY = 8.0

# Orientations beyond which a spectrum is better asked of a wider line.
_MOST = 200_000

# Sidebands beyond which a rotor as good as stands still; mostly the rate was meant in kHz.
_MOST_PHASES = 16_384


@dataclasses.dataclass(frozen=True)
class Resolution:
    """Static sizes of a simulation; whatever is None is chosen. Each change compiles once.

    Attributes:
        orientations: crystallites on the hemisphere.
        phases: samples, and start phases, of a rotor period (MAS at a finite rate). `phases` times the rate must exceed
            the whole line, sidebands included.
        samples: points of the free-induction decay; under MAS rounded up to whole rotor periods.
        substeps: propagation steps for each sample (exchange under MAS); the error falls with their fourth power for
            slow jumps, with their square for fast ones or without `commutator`.
        grid: powder grid, `Fibonacci()` or `Octahedral(octant=...)`.
        commutator: of motion and precession in a step's exponent (fourth order); off leaves the mean generator alone.
        smooth: spread each orientation over its cell (see `jaxnmr.spectrum._grids`); off for comparisons crystallite by
            crystallite.
    """

    orientations: int | None = None
    phases: int | None = None
    samples: int | None = None
    substeps: int | None = None
    grid: Grid = dataclasses.field(default_factory=Fibonacci)
    smooth: bool = True
    commutator: bool = True

    def __post_init__(self):
        """Refuse sizes that cannot work."""
        for name, least in (("orientations", 1), ("phases", 2), ("samples", 2), ("substeps", 1)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int | np.integer) or value < least):
                raise ValueError(f"{name}: got {value!r}; give an integer >= {least}, or None to have it chosen.")


class Survey(NamedTuple):
    """What the choice rests on, Hz: the line with all sidebands, the widest rotor-averaged pattern, the axis, the widths.

    And the delay of an echo, s.
    """

    low: float
    high: float
    pattern: float
    axis_low: float
    axis_high: float
    lorentzian: float
    gaussian: float
    delay: float = 0.0


def choose(
    resolution: Resolution | None, survey: Survey, rate: float | None, exchange: bool
) -> tuple[Resolution, Resolution]:
    """Complete a resolution.

    Args:
        resolution: what the user gave.
        survey: of the problem.
        rate: rotor frequency where it is finite, else None.
        exchange: whether sites exchange.

    Returns:
        The resolution to use, and what would have been chosen.

    Raises:
        ValueError: a rotor so slow that its sidebands cannot be counted.
    """
    given = resolution or Resolution()
    hull = max(survey.high, survey.axis_high) - min(survey.low, survey.axis_low)
    line = survey.high - survey.low
    width = survey.lorentzian + survey.gaussian
    record = _record(survey)
    if rate is None:
        phases = None
        samples = _bucket(BAND * hull * record, 256)
    else:
        phases = _bucket(1.3 * hull / rate, 8)
        if phases > _MOST_PHASES and given.phases is None:
            raise ValueError(
                f"rate: {rate:g} Hz under a line and axis of {hull:.3g} Hz asks for {phases} sidebands; give the rate in Hz "
                "(5 kHz is 5e3), use Static for a rotor so slow, or pass resolution=Resolution(phases=...)."
            )
        samples = (given.phases or phases) * _bucket(record * rate, 4)
    # Orientations: enough for the pattern's width in linewidths, and for the sidebands' intensities.
    cells = survey.pattern / width
    # What moves during an echo's delay does not refocus: its phase tells crystallites apart as a record so long does.
    cells += np.pi * survey.pattern * survey.delay
    # Slow jumps in a static sample are the hardest for the cells' smoothing (see `damping`).
    orientations = (280.0 if exchange and rate is None else 60.0) * max(cells, 1.0)
    orientations = max(orientations, 300.0 if rate is None else 300.0 + 20 * line / rate)
    if not exchange:  # rigid sites cost little, and their boxes are a little coarser than the cells' Gaussians
        orientations = max(2 * orientations, 1500.0)
    if orientations > _MOST and given.orientations is None:
        warn(
            f"resolution: a line of {width:.4g} Hz in a pattern of {survey.pattern:.4g} Hz asks for {orientations:.2g} "
            f"orientations; {_MOST} are used. Take a wider line, or pass resolution=Resolution(orientations=...).",
            ResolutionWarning,
        )
    chosen = Resolution(
        orientations=_bucket(min(orientations, _MOST), 64),
        phases=phases,
        samples=samples,
        substeps=1
        if rate is None or phases is None or not exchange
        else -(-_bucket(max(48, 6 * line / rate), 48) // (given.phases or phases)),
        grid=given.grid,
        smooth=given.smooth,
    )
    pick = lambda name: getattr(given, name) if getattr(given, name) is not None else getattr(chosen, name)  # noqa: E731
    final = dataclasses.replace(given, **{name: pick(name) for name in ("orientations", "phases", "samples", "substeps")})
    return final, chosen


def _record(survey: Survey) -> float:
    """Duration, s, over which the broadening decays by e^-8: pi L t + (pi G t)^2 / (4 ln 2) = 8."""
    a = (np.pi * survey.gaussian) ** 2 / (4 * np.log(2))
    b = np.pi * survey.lorentzian
    if a == 0:
        return _DECAY / b
    return (math.sqrt(b * b + 4 * a * _DECAY) - b) / (2 * a)


def _bucket(value: float | int, least: int) -> int:
    """Round up to 4, 5, 6 or 7 times a power of two, so that similar problems share one compilation."""
    value = max(value, least)
    power = 2 ** max(0, math.floor(math.log2(value)) - 2)
    return power * math.ceil(value / power - 1e-9)
