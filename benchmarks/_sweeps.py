"""Error against cost, and cost against each size, of single spectra."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from _cases import Problem, ring
from _measure import measured, relative_l2

import jaxnmr as jn


@dataclass(frozen=True)
class Point:
    """One run of a sweep.

    Attributes:
        size: of what is swept (orientations, sites, ...; a density for mrsimulator).
        run_s: median, seconds.
        compile_s: seconds; 0 for other programs.
        error: relative L2 against the converged float64 spectrum, where one is at hand.
        memory_mb: temporaries and outputs.
    """

    size: int
    run_s: float
    compile_s: float = 0.0
    error: float | None = None
    memory_mb: float | None = None


@dataclass(frozen=True)
class Sweep:
    """Points in the order of their size, and the exponent of the time over the larger half of them.

    Attributes:
        case: which spectrum.
        size: what is swept.
        points: measured.
    """

    case: str
    size: str
    points: tuple[Point, ...]

    @property
    def exponent(self) -> float | None:
        """Slope of log time against log size over the larger half (at least two points); None for fewer."""
        upper = self.points[-max(2, (len(self.points) + 1) // 2) :]
        if len(upper) < 2:
            return None
        size, seconds = (np.log([getattr(point, name) for point in upper]) for name in ("size", "run_s"))
        return float(np.polyfit(size, seconds, 1)[0])


def error_against_cost(case: Problem, reference: np.ndarray, *, quick: bool, repeats: int) -> list[Sweep]:
    """Sizes about the automatic ones: orientations, and rotor phases with the record's length kept.

    Args:
        case: what to run.
        reference: its converged spectrum.
        quick: three points of each instead of six and four.
        repeats: of each run.
    """
    chosen = case.resolution()
    count = chosen.orientations
    assert count is not None
    factors = (0.25, 1, 2) if quick else (1 / 16, 1 / 4, 1 / 2, 1, 2, 4)
    out = [
        _sweep(
            case.name,
            "orientations",
            [(max(4, round(f * count)), case, _with(chosen, orientations=max(4, round(f * count)))) for f in factors],
            repeats,
            reference,
        )
    ]
    if chosen.phases is not None:
        assert chosen.samples is not None
        periods = -(-chosen.samples // chosen.phases)
        sizes = [round(f * chosen.phases) for f in ((1, 1.5, 2) if quick else (1, 1.5, 2, 4))]
        out.append(
            _sweep(
                case.name,
                "phases",
                [(n, case, _with(chosen, phases=n, samples=n * periods)) for n in sizes],
                repeats,
                reference,
            )
        )
    return out


def growth(*, quick: bool, repeats: int, report: Callable[[Sweep], None]) -> list[Sweep]:
    """Cost against sites, crystallites, phases and points of an axis, one at a time.

    Args:
        quick: fewer and smaller.
        repeats: of each run.
        report: called with each sweep when it is there.
    """
    sites = (2, 4) if quick else (2, 3, 4, 6, 8, 12, 24)
    cells = (512, 2048) if quick else (256, 1024, 2048, 4096, 8192)
    phases = (8, 16) if quick else (8, 16, 32, 64, 128)
    points = (1024, 8192) if quick else (512, 2048, 8192, 32768)
    out = []
    for name, spinning, exchange in (
        ("exchange, static", 0.0, True),
        ("exchange, MAS", 1e4, True),
        ("no exchange, MAS", 1e4, False),
    ):
        if quick and not (spinning and exchange):
            continue
        sweeps: dict[str, list[tuple[int, Problem, jn.Resolution]]] = {
            "sites": [(n, ring(n, spinning, exchange=exchange), _sizes(spinning)) for n in sites],
            "crystallites": [(n, ring(2, spinning, exchange=exchange), _sizes(spinning, orientations=n)) for n in cells],
            "points": [(n, ring(2, spinning, n, exchange=exchange), _sizes(spinning)) for n in points],
        }
        if spinning:
            sweeps["phases"] = [(n, ring(2, spinning, exchange=exchange), _sizes(spinning, phases=n)) for n in phases]
        for size, runs in sweeps.items():
            if quick and size not in ("sites", "phases"):
                continue
            out.append(_sweep(name, size, runs, repeats))
            report(out[-1])
    return out


def _sizes(spinning: float, *, orientations: int = 512, phases: int = 16) -> jn.Resolution:
    """64 rotor periods, or 1024 static samples."""
    if spinning:
        return jn.Resolution(orientations=orientations, phases=phases, samples=64 * phases)
    return jn.Resolution(orientations=orientations, samples=1024)


def _with(chosen: jn.Resolution, **sizes: int) -> jn.Resolution:
    return replace(chosen, **sizes)


def _sweep(
    case: str,
    size: str,
    runs: list[tuple[int, Problem, jn.Resolution]],
    repeats: int,
    reference: np.ndarray | None = None,
) -> Sweep:
    points = []
    for n, problem, resolution in runs:
        run = measured(lambda p, q=problem, r=resolution: q.intensity(p, r), problem.params, repeats=repeats, budget=1.5)
        error = None if reference is None else relative_l2(run.value, reference)
        points.append(Point(n, run.run_s, run.compile_s, error, run.memory_mb))
    return Sweep(case, size, tuple(points))
