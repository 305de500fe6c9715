"""Is the potential that the package ships stable? 100 ps of KHCO3 at constant temperature and volume, and what came of it.

    python benchmarks/student_md.py                     # 24 atoms, 500 K, 200000 steps of 0.5 fs: 25 minutes and more
    python benchmarks/student_md.py --kelvin 300 --steps 20000

Trajectory and checkpoint lie in build/student-md; broken off, the same command goes on from there. Told are temperature, the
drift of what Langevin's bath conserves, the largest force, and the ranges of distances: each carbon to its three nearest
oxygens, each hydrogen to its nearest and second oxygen, potassium to its nearest oxygen, the closest pair of all, and how
often a hydrogen has changed its oxygen. Results go to benchmarks/results/student_md.json with a picture.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import jax
import numpy as np
from _measure import ROOT, environment, load

import jaxnmr as jn
from jaxnmr.dynamics import Langevin, MotionError, Surface, md

RESULTS, START = Path(__file__).parent / "results", ROOT / "jaxnmr" / "data" / "khco3.extxyz"


def distances(frames: np.ndarray, species: np.ndarray, cell: np.ndarray) -> dict[str, np.ndarray]:
    """Those that say whether the ions are whole, (frame, ...), Å; images of the nearest cells count."""
    shifts = np.stack(np.meshgrid(*3 * [np.arange(-1, 2)], indexing="ij"), -1).reshape(-1, 3)
    inverse = np.linalg.inv(cell)
    found: dict[str, list] = {"C-O": [], "H-O": [], "H...O": [], "K-O": [], "closest": [], "oxygen": []}
    carbon, oxygen, hydrogen, potassium = (np.flatnonzero(species == symbol) for symbol in ("C", "O", "H", "K"))
    for x in frames:
        apart = (x[None] - x[:, None]) @ inverse
        apart = (apart - np.round(apart)) @ cell
        r = np.linalg.norm(apart[:, :, None] + shifts @ cell, axis=-1)
        r[np.arange(len(x)), np.arange(len(x)), len(shifts) // 2] = np.inf
        found["closest"].append(r.min())
        found["C-O"].append(np.sort(r[np.ix_(carbon, oxygen)].reshape(len(carbon), -1))[:, :3])
        near = np.sort(r[np.ix_(hydrogen, oxygen)].reshape(len(hydrogen), -1))
        found["H-O"].append(near[:, 0])
        found["H...O"].append(near[:, 1])
        found["K-O"].append(r[np.ix_(potassium, oxygen)].reshape(len(potassium), -1).min(axis=1))
        found["oxygen"].append(r[np.ix_(hydrogen, oxygen)].min(axis=-1).argmin(axis=1))
    return {name: np.array(values) for name, values in found.items()}


def picture(
    path: Path, times: np.ndarray, temperature: np.ndarray, drift: np.ndarray, apart: dict, apart_times: np.ndarray
) -> None:
    """Temperature, conserved energy and distances against time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True)
    panels[0].plot(times, temperature, color="#0072B2", lw=0.3)
    panels[0].set_ylabel("temperature / K", fontsize=8)
    panels[1].plot(times, drift, color="#D55E00", lw=0.6)
    panels[1].set_ylabel("drift / meV per atom", fontsize=8)
    for name, colour in (("C-O", "#0072B2"), ("H-O", "#D55E00"), ("H...O", "#E69F00"), ("K-O", "#009E73")):
        values = apart[name].reshape(len(apart_times), -1)
        panels[2].fill_between(
            apart_times, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.5, lw=0, label=name
        )
    panels[2].legend(frameon=False, fontsize=7, ncols=4)
    panels[2].set_ylabel("least and greatest / Å", fontsize=8)
    panels[2].set_xlabel("time / ps", fontsize=8)
    for panel in panels:
        panel.tick_params(labelsize=7)
    figure.savefig(path, dpi=160)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kelvin", type=float, default=500.0)
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--model", default="khco3")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "student-md")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    structure, before, dt, every = jn.structure.read(START), load(), 0.5, 10
    potential = jn.load_potential(given.model)
    surface = Surface.from_potential(potential, structure)
    stem = f"{Path(given.model).stem}-{given.kelvin:g}K-{given.seed}"
    checkpoint, trajectory = given.folder / f"{stem}.npz", given.folder / f"{stem}.xyz"
    begun, goes_on = time.perf_counter(), checkpoint.exists()

    def report(step: int, steps: int, kelvin: float) -> None:
        if step % 5000 == 0:
            print(f"{step}/{steps} {kelvin:.0f} K, {time.perf_counter() - begun:.0f} s", flush=True)

    ended = "whole"
    try:
        ran = md(
            surface,
            None if goes_on else np.asarray(structure.positions),
            Langevin(temperature=given.kelvin, friction=0.01),
            steps=given.steps,
            dt=dt,
            seed=given.seed,
            every=every,
            trajectory=trajectory,
            frame_every=5 * every,
            checkpoint=checkpoint,
            resume=checkpoint if goes_on else None,
            progress=report,
        )
    except MotionError as error:
        ran, ended = error.result, str(error)
    seconds = time.perf_counter() - begun

    species, cell, n = np.array(structure.species), np.asarray(structure.cell), len(structure)
    frames = np.array([np.asarray(frame.positions) for frame in jn.structure.read_all(trajectory)])
    apart, times = distances(frames, species, cell), np.arange(1, len(frames) + 1) * dt * 5 * every * 1e-3
    some = frames[:: max(1, len(frames) // 500)]
    forces = np.array([potential.forces(jn.Structure(list(species), x, cell)) for x in some])
    temperature = np.asarray(ran.temperature, float)
    conserved = 1e3 * (np.asarray(ran.conserved, float) - float(np.asarray(ran.conserved)[0])) / n
    sample_times = np.arange(len(temperature)) * dt * every * 1e-3
    late = sample_times > 0.1 * sample_times[-1]
    slope, _ = np.polyfit(sample_times, conserved, 1)
    record = {
        "ended": ended,
        "picoseconds": float(sample_times[-1]),
        "mean_kelvin_after_a_tenth": float(temperature[late].mean()),
        "kelvin_range": [float(temperature[late].min()), float(temperature[late].max())],
        "drift_mev_per_atom_per_ps": float(slope),
        "drift_mev_per_atom_largest": float(np.abs(conserved).max()),
        "largest_force_ev_per_angstrom": float(np.linalg.norm(forces, axis=-1).max()),
        "rms_force_component": float(np.sqrt(np.mean(forces**2))),
        "angstrom": {name: [float(apart[name].min()), float(apart[name].max())] for name in apart if name != "oxygen"},
        "hydrogens_with_another_oxygen": int((apart["oxygen"][1:] != apart["oxygen"][:-1]).sum()),
        "seconds_of_this_run": seconds,
        "went_on_from_a_checkpoint": goes_on,
        "settings": {
            "kelvin": given.kelvin,
            "steps": given.steps,
            "dt_fs": dt,
            "friction_per_fs": 0.01,
            "model": given.model,
        },
        "environment": environment(),
        "load": [before, load()],
    }
    shown = {name: value for name, value in record.items() if name not in ("environment", "settings", "load")}
    print(json.dumps(shown, indent=1))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "student_md.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(results | {f"{len(structure)} atoms, {given.kelvin:g} K": record}, indent=1) + "\n")
    picture(RESULTS / "student_md.png", sample_times, temperature, conserved, apart, times)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", False)
    main()
