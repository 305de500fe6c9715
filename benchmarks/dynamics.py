"""Minima, paths and vibrations against ASE, with the same potential in the same run.

    python benchmarks/dynamics.py

The potential is Lennard-Jones of a cluster, in reduced units, evaluated by the same jitted function for both: ASE drives it
through a calculator, as it would a network. A call costs microseconds, so the figures show what the drivers cost; with a
slower potential both tend to the time of its calls, and the number of calls is what counts. Compile time is apart.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402

from jaxnmr import dynamics  # noqa: E402


def lennard_jones(positions: jax.Array) -> jax.Array:
    """Σ 4 (r⁻¹² − r⁻⁶)."""
    i, j = np.triu_indices(len(positions), 1)
    r6 = jnp.sum((positions[i] - positions[j]) ** 2, axis=-1) ** 3
    return jnp.sum(4 * (1 / r6**2 - 1 / r6))


def calculator():
    """The same function as a calculator of ASE that counts its calls."""
    from ase.calculators.calculator import Calculator, all_changes

    both = jax.jit(jax.value_and_grad(lennard_jones))

    class Jitted(Calculator):
        implemented_properties = ("energy", "forces")
        calls = 0

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            Jitted.calls += 1
            energy, gradient = both(self.atoms.get_positions())
            self.results = {"energy": float(energy), "forces": -np.asarray(gradient)}

    Jitted()
    return Jitted


def timed(function, repeats: int = 3):
    """First call (with compilation), median of the others, and the result."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        value = function()
        jax.block_until_ready(jax.tree.leaves(value))
        times.append(time.perf_counter() - start)
    return times[0], float(np.median(times[1:])), value


def minima(n: int, batch: int) -> dict:
    """Many random starts: ours side by side, ASE's one after the other."""
    from ase import Atoms
    from ase.optimize import FIRE, LBFGS

    starts = np.random.default_rng(0).normal(size=(batch, n, 3)) * 1.1
    surface = dynamics.Surface(lennard_jones)
    first, seconds, found = timed(lambda: dynamics.minimise(surface, starts, max_force=1e-3, max_steps=3000, throw=False))
    row = {
        "case": f"{batch} minima of LJ{n}",
        "first_s": first,
        "ours_s": seconds,
        "ours_calls": float(np.mean(np.asarray(found.evaluations))),
    }
    for name, optimiser in (("LBFGS", LBFGS), ("FIRE", FIRE)):
        kind = calculator()
        begin = time.perf_counter()
        for start in starts:
            atoms = Atoms("Ar" * n, start)
            atoms.calc = kind()
            optimiser(atoms, logfile=None).run(fmax=1e-3, steps=3000)
        row[f"ase_{name}_s"] = time.perf_counter() - begin
        row[f"ase_{name}_calls"] = kind.calls / batch
    return row


def path(n: int = 7, images: int = 9, max_force: float = 0.01) -> dict:
    """A climbing band between two minima of LJ7 that a saddle joins, from the same first path."""
    from ase import Atoms
    from ase.mep.neb import NEB, NEBOptimizer
    from ase.optimize import BFGS, FIRE

    surface = dynamics.Surface(lennard_jones)
    rng = np.random.default_rng(1)
    low = dynamics.minimise(surface, rng.normal(size=(8, n, 3)), max_force=1e-6, max_steps=3000).positions
    saddle = dynamics.dimer(surface, low[int(np.argmin([float(lennard_jones(r)) for r in low]))], max_force=1e-6)
    ends = np.asarray(saddle.sides.positions)
    band = np.asarray(dynamics.neb(surface, *ends, images=images, max_steps=0, throw=False, end_force=None).positions)
    first, seconds, found = timed(
        lambda: dynamics.neb(surface, band, max_force=max_force, max_steps=2000, throw=False, end_force=None)
    )
    row = {
        "case": f"climbing band of LJ{n}, {images} images",
        "first_s": first,
        "ours_s": seconds,
        "ours_calls": int(found.evaluations),
        "ours_barrier": float(found.barrier),
        "ours_status": found.status.name,
        "saddle_barrier": float(saddle.energy - lennard_jones(ends[0])),
    }
    for name, optimiser in (("FIRE", FIRE), ("BFGS", BFGS), ("NEBOptimizer", NEBOptimizer)):
        kind = calculator()
        atoms = [Atoms("Ar" * n, image) for image in band]
        for image in atoms:
            image.calc = kind()
        chain = NEB(atoms, k=1.0, climb=True, method="improvedtangent")
        begin = time.perf_counter()
        try:
            run = optimiser(chain, logfile=None)
            done = run.run(fmax=max_force, steps=2000)
        except Exception as error:  # a peer that gives up is a result too
            done = f"{type(error).__name__}"
        row[f"ase_{name}_s"] = time.perf_counter() - begin
        row[f"ase_{name}_calls"] = kind.calls
        row[f"ase_{name}_barrier"] = max(image.get_potential_energy() for image in atoms) - atoms[0].get_potential_energy()
        row[f"ase_{name}_converged"] = str(done)
    return row


def hessian(n: int) -> dict:
    """All second derivatives at a minimum."""
    import tempfile

    from ase import Atoms
    from ase.vibrations import Vibrations

    surface = dynamics.Surface(lennard_jones, masses=np.ones(n))
    start = np.random.default_rng(0).normal(size=(n, 3)) * 1.2
    at = dynamics.minimise(surface, start, max_force=1e-8, max_steps=5000).positions
    first, seconds, found = timed(lambda: dynamics.vibrations(surface, at))
    atoms = Atoms("H" * n, np.asarray(at), masses=np.ones(n))
    atoms.calc = calculator()()
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        peer = Vibrations(atoms, name=f"{folder}/vib", delta=0.001, nfree=2)
        peer.run()
        theirs = peer.get_vibrations().get_hessian_2d()
        taken = time.perf_counter() - begin
    difference = np.linalg.norm(theirs - np.asarray(found.hessian)) / np.linalg.norm(theirs)
    times = {"first_s": first, "ours_s": seconds, "ase_s": taken}
    return {"case": f"Hessian of LJ{n}", **times, "relative_difference": float(difference)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=None, help="a JSON file for the figures")
    arguments = parser.parse_args()
    from _measure import environment

    rows = [minima(13, 16), path(), hessian(24)]
    for row in rows:
        print(json.dumps(row, indent=1))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps({"environment": environment(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
