"""Clusters of Lennard-Jones atoms: minima, a path, second derivatives and minima hopping, beside ASE.

The potential is evaluated by the same jitted function for both: ASE drives it through a calculator, as it would a network.
A call costs microseconds, so the times show what the drivers cost.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from _measure import environment

from jaxnmr import dynamics

# Lowest known energies: Wales and Doye, J. Phys. Chem. A 101, 5111 (1997).
LOWEST = {13: -44.32680142, 38: -173.92842659}


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


def _start(n: int, seed: int, walkers: int = 1) -> np.ndarray:
    return (n / 13) ** (1 / 3) * 1.3 * np.random.default_rng(seed).normal(size=(walkers, n, 3))


def _ours(n: int, seed: int, cap: int, walkers: int) -> tuple[int, bool]:
    """Force calls of all walkers together until one of them stands in the lowest minimum.

    The search keeps its memory over a stage of hops; the cap is looked at between stages.
    """
    surface, start, kinetic, spent, hops = dynamics.Surface(lennard_jones), _start(n, seed, walkers), None, 0, 50
    while spent < cap:
        run = dynamics.minima_hopping(
            surface,
            start,
            hops=hops,
            target=LOWEST[n] if walkers == 1 else None,
            kinetic=kinetic,
            seed=1000 * seed + spent,
            max_steps=3000,
        )
        spent += run.evaluations
        if run.energies[0] <= LOWEST[n] + 1e-4:
            return spent, spent <= cap
        start, kinetic = np.asarray(run.positions)[run.path[-1]], float(np.mean(run.kinetic))
        hops = max(50, min(3000, int((cap - spent) * hops / run.evaluations)))
    return spent, False


def _ase(n: int, seed: int, cap: int) -> tuple[int, bool]:
    """The same of ASE's MinimaHopping with its defaults but for a step that suits the potential."""
    from ase import Atoms, units
    from ase.optimize.minimahopping import MinimaHopping

    class Enough(Exception):
        pass

    np.random.seed(seed)
    kind = calculator()

    class Watched(kind):
        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            if self.results["energy"] <= LOWEST[n] + 1e-3 or kind.calls >= cap:
                raise Enough

    start = _start(n, seed)[0]
    low = np.asarray(dynamics.minimise(lennard_jones, start, max_force=1e-2, max_steps=3000, throw=False).positions)
    atoms, here = Atoms("H" * n, low, masses=np.ones(n)), os.getcwd()
    atoms.calc = Watched()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            # One unit of time of the reduced potential is one of ASE's; temperatures are in K there.
            MinimaHopping(atoms, Ediff0=0.5, T0=0.5 / units.kB, timestep=0.02 / units.fs, fmax=1e-2)(totalsteps=1_000_000)
        except Enough:
            pass
        finally:
            os.chdir(here)
    return kind.calls, kind.calls < cap


def hopping(n: int, seeds: int, cap: int, walkers: int, ase: bool, log: Path | None) -> dict:
    """Force calls until the lowest minimum from random starts, seed after seed; those in `log` are not run again."""
    who = "ASE MinimaHopping" if ase else f"minima hopping, {walkers} walkers"
    key = {"who": who, "atoms": n, "cap": cap}
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log is not None and log.exists() else []
    done = {line["seed"]: line for line in lines if key.items() <= line.items()}
    for seed in range(seeds):
        if seed in done:
            continue
        begin = time.perf_counter()
        calls, found = _ase(n, seed, cap) if ase else _ours(n, seed, cap, walkers)
        done[seed] = {**key, "seed": seed, "calls": calls, "found": found, "seconds": time.perf_counter() - begin}
        done[seed]["commit"] = environment()["commit"]
        print(json.dumps(done[seed]), flush=True)
        if log is not None:
            with log.open("a") as file:
                file.write(json.dumps(done[seed]) + "\n")
    mine = [done[seed] for seed in range(seeds)]
    return {
        "case": f"{who} of LJ{n}",
        "seeds": seeds,
        "cap": cap,
        "found": sum(line["found"] for line in mine),
        "median_calls": float(np.median([line["calls"] for line in mine])),
        "calls": [line["calls"] for line in mine],
        "commits": sorted({line["commit"] for line in mine}),
    }
