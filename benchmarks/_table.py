"""Rows of the table: each spectrum timed, its errors, and the peer beside it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import _peers
import jax
import jax.numpy as jnp
import numpy as np
from _cases import Problem
from _measure import Run, alternated, measured, relative_l2, timed

import jaxnmr as jn


@dataclass(frozen=True)
class Goal:
    """A bound and what was measured.

    Attributes:
        what: in words.
        measured: value.
        bound: value.
        at_least: whether the bound is a lower one.
    """

    what: str
    measured: float
    bound: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it holds."""
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound


@dataclass(frozen=True)
class Peer:
    """The other program's run.

    Attributes:
        program: with version and grid.
        run_s: median, seconds.
        spread_s: fastest and slowest.
        error: of its timed spectrum against our converged one.
        difference: of our timed spectrum against its timed one.
        ratio: its time over ours.
    """

    program: str
    run_s: float
    spread_s: tuple[float, float]
    error: float
    difference: float
    ratio: float


@dataclass(frozen=True)
class Row:
    """One spectrum; times in seconds, errors as relative L2 over the axis, memory in 1e6 bytes.

    Attributes:
        name: of the problem.
        sites: in the one call.
        sizes: the resolution, in words.
        compile_s: tracing and compiling.
        run_s: median of the compiled call, sizes fixed.
        spread_s: its fastest and slowest.
        call_s: median of `jn.simulate` called plainly, with its checks and its choice of sizes.
        memory_mb: temporaries and outputs.
        error: against our converged float64 spectrum.
        error_float64: of the same sizes in float64, so what the sizes alone cost.
        float32: float32 against float64 at the same sizes.
        gradient_ratio: time of value and gradient over that of the value, for exchange.
        gradient_memory_mb: temporaries and outputs of value and gradient.
        one_site_error: worst of single sites against their converged spectra, where the row sums many.
        one_site_peer_error: the peer's, likewise.
        one_site_peer_converged: our converged single sites against the peer's on a dense grid, worst.
        peer: the other program.
    """

    name: str
    sites: int
    sizes: str
    compile_s: float
    run_s: float
    spread_s: tuple[float, float]
    call_s: float
    memory_mb: float | None
    error: float
    error_float64: float
    float32: float
    gradient_ratio: float | None = None
    gradient_memory_mb: float | None = None
    one_site_error: float | None = None
    one_site_peer_error: float | None = None
    one_site_peer_converged: float | None = None
    peer: Peer | None = None


def words(resolution: jn.Resolution) -> str:
    """A resolution in short."""
    grid = "octant" if getattr(resolution.grid, "octant", False) else type(resolution.grid).__name__
    parts = [f"{resolution.orientations} {grid}"]
    if resolution.phases is not None:
        parts.append(f"{resolution.phases} phases")
    return ", ".join([*parts, f"{resolution.samples} samples"])


def row(
    problem: Problem,
    resolution: jn.Resolution,
    arrays: dict[str, np.ndarray],
    *,
    repeats: int,
    peer: bool,
    quick: bool,
    singles: int = 0,
) -> Row:
    """Time a problem, then its peer.

    Args:
        problem: what to run.
        resolution: sizes.
        arrays: references: `name` converged, `name same` at the timed sizes.
        repeats: timed runs.
        peer: run the other program too.
        quick: with small grids of SLEEPY, whose ratio then says little.
        singles: how many sites to look at one by one.
    """
    exact, same = arrays[problem.name], arrays[f"{problem.name} same"]
    run = measured(partial(problem.intensity, resolution=resolution), problem.params, repeats=repeats)
    automatic = resolution if problem.octant else None
    jax.block_until_ready(problem.intensity(problem.params, automatic))
    call, _ = timed(lambda: jax.block_until_ready(problem.intensity(problem.params, automatic)), repeats)
    gradient = gradient_memory = None
    # The spinning reverse mode is the longest to compile: at rest is smoke enough.
    if problem.pairs and not (quick and resolution.phases is not None):
        gradient, gradient_memory = _gradient(problem, resolution, run.value, repeats)
    other = _peer(problem, run, exact, repeats=repeats, quick=quick) if peer else None
    ours, theirs, apart = [], [], []
    for i in range(singles):
        one = problem.only(i)
        reference = arrays[one.name]
        ours.append(relative_l2(one.intensity(one.params, resolution), reference))
        if peer and one.case is not None:
            theirs.append(relative_l2(_peers.mrsimulator_run(one.case, repeats=1).spectra[0], reference))
            if not quick:
                apart.append(relative_l2(_peers.mrsimulator_converged(one.case), reference))
    return Row(
        problem.name,
        problem.site_count,
        words(resolution),
        run.compile_s,
        run.run_s,
        run.spread_s,
        call,
        run.memory_mb,
        relative_l2(run.value, exact),
        relative_l2(same, exact),
        relative_l2(run.value, same),
        gradient,
        gradient_memory,
        max(ours, default=None),
        max(theirs, default=None),
        max(apart, default=None),
        other,
    )


def _gradient(problem: Problem, resolution: jn.Resolution, spectrum, repeats: int) -> tuple[float, float | None]:
    """A misfit with its gradient in shift, quadrupole, rates and linewidth, over the misfit alone."""
    scale = 1 / jnp.max(spectrum)
    target = 0.9 * jnp.roll(spectrum, 5) * scale

    def misfit(params):
        return jnp.sum((problem.intensity(params, resolution) * scale - target) ** 2)

    # In turns, so that what else the machine does falls on both.
    value, both = alternated((misfit, jax.value_and_grad(misfit)), problem.params, repeats=repeats)
    leaves = jax.tree.leaves(both.value)
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in leaves):
        raise FloatingPointError(f"{problem.name}: a gradient is not finite")
    return both.run_s / value.run_s, both.memory_mb


def _peer(problem: Problem, run: Run, exact: np.ndarray, *, repeats: int, quick: bool) -> Peer | None:
    if problem.case is not None:
        if _peers.mrsim.installed_version() is None:
            return None
        timing = _peers.mrsimulator_run(problem.case, repeats=min(repeats, 5))
        grid = "octant" if problem.case.coaxial else "hemisphere"
        program = f"{timing.program}, {grid} {_peers.DENSITY}"
    elif problem.name.startswith("csa"):
        if _peers.sleepy.installed_version() is None:
            return None
        spinning = 1e4 if problem.name.endswith("mas") else 0.0
        small = _peers.sleepy.Grid("rep30", 16) if spinning else _peers.sleepy.Grid("zcw615", 1)
        grid = small if quick else _peers.SLEEPY_GRIDS[spinning]
        timing = _peers.sleepy_two_site(spinning=spinning, grid=grid, linewidth=float(problem.params.linewidth))
        program = f"{timing.program}, {grid.powder}" + (f" x {grid.gammas}" if spinning else "")
    else:
        return None
    theirs = timing.spectra[0]
    return Peer(
        program,
        timing.seconds,
        timing.spread,
        relative_l2(theirs, exact),
        relative_l2(run.value, theirs),
        timing.seconds / run.run_s,
    )


def throughput(problem: Problem, resolution: jn.Resolution, batch: int, repeats: int) -> tuple[Run, float]:
    """One compiled call for `batch` rates and shifts at once, and spectra per minute."""

    def spread(leaf):
        factor = jnp.linspace(0.8, 1.2, batch)
        return leaf[None] * factor.reshape((batch,) + (1,) * leaf.ndim)

    params = problem.params._replace(
        shift=spread(problem.params.shift),
        rates=spread(problem.params.rates),
        linewidth=jnp.broadcast_to(problem.params.linewidth, (batch,)),
    )
    run = measured(jax.vmap(partial(problem.intensity, resolution=resolution)), params, repeats=repeats)
    return run, 60 * batch / run.run_s
