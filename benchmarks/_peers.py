"""What other programs take for the benchmark's spectra, timed in the same run, and their spectra.

Conversions of conventions live with the tests in `tests.peers`; nothing runs on import.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# `tests` is no installed package: found from the root, whatever folder the benchmark is started in.
_ROOT = str(Path(__file__).resolve().parents[1])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from tests.peers import mrsim, sleepy  # noqa: E402
from tests.peers.cases import Angles, Case, Site  # noqa: E402

Real = NDArray[np.float64]

SITES = 500
POINTS = 2048
DENSITY = 70  # mrsimulator's default: 2556 orientations in an octant
SIDEBANDS = 64  # its default


@dataclass(frozen=True)
class Timing:
    """What a program took.

    Attributes:
        program: name and version.
        seconds: median of the repeats, for everything that was asked for.
        spread: fastest and slowest, seconds.
        spectra: (spectrum, points), per Hz with unit area over all frequencies, at `offsets`.
        offsets: Hz, ascending, (points,).
    """

    program: str
    seconds: float
    spread: tuple[float, float]
    spectra: Real
    offsets: Real


def repeated(call: Callable[[], object], repeats: int) -> tuple[float, tuple[float, float]]:
    """Median and extremes of the wall time of `call`, after one run that does not count."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times), (min(times), max(times))


def oxygen_sites(count: int, *, coaxial: bool, seed: int = 0) -> tuple[Site, ...]:
    """17O sites as in oxides and carbonates, C_Q of 5 to 8 MHz; any orientation unless coaxial."""
    rng = np.random.default_rng(seed)
    zero = (0.0, 0.0, 0.0)

    def angles() -> Angles:
        alpha, beta, gamma = rng.uniform(0.0, np.pi, 3)
        return float(alpha), float(beta), float(gamma)

    return tuple(
        Site(
            delta_iso=float(rng.uniform(50, 250)),
            zeta=float(rng.uniform(-200, 200)),
            eta=float(rng.uniform(0, 1)),
            euler=zero if coaxial else angles(),
            c_q=float(rng.uniform(5e6, 8e6)),
            eta_q=float(rng.uniform(0, 1)),
            euler_q=zero if coaxial else angles(),
            weight=1.0 / count,
        )
        for _ in range(count)
    )


def oxygen_case(count: int = SITES, *, rate: float = 0.0, coaxial: bool = True, linewidth: float = 300.0) -> Case:
    """`count` 17O sites at 23.5 T on 2048 points over 200 kHz: the benchmark's run without exchange.

    Args:
        count: number of sites.
        rate: spinning rate, Hz; 0 is static.
        coaxial: tensors along the crystal axes, so that an octant is enough.
        linewidth: Lorentzian full width, Hz.
    """
    axis = (-80e3, 120e3, POINTS)
    sites = oxygen_sites(count, coaxial=coaxial)
    return Case("17O benchmark", "17O", 23.5, rate, sites, "central", axis, linewidth)


def mrsimulator_run(case: Case, *, density: int = DENSITY, repeats: int = 5) -> Timing:
    """Time `sim.run()` for all sites of a case together, by mrsimulator with its own defaults.

    The window is the case's axis, the octant or the hemisphere as the case needs, 64 sidebands. Broadening is
    not in the time: it is cheap, and is done once here so that an error can be printed beside.

    Args:
        case: spectrum to run; the line must lie within its axis.
        density: orientations on an octant's edge.
        repeats: timed runs.

    Returns:
        One spectrum, the sum over sites.
    """
    start, stop, points = case.axis
    step = (stop - start) / (points - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sim, _ = mrsim.simulator(case, 0.5, density=density, sidebands=SIDEBANDS, bins=points)
        dimension = sim.methods[0].spectral_dimensions[0]
        dimension.spectral_width = points * step
        dimension.reference_offset = start + points // 2 * step  # bin j at start + j step
        sim.run(pack_as_csdm=False)
        seconds, spread = repeated(lambda: sim.run(pack_as_csdm=False), repeats)
    amplitude = np.asarray(sim.methods[0].simulation).reshape(-1, points).sum(axis=0).real
    spectrum = mrsim.broadened(case.offsets, amplitude / amplitude.sum(), case.linewidth, case.offsets)
    return Timing(f"mrsimulator {mrsim.installed_version()}", seconds, spread, spectrum[None], case.offsets)


def mrsimulator_converged(case: Case) -> Real:
    """The case's spectrum converged, for the error column, (points,)."""
    return mrsim.mrsim_spectrum(case, density=200)


def mrsimulator_per_site(*, rate: float, coaxial: bool, sites: int = SITES, repeats: int = 5) -> Timing:
    """`mrsimulator_run` of the 17O benchmark with its times divided by the number of sites."""
    run = mrsimulator_run(oxygen_case(sites, rate=rate, coaxial=coaxial), repeats=repeats)
    low, high = run.spread
    return replace(run, seconds=run.seconds / sites, spread=(low / sites, high / sites))


SLEEPY_GRIDS = {0.0: sleepy.Grid("zcw4180", 1), 1e4: sleepy.MAS_GRID}


def sleepy_two_site(
    *,
    k: float = 1e3,
    spinning: float = 1e4,
    grid: sleepy.Grid | None = None,
    linewidth: float = 200.0,
    sampling: float = 80e3,
    offsets: Real | None = None,
    repeats: int = 1,
) -> Timing:
    """Time two-site 13C exchange by SLEEPY, 2048 points of the signal, on the coarsest grid that converges.

    Args:
        k: rate each way, s^-1.
        spinning: rotor rate, Hz; 0 is static.
        grid: powder; rep100 with 32 gammas (spinning) or zcw4180 (static) if none.
        linewidth: Lorentzian full width of the spectrum, Hz.
        sampling: samples a second, Hz; 8 a rotor period at 10 kHz by default.
        offsets: where the spectrum is returned, Hz; 2048 points over 40 kHz if none.
        repeats: timed runs; SLEEPY keeps nothing between them that shortens the next, so no warm-up.

    Returns:
        The time to set up and propagate; the transform of the signal to `offsets` is not in it.
    """
    grid = grid or SLEEPY_GRIDS[spinning]
    offsets = np.linspace(-20e3, 20e3, POINTS) if offsets is None else offsets
    sleepy.load()
    times, signal = [], np.zeros(0, dtype=complex)
    for _ in range(repeats):
        start = time.perf_counter()
        _, signal = sleepy.two_site_fid(k, spinning, grid, points=POINTS, sampling=sampling)
        times.append(time.perf_counter() - start)
    spectrum = sleepy.spectrum(signal, linewidth, offsets, sampling=sampling)
    return Timing(
        f"SLEEPY {sleepy.installed_version()}",
        statistics.median(times),
        (min(times), max(times)),
        spectrum[None],
        offsets,
    )
