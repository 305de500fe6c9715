"""Networks on crystals and molecules: bands, motion, replicas and second derivatives, beside ASE with the same potential.

A call costs milliseconds and more, so what counts is how many calls there are, and how little time passes between them.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _dynamics_clusters import timed

import jaxnmr as jn
from jaxnmr import dynamics
from jaxnmr.workflow._hops import proton_hops

SHARED = Path(__file__).parents[2] / "shared"
SHIPPED, FOUNDATION = "khco3", str(SHARED / "weights/nequix-oam-1.nqx")


def crystal(repeats: tuple[int, int, int] = (1, 1, 1)) -> jn.Structure:
    """Potassium bicarbonate, 24 atoms a cell."""
    data = Path(os.environ.get("JAXNMR_DATA", SHARED / "data"))
    one = jn.structure.read(data / "khco3/khco3_experimental.extxyz")
    cell = np.asarray(one.cell)
    shifts = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), -1).reshape(-1, 3)
    positions = (np.asarray(one.positions)[None] + (shifts @ cell)[:, None]).reshape(-1, 3)
    return jn.Structure(list(one.species) * len(shifts), positions, cell * np.array(repeats)[:, None])


def named(model: str) -> str:
    return "the shipped potential" if model == SHIPPED else Path(model).stem


def call_time(surface: dynamics.Surface, positions: jax.Array, repeats: int = 9) -> tuple[float, float]:
    """Seconds of one bare call of energy and forces under jit, and of its compilation."""
    bare = eqx.filter_jit(lambda surface, x: surface.value_and_gradient(x, surface.neighbors))
    first, each, _ = timed(lambda: bare(surface, positions), repeats)
    return each, first - each


def protons(model: str) -> tuple[dynamics.Surface, list[np.ndarray], jn.Structure, object]:
    """Ends of the first proton transfer of a dimer, both at rest, on the network's surface."""
    atoms, potential = crystal(), jn.load_potential(model, "float64")
    surface, before = dynamics.Surface.from_potential(potential, atoms), np.asarray(atoms.positions)
    event = proton_hops(atoms)[0]
    start = dynamics.minimise(surface, before, max_force=0.005, max_steps=800).positions
    end = dynamics.minimise(surface, start + (event.positions - before), max_force=0.005, max_steps=800).positions
    return surface, [np.asarray(start), np.asarray(end)], atoms, potential


def shift_of_hydrogen(model: str) -> tuple[dynamics.Surface, list[np.ndarray], jn.Structure, object]:
    """Carbonic acid: one hydrogen goes from its oxygen to the bare one; in the end the other two oxygens are exchanged."""
    species = ["C", "O", "O", "O", "H", "H"]
    arm = lambda turn, r: r * np.array([np.cos(turn), np.sin(turn), 0])  # noqa: E731
    places = [np.zeros(3), *(arm(np.pi / 2 + k * 2 * np.pi / 3, r) for k, r in enumerate((1.34, 1.34, 1.21)))]
    # Each hydrogen on the side of the bare oxygen, number 3.
    places.append(places[1] + arm(np.pi / 6, 0.97))
    places.append(places[2] + arm(-np.pi / 2, 0.97))
    near = np.array(places)
    atoms, potential = jn.Structure(species, near), jn.load_potential(model, "float64")
    surface = dynamics.Surface.from_potential(potential, atoms)
    start = np.asarray(dynamics.minimise(surface, near, max_force=0.005, max_steps=800).positions)
    far = start.copy()
    # Mirrored through the line that halves the angle between oxygens 1 and 3: the first hydrogen sits on oxygen 3.
    away = start[[1, 3]] - start[0]
    half = (away / np.linalg.norm(away, axis=1)[:, None]).sum(axis=0)
    half /= np.linalg.norm(half)
    far[4] = start[0] + 2 * ((start[4] - start[0]) @ half) * half - (start[4] - start[0])
    end = np.asarray(dynamics.minimise(surface, far, max_force=0.005, max_steps=800).positions)
    return surface, [start, end[[0, 2, 1, 3, 4, 5]]], atoms, potential


def band(name: str, given: tuple, images: int = 7, max_force: float = 0.02, peers: bool = True, times: bool = True) -> dict:
    """A climbing band from one first path for all; evaluations of all images, ends included."""
    surface, ends, atoms, potential = given
    match = {"match": 2, "among": (1, 2)} if surface.cell is None else {}
    settings = dict(max_force=max_force, max_steps=500, throw=False)
    first = dynamics.neb(surface, *ends, images=images, end_force=None, **{**settings, "max_steps": 0}, **match)
    path = np.asarray(first.positions)
    row: dict = {"case": f"climbing band of {name}, {images} images", "max_force": max_force}
    if first.order is not None:
        row["order_of_the_end"] = [int(k) for k in first.order]
        matched = dynamics.neb(surface, *ends, images=images, **settings, **match)
        row |= {"matched_barrier_ev": float(matched.barrier), "matched_calls_of_all_ways": int(matched.evaluations)}
    run = lambda: dynamics.neb(surface, path, end_force=None, **settings)  # noqa: E731
    begin = time.perf_counter()
    found = run()
    row["first_s"] = time.perf_counter() - begin
    if times:
        row["call_s"], row["compile_call_s"] = call_time(surface, jnp.asarray(path[0]))
        begin = time.perf_counter()
        found = run()
        row["ours_s"] = time.perf_counter() - begin
        row["over_bare_calls"] = row["ours_s"] / (row["call_s"] * int(found.evaluations))
    row |= {
        "ours_calls": int(found.evaluations),
        "ours_barrier_ev": float(found.barrier),
        "ours_status": found.status.name,
        "energies_ev": [round(float(e), 4) for e in found.energies - found.energies[0]],
        "arc_a": [round(float(a), 3) for a in found.arc],
    }
    return row | (_bands_of_ase(path, atoms, potential, max_force) if peers else {})


def _bands_of_ase(path: np.ndarray, atoms: jn.Structure, potential, max_force: float) -> dict:
    from ase.mep.neb import NEB, NEBOptimizer
    from ase.optimize import BFGS, FIRE

    class Band(NEB):
        """NEBOptimizer stops by the largest component of a force, the others by the largest norm, as we do: all by that."""

        largest = np.inf

        def get_forces(self):
            forces = super().get_forces()
            self.largest = float(np.linalg.norm(forces, axis=-1).max())
            return forces

        def get_residual(self):
            return self.largest

    row: dict = {}
    for name, optimiser in (("FIRE", FIRE), ("BFGS", BFGS), ("NEBOptimizer", NEBOptimizer)):
        calls, chain = [0], []
        for positions in path:
            image = atoms.to_ase()
            image.set_positions(positions)
            image.calc = _counted(potential.calculator(), calls)
            chain.append(image)
        # Springs as strong as ours; turns and shifts of a molecule are taken out there too.
        whole = Band(
            chain, k=1.0, climb=True, method="improvedtangent", remove_rotation_and_translation=not any(chain[0].pbc)
        )
        try:
            done = optimiser(whole, logfile=None).run(fmax=max_force, steps=300)
        except Exception as error:  # a peer that gives up is a result too
            done = type(error).__name__
        energies = [image.get_potential_energy() for image in chain]
        row |= {f"ase_{name}_calls": calls[0], f"ase_{name}_barrier_ev": max(energies) - energies[0]}
        row[f"ase_{name}_converged"] = str(done)
    return row


def _counted(calculator, calls: list[int]):
    calculate = calculator.calculate

    def counting(*args, **kwargs):
        calls[0] += 1
        calculate(*args, **kwargs)

    calculator.calculate = counting
    return calculator


def hessian(model: str, peers: bool = True) -> dict:
    """All second derivatives of 24 atoms in float64, against ASE's differences and Richardson's limit of them."""
    from ase.vibrations import Vibrations

    atoms, potential = crystal(), jn.load_potential(model, "float64")
    surface = dynamics.Surface.from_potential(potential, atoms)
    at = jnp.asarray(np.asarray(atoms.positions))
    first, seconds, found = timed(lambda: dynamics.vibrations(surface, at), 1)
    row = {"case": f"Hessian of KHCO3, 24 atoms, {named(model)}, float64", "first_s": first, "ours_s": seconds}
    if not peers:
        return row
    peer = atoms.to_ase()
    peer.calc = potential.calculator()
    peer.get_forces()
    rows = []
    for delta in (0.01, 0.005):
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            theirs = Vibrations(peer, name=f"{folder}/vib", delta=delta, nfree=2)
            theirs.run()
            rows.append(theirs.get_vibrations().get_hessian_2d())
            row.setdefault("ase_s", time.perf_counter() - begin)
    size = np.linalg.norm(found.hessian)
    limit = (4 * rows[1] - rows[0]) / 3
    row["relative_to_differences"] = float(np.linalg.norm(rows[0] - np.asarray(found.hessian)) / size)
    row["relative_to_their_limit"] = float(np.linalg.norm(limit - np.asarray(found.hessian)) / size)
    return row


def motion(model: str, repeats: tuple[int, int, int], steps: int = 20) -> dict:
    """Langevin steps against bare calls of energy and forces, and against ASE driving the same potential; float32."""
    from ase import units
    from ase.md.langevin import Langevin

    potential, atoms = jn.load_potential(model, "float32"), crystal(repeats)
    surface = dynamics.Surface.from_potential(potential, atoms)
    r = jnp.asarray(np.asarray(atoms.positions), jnp.float32)
    each, compilation = call_time(surface, r)
    given = dict(steps=steps, every=steps, block_steps=steps, dt=0.5)
    run = lambda: dynamics.md(surface, r, dynamics.Langevin(300.0, 0.01), **given).state.positions  # noqa: E731
    ours_first, ours, _ = timed(run, 5)
    peer = atoms.to_ase()
    peer.calc = potential.calculator()
    driver = Langevin(peer, 0.5 * units.fs, temperature_K=300, friction=0.01 / units.fs)
    driver.run(2)
    begin = time.perf_counter()
    driver.run(steps)
    theirs = (time.perf_counter() - begin) / steps
    return {
        "case": f"Langevin motion of KHCO3, {len(atoms)} atoms, {named(model)}, float32",
        "compile_call_s": compilation,
        "first_md_s": ours_first,
        "bare_call_s": each,
        "ours_step_s": ours / steps,
        "over_bare": ours / steps / each,
        "ase_step_s": theirs,
        "ase_over_ours": theirs / (ours / steps),
        "ns_per_day": 0.5e-6 * 86400 / (ours / steps),
    }


def replicas(model: str, most: int, steps: int = 10) -> dict:
    """Steps of all replicas together a second, 24 atoms each."""
    atoms = crystal()
    surface = dynamics.Surface.from_potential(jn.load_potential(model, "float32"), atoms)
    r = jnp.asarray(np.asarray(atoms.positions), jnp.float32)
    rows, count = [], 1
    while count <= most:
        many = jnp.tile(r[None], (count, 1, 1))
        given = dict(steps=steps, every=steps, block_steps=steps, dt=0.5)
        run = lambda: dynamics.md(surface, many, dynamics.Langevin(300.0, 0.01), **given).state.positions  # noqa: B023, E731
        _, seconds, _ = timed(run, 1)
        rows.append((count, count * steps / seconds))
        count *= 4
    return {"case": f"replicas of KHCO3, 24 atoms each, {named(model)}, float32", "replicas_and_steps_per_s": rows}
