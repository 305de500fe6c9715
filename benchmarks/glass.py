"""Times and errors of a Czjzek glass under MAS, beside mrsimulator on the same sites.

    python benchmarks/glass.py [--sites 4000] [--skip-peers]

27Al at 14.1 T and 20 kHz, sigma 2 MHz, lines of 300 Hz, tensors diagonal, an octant of 2556 directions in both programs.
Prints the times, the change of the spectrum on a finer powder grid, and what a quadrature of fewer sites costs.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import _peers
import jax
import numpy as np
from _measure import environment, load, measured, relative_l2
from _printing import in_a_line

import jaxnmr as jn
from tests.peers import mrsim
from tests.peers.cases import GAMMA, Case, Site

ISOTOPE, FIELD, RATE, SIGMA, LINEWIDTH = "27Al", 14.1, 20e3, 2e6, 300.0
AXIS = (-60e3, 40e3, 2048)
OCTANT = 2556  # vertices of mrsimulator's default density, 70
SMALL = ((16, 16), (24, 16), (48, 16))  # nodes of a quadrature


def field() -> float:
    """Tesla at which our gamma gives mrsimulator's Larmor frequency."""
    return FIELD * 1e6 * GAMMA[ISOTOPE] / abs(float(jn.isotope(ISOTOPE).larmor_frequency(1.0)))


def experiment() -> tuple[jn.MAS, jn.Axis]:
    """What both programs simulate."""
    return jn.MAS(field(), RATE), jn.Axis(hz=AXIS[:2], points=AXIS[2])


def sizes(sites: jn.Sites, directions: int) -> jn.Resolution:
    """An octant of directions; rotor phases and samples as the library chooses them."""
    grid = jn.spectrum.Octahedral(octant=True)
    given = jn.Resolution(orientations=directions, grid=grid)
    mas, axis = experiment()
    return jn.spectrum.resolve(sites, mas, axis, linewidth=LINEWIDTH, resolution=given)


def run(sites: jn.Sites, resolution: jn.Resolution, repeats: int):
    """Compile for these sites and time."""
    mas, axis = experiment()
    return measured(
        lambda s: jn.simulate(s, mas, axis, linewidth=LINEWIDTH, resolution=resolution).intensity,
        sites,
        repeats=repeats,
    )


def as_case(sites: jn.Sites) -> Case:
    """The same sites for mrsimulator."""
    found = jn.tensors.quadrupole_parameters(sites.quadrupole)
    columns = (np.asarray(x, dtype=np.float64) for x in (found.c_q, found.eta_q, sites.populations))
    rows = tuple(Site(c_q=float(c), eta_q=min(float(eta), 1.0), weight=float(w)) for c, eta, w in zip(*columns, strict=True))
    return Case("glass", ISOTOPE, FIELD, RATE, rows, "central", AXIS, LINEWIDTH)


def main(arguments: list[str] | None = None) -> int:
    """Run and print; a missed goal is printed, and is no failure, for machines differ."""
    parser = argparse.ArgumentParser(description="Times and errors of a Czjzek glass under MAS, beside mrsimulator.")
    parser.add_argument("--sites", type=int, default=4000, help="about so many, 32 for each coupling")
    parser.add_argument("--skip-peers", action="store_true", help="do not run mrsimulator")
    given = parser.parse_args(arguments)
    start, machine = time.perf_counter(), environment()
    sites = jn.spins.czjzek(ISOTOPE, SIGMA, nodes=(max(3, round(given.sites / 32)), 32))
    resolution = sizes(sites, OCTANT)
    ours = run(sites, resolution, 3)
    spectrum = np.asarray(ours.value)
    low, high = ours.spread_s
    print(f"{in_a_line(machine)}, load {machine['load_average_1min'] or 0:.1f} at start")
    print(
        f"jaxnmr       {len(sites)} sites: {ours.run_s:.2f} s ({low:.2f} to {high:.2f}), "
        f"{1e3 * ours.run_s / len(sites):.3f} ms a site, compile {ours.compile_s:.1f} s; {resolution}"
    )
    finer = run(sites, sizes(sites, 4 * OCTANT), 1)
    print(f"             four times the directions change it by {relative_l2(spectrum, finer.value):.1e}")
    for nodes in SMALL:
        few = jn.spins.czjzek(ISOTOPE, SIGMA, nodes=nodes)
        small = run(few, sizes(few, OCTANT), 3)
        print(
            f"             {nodes[0]} x {nodes[1]} nodes: {1e3 * small.run_s:.0f} ms, "
            f"{relative_l2(small.value, spectrum):.1e} from the {len(sites)}"
        )
    if not given.skip_peers and mrsim.installed_version() is not None:
        peer = _peers.mrsimulator_run(as_case(sites), repeats=1)
        print(
            f"{peer.program:<12} {len(sites)} sites: {peer.seconds:.2f} s, {1e3 * peer.seconds / len(sites):.3f} ms a site; "
            f"from ours {relative_l2(spectrum, peer.spectra[0]):.1e}"
        )
        ratio = ours.run_s / peer.seconds
        print(f"{'met' if ratio <= 1 else 'MISSED'}: time over mrsimulator's {ratio:.2f} (<= 1)")
    print(f"backend {jax.default_backend()}, load {load() or 0:.1f} at the end, {time.perf_counter() - start:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
