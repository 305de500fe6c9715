"""Minima, paths, vibrations, minima hopping and motion against ASE, with the same potential in the same run.

    python benchmarks/dynamics.py
    python benchmarks/dynamics.py --cases hopping --atoms 38 --seeds 10 --cap 300000
    python benchmarks/dynamics.py --cases motion --model ../shared/weights/nequix-oam-1.nqx
    python benchmarks/dynamics.py --cases replicas --model ../shared/weights/nequix-oam-1.nqx --figure replicas.png

The potential is Lennard-Jones of a cluster, in reduced units, evaluated by the same jitted function for both: ASE drives it
through a calculator, as it would a network. A call costs microseconds, so the figures show what the drivers cost; with a
slower potential both tend to the time of its calls, and the number of calls is what counts. Compile time is apart.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import equinox as eqx
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


# Lowest known energies.
LOWEST = {13: -44.32680142, 38: -173.92842659}


def hopping(n: int, seeds: int, cap: int, walkers: int) -> dict:
    """Force calls until the lowest minimum, from random starts; those of all walkers together count."""
    surface = dynamics.Surface(lennard_jones)
    calls, found, seconds = [], 0, 0.0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        starts = (n / 13) ** (1 / 3) * 1.3 * rng.normal(size=(walkers, n, 3))
        begin, spent, start, kinetic = time.perf_counter(), 0, starts, None
        while spent < cap:
            run = dynamics.minima_hopping(
                surface,
                start,
                hops=50,
                target=LOWEST[n] if walkers == 1 else None,
                kinetic=kinetic,
                seed=1000 * seed + spent,
                max_steps=3000,
            )
            spent += run.evaluations
            if run.energies[0] <= LOWEST[n] + 1e-4:
                found += 1
                break
            start, kinetic = np.asarray(run.positions)[run.path[-1]], float(np.mean(run.kinetic))
        calls.append(spent)
        seconds += time.perf_counter() - begin
    return {
        "case": f"minima hopping of LJ{n}, {walkers} walkers",
        "seeds": seeds,
        "cap": cap,
        "found": found,
        "median_calls": float(np.median(calls)),
        "calls": calls,
        "seconds_per_seed": seconds / seeds,
    }


def hopping_of_ase(n: int, seeds: int, cap: int) -> dict:
    """ASE's MinimaHopping with its defaults but for a step that suits the potential, to the same cap of calls."""
    import os
    import tempfile

    from ase import Atoms, units
    from ase.optimize.minimahopping import MinimaHopping

    class Enough(Exception):
        pass

    calls, found, begin = [], 0, time.perf_counter()
    for seed in range(seeds):
        np.random.seed(seed)
        kind = calculator()

        class Watched(kind):
            def calculate(self, *args, kind=kind, **kwargs):
                super().calculate(*args, **kwargs)
                if self.results["energy"] <= LOWEST[n] + 1e-3 or kind.calls >= cap:
                    raise Enough

        start = (n / 13) ** (1 / 3) * 1.3 * np.random.default_rng(seed).normal(size=(n, 3))
        low = np.asarray(dynamics.minimise(lennard_jones, start, max_force=1e-2, max_steps=3000, throw=False).positions)
        atoms, here = Atoms("H" * n, low, masses=np.ones(n)), os.getcwd()
        atoms.calc = Watched()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                # One unit of time of the reduced potential is one of ASE's; temperatures are in K there.
                MinimaHopping(atoms, Ediff0=0.5, T0=0.5 / units.kB, timestep=0.02 / units.fs, fmax=1e-2)(totalsteps=100_000)
            except Enough:
                found += kind.calls < cap
            finally:
                os.chdir(here)
        calls.append(kind.calls)
    return {
        "case": f"ASE MinimaHopping of LJ{n}",
        "seeds": seeds,
        "cap": cap,
        "found": int(found),
        "median_calls": float(np.median(calls)),
        "calls": calls,
        "seconds_per_seed": (time.perf_counter() - begin) / seeds,
    }


def _khco3(model: Path, repeats: tuple[int, int, int]):
    import jaxnmr as jn

    crystal = jn.structure.read(Path(__file__).parents[2] / "shared/data/khco3/khco3_experimental.extxyz")
    cell = np.asarray(crystal.cell)
    shifts = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), -1).reshape(-1, 3)
    positions = (np.asarray(crystal.positions)[None] + (shifts @ cell)[:, None]).reshape(-1, 3)
    species = list(crystal.species) * len(shifts)
    atoms = jn.Structure(species, positions, cell * np.array(repeats)[:, None])
    return jn.load_potential(model, "float32"), atoms


def motion(model: Path, repeats: tuple[int, int, int], steps: int = 10) -> dict:
    """Langevin steps against bare calls of energy and forces, and against ASE driving the same potential; float32."""
    from ase import units
    from ase.md.langevin import Langevin

    potential, atoms = _khco3(model, repeats)
    surface = dynamics.Surface.from_potential(potential, atoms)
    r = jnp.asarray(np.asarray(atoms.positions), jnp.float32)
    bare = eqx.filter_jit(lambda surface, x: surface.value_and_gradient(x, surface.neighbors))
    first, per_call, _ = timed(lambda: bare(surface, r), 5)
    print(f"bare call {per_call:.3f} s, compiled in {first - per_call:.0f} s", flush=True)
    given = dict(steps=steps, every=steps, block_steps=steps, dt=0.5)
    run = lambda: dynamics.md(surface, r, dynamics.Langevin(300.0, 0.01), **given).state.positions  # noqa: E731
    ours_first, ours, _ = timed(run, 3)
    peer = atoms.to_ase()
    peer.calc = potential.calculator()
    driver = Langevin(peer, 0.5 * units.fs, temperature_K=300, friction=0.01 / units.fs)
    driver.run(2)
    begin = time.perf_counter()
    driver.run(steps)
    theirs = (time.perf_counter() - begin) / steps
    return {
        "case": f"Langevin motion of KHCO3, {len(atoms)} atoms",
        "compile_call_s": first - per_call,
        "first_md_s": ours_first,
        "bare_call_s": per_call,
        "ours_step_s": ours / steps,
        "over_bare": ours / steps / per_call,
        "ase_step_s": theirs,
        "ase_over_ours": theirs / (ours / steps),
        "ns_per_day": 0.5e-6 * 86400 / (ours / steps),
    }


def replicas(model: Path, figure: Path | None, most: int, steps: int = 10) -> dict:
    """Steps of all replicas together a second, 24 atoms each."""
    potential, atoms = _khco3(model, (1, 1, 1))
    surface = dynamics.Surface.from_potential(potential, atoms)
    r = jnp.asarray(np.asarray(atoms.positions), jnp.float32)
    rows, count = [], 1
    while count <= most:
        many = jnp.tile(r[None], (count, 1, 1))
        given = dict(steps=steps, every=steps, block_steps=steps, dt=0.5)
        run = lambda: dynamics.md(surface, many, dynamics.Langevin(300.0, 0.01), **given).state.positions  # noqa: B023, E731
        _, seconds, _ = timed(run, 1)
        rows.append((count, count * steps / seconds))
        print(f"{count} replicas: {rows[-1][1]:.3g} steps/s", flush=True)
        count *= 4
    if figure is not None:
        from matplotlib.figure import Figure

        canvas = Figure(figsize=(4.5, 3.2), layout="constrained")
        axes = canvas.subplots()
        axes.loglog(*zip(*rows, strict=True), "o-", base=2)
        axes.set(xlabel="replicas of 24 atoms", ylabel="steps of all replicas / s⁻¹")
        canvas.savefig(figure, dpi=150)
    return {"case": "replicas of KHCO3", "replicas_and_steps_per_s": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=["search"], choices=["search", "hopping", "motion", "replicas"])
    parser.add_argument("--atoms", type=int, default=13, choices=sorted(LOWEST))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--cap", type=int, default=100_000, help="force calls of each seed at most")
    parser.add_argument("--walkers", type=int, default=1)
    parser.add_argument("--peer-seeds", type=int, default=0, help="of ASE's MinimaHopping")
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--repeats", type=int, nargs=3, default=(1, 2, 4), help="cells along a, b, c; 24 atoms each")
    parser.add_argument("--most", type=int, default=64, help="replicas")
    parser.add_argument("--figure", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=None, help="a JSON file for the figures")
    arguments = parser.parse_args()
    from _measure import environment

    given, rows = arguments, []
    if given.model is None and {"motion", "replicas"} & set(given.cases):
        parser.error("--model is needed for motion and replicas")

    def show(row: dict) -> None:
        rows.append(row)
        print(json.dumps(row), flush=True)

    if "search" in given.cases:
        for row in (minima(13, 16), path(), hessian(24)):
            show(row)
    if "hopping" in given.cases:
        show(hopping(given.atoms, given.seeds, given.cap, given.walkers))
        if given.peer_seeds:
            show(hopping_of_ase(given.atoms, given.peer_seeds, given.cap))
    if "motion" in given.cases:
        show(motion(given.model, tuple(given.repeats)))
    if "replicas" in given.cases:
        show(replicas(given.model, given.figure, given.most))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps({"environment": environment(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
