"""Times and errors of line shapes, beside other programs in the same run.

    python benchmarks/lineshape.py [--quick] [--out folder] [--skip-peers]

Prints a table and writes lineshape.json, error-against-cost.png and growth.png. See README.md beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
# Found from here, so that the script runs from any folder; `_peers` does the same for the root.
sys.path.insert(0, str(Path(__file__).resolve().parent))

import _peers
import jax
import numpy as np
from _cases import Problem, problem
from _measure import environment, load, relative_l2
from _printing import in_a_line, print_table
from _references import Request, converged, references
from _sweeps import Point, Sweep, error_against_cost, growth
from _table import Goal, Row, row, throughput

HERE = Path(__file__).resolve().parent
SPEED_UP = {"csa mas": 500.0, "csa static": 100.0}  # over SLEEPY
EXCHANGE = ("csa mas", "csa static", "three-site")
OXYGEN = tuple(f"oxygen {motion} {tensors}" for motion in ("static", "mas") for tensors in ("coaxial", "general"))
CURVES = ("csa static", "csa mas", "oxygen mas general/0")  # error against cost
SINGLES = 2  # sites of the many looked at one by one


@dataclass(frozen=True)
class Options:
    """What the command line asks for.

    Attributes:
        quick: a smoke test of under two minutes: fewer sites, repeats and sizes, small grids of SLEEPY.
        out: folder of the results.
        peers: run the other programs.
    """

    quick: bool
    out: Path
    peers: bool

    @property
    def sites(self) -> int:
        """Of the oxygen rows."""
        return 50 if self.quick else _peers.SITES

    @property
    def exchange(self) -> tuple[str, ...]:
        """Rows with exchange; three sites take long to compile."""
        return EXCHANGE[:2] if self.quick else EXCHANGE

    @property
    def oxygen(self) -> tuple[str, ...]:
        """Rows without exchange; a quick run takes each solver and each grid once."""
        return OXYGEN[::3] if self.quick else OXYGEN

    @property
    def curves(self) -> tuple[str, ...]:
        """Cases of error against cost."""
        return CURVES[::2] if self.quick else CURVES

    @property
    def repeats(self) -> int:
        """Timed runs of each row."""
        return 5 if self.quick else 15


def options(arguments: list[str] | None = None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Times and errors of jaxnmr's line shapes, beside other programs.")
    parser.add_argument("--quick", action="store_true", help="a smoke test: its figures are not to be quoted")
    parser.add_argument("--out", type=Path, help="folder for the results (benchmarks/results; with --quick, its scratch)")
    parser.add_argument("--skip-peers", action="store_true", help="run neither SLEEPY nor mrsimulator")
    given = parser.parse_args(arguments)
    default = HERE / "results" / ("scratch" if given.quick else "")
    return Options(given.quick, given.out or default, not given.skip_peers)


def main(arguments: list[str] | None = None) -> int:
    """Run everything and return 0; a missed goal is printed, and is no failure, for machines differ."""
    chosen = options(arguments)
    start = time.perf_counter()
    say = _sayer(start)
    chosen.out.mkdir(parents=True, exist_ok=True)
    machine = environment()
    report: dict[str, object] = {"quick": chosen.quick, "environment": machine}
    cases = [problem(name, chosen.sites) for name in (*chosen.exchange, *chosen.oxygen)]
    sizes = {case.name: case.resolution() for case in cases}
    say("references in float64")
    arrays = references(_wanted(cases, sizes, chosen), chosen.sites)

    rows = []
    for case in cases:
        say(case.name)
        found = row(
            case,
            sizes[case.name],
            arrays,
            repeats=chosen.repeats,
            peer=chosen.peers,
            quick=chosen.quick,
            singles=_singles(case, chosen),
        )
        rows.append(found)
    say("throughput under vmap")
    batch = 8 if jax.default_backend() == "cpu" else 1024
    together, rate = throughput(cases[0], sizes["csa mas"], batch, chosen.repeats)

    goals = _goals(rows, rate, chosen)
    report |= {
        "rows": [asdict(each) for each in rows],
        "library_estimates": _estimates(arrays),
        "reference_changes": {
            name: relative_l2(arrays[f"{name} less"], arrays[name]) for name in EXCHANGE if f"{name} less" in arrays
        },
        "throughput": {
            "batch": batch,
            "run_s": together.run_s,
            "compile_s": together.compile_s,
            "memory_mb": together.memory_mb,
            "spectra_per_minute": rate,
        },
        "goals": [asdict(goal) | {"met": goal.met} for goal in goals],
    }
    _write(report, chosen, start)
    print_table(machine, rows, rate, goals, quick=chosen.quick)

    say("error against cost")
    ours, theirs = [], []
    for name in chosen.curves:
        case = problem(name, chosen.sites)
        ours += error_against_cost(case, arrays[name], quick=chosen.quick, repeats=5)
        if chosen.peers:
            theirs += _peer_curve(case, arrays[name], rows, chosen.quick)
    say("growth of the cost")
    grown = growth(
        quick=chosen.quick,
        repeats=5,
        report=lambda s: say(f"  {s.case}, {s.size}: {s.exponent:.2f}"),
    )
    report |= {
        "error_against_cost": [_sweep_record(sweep) for sweep in (*ours, *theirs)],
        "growth": [_sweep_record(sweep) | {"exponent": sweep.exponent} for sweep in grown],
    }
    _write(report, chosen, start)
    _draw(ours, theirs, grown, machine, chosen, say)
    say(f"results in {chosen.out}")
    return 0


def _write(report: dict[str, object], chosen: Options, start: float) -> None:
    """Written once the table is there and again at the end: the sweeps take longer."""
    report |= {"load_average_1min_at_end": load(), "seconds": time.perf_counter() - start}
    (chosen.out / "lineshape.json").write_text(json.dumps(report, indent=1) + "\n")


def _estimates(arrays: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """What `jn.convergence` says of the exchange cases."""
    names = ("orientations", "phases", "samples")
    found = {key.removesuffix(" estimate"): value for key, value in arrays.items() if key.endswith(" estimate")}
    return {key: dict(zip(names, map(float, value), strict=True)) for key, value in found.items()}


def _singles(case: Problem, chosen: Options) -> int:
    if case.case is None:
        return 0
    return SINGLES if not chosen.quick else int(f"{case.name}/0" in CURVES)


def _wanted(cases: list[Problem], sizes: dict, chosen: Options) -> list[Request]:
    """Converged spectra, those at the timed sizes, and the library's own estimates."""
    wanted = []
    for case in cases:
        base = case.automatic()  # the hemisphere also for an octant's reference: an independent check
        finest = 4 if chosen.quick else 16
        wanted.append(Request(case.name, case.name, converged(base, finest)))
        wanted.append(Request(f"{case.name} same", case.name, sizes[case.name]))
        for i in range(_singles(case, chosen)):
            one = case.only(i)
            wanted.append(Request(one.name, one.name, converged(base, finest)))
        if case.pairs and not chosen.quick:
            wanted.append(Request(f"{case.name} less", case.name, converged(base, finest // 4)))
            wanted.append(Request(f"{case.name} estimate", case.name, None))
    return wanted


def _peer_curve(case: Problem, reference: np.ndarray, rows: list[Row], quick: bool) -> list[Sweep]:
    """mrsimulator over its densities; for exchange what SLEEPY took on small grids and in the table."""
    if case.case is not None:
        if _peers.mrsim.installed_version() is None:
            return []
        points = []
        for density in (20, 70) if quick else (10, 20, 40, 70, 120, 200):
            run = _peers.mrsimulator_run(case.case, density=density, repeats=3)
            points.append(Point(density, run.seconds, error=relative_l2(run.spectra[0], reference)))
        return [Sweep(case.name, "mrsimulator, density", tuple(points))]
    peer = next(each.peer for each in rows if each.name == case.name)
    if peer is None:
        return []
    spinning = case.name.endswith("mas")
    size = "rep100 x 32" if spinning else "zcw4180"
    points = [Point(100 if spinning else 4180, peer.run_s, error=peer.error)]
    if quick:
        size = "rep30 x 16" if spinning else "zcw615"
        points = [Point(30 if spinning else 615, peer.run_s, error=peer.error)]
    else:
        for count in (30,) if spinning else (615,):
            grid = _peers.sleepy.Grid(f"rep{count}", 16) if spinning else _peers.sleepy.Grid(f"zcw{count}", 1)
            run = _peers.sleepy_two_site(
                spinning=1e4 if spinning else 0.0, grid=grid, linewidth=float(case.params.linewidth)
            )
            points.insert(0, Point(count, run.seconds, error=relative_l2(run.spectra[0], reference)))
        size = "rep30 x 16, " + size if spinning else "zcw615, " + size
    return [Sweep(case.name, f"SLEEPY, {size}", tuple(points))]


def _goals(rows: list[Row], rate: float, chosen: Options) -> list[Goal]:
    """The project's goals for two cores (the last for a GPU), each with what was measured."""
    out = []
    for each in rows:
        if each.name in SPEED_UP and each.peer and not chosen.quick:
            out.append(Goal(f"{each.name}: times faster than SLEEPY", each.peer.ratio, SPEED_UP[each.name], True))
        if each.name in OXYGEN and each.peer:
            out.append(Goal(f"{each.name}: time over mrsimulator's", 1 / each.peer.ratio, 1.0))
        if each.name == "three-site":
            out.append(Goal("three-site: ms", 1e3 * each.run_s, 30.0))
        if each.gradient_ratio is not None:
            out.append(Goal(f"{each.name}: value and gradient over value", each.gradient_ratio, 3.5))
        if each.memory_mb is not None:
            out.append(Goal(f"{each.name}: memory, MB", max(each.memory_mb, each.gradient_memory_mb or 0.0), 500.0))
        out.append(Goal(f"{each.name}: error", each.error, 1e-3))
        out.append(Goal(f"{each.name}: float32 against float64", each.float32, 1e-3))
    if jax.default_backend() == "gpu":
        out.append(Goal("spectra per minute under vmap", rate, 1e5, True))
    return out


def _sweep_record(sweep: Sweep) -> dict[str, object]:
    return {"case": sweep.case, "size": sweep.size, "points": [asdict(point) for point in sweep.points]}


def _draw(ours, theirs, grown, machine, chosen: Options, say) -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        say("no figures: needs matplotlib, pip install 'jaxnmr[plot]'")
        return
    from _figures import draw_errors, draw_growth

    note = in_a_line(machine)
    draw_errors(ours, theirs, note, chosen.out / "error-against-cost.png")
    draw_growth(grown, note, chosen.out / "growth.png")


def _sayer(start: float):
    def say(text: str) -> None:
        print(f"[{time.perf_counter() - start:5.0f} s] {text}", file=sys.stderr, flush=True)

    return say


if __name__ == "__main__":
    sys.exit(main())
