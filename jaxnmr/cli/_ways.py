"""What `jaxnmr neb` and `jaxnmr rates` do once their flags are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import jaxnmr as jn
from jaxnmr.cli._dynamics import PICTURES, Job, busy, draw, moved, surface_of
from jaxnmr.cli._say import Failure, say
from jaxnmr.dynamics import SearchError
from jaxnmr.errors import warn
from jaxnmr.saving import written_aside
from jaxnmr.units import BOLTZMANN_IN_EV

__all__ = ["neb", "rates", "temperatures"]

# Å; two descents into one minimum end so near to each other, two minima are farther apart.
_SAME = 0.2


def neb(
    job: Job,
    start: Path,
    end: Path,
    images: int,
    max_force: float,
    max_steps: int,
    match: int,
    *,
    keep_ends: bool,
    saddles: tuple[Path, ...] | None,
) -> None:
    """Read, find the path, write; `saddles` are the files for the saddle, None where none is asked for."""
    first, last = jn.structure.read(start), jn.structure.read(end)
    _same_atoms(first, last, match > 0)
    order = _like(first.species, last.species)
    error: str | None = None
    refined: Any = None
    found: Any = None
    report: dict[str, Any] = {}
    with busy(job) as stage:
        surface = surface_of(job, first)
        try:
            ends: list[Any] = [first.positions, np.asarray(last.positions)[order]]
            if not keep_ends:
                # Finer where they are to be recognised at the foot of the saddle: soft modes leave atoms far from a minimum.
                goal = min(max_force, 0.01 if saddles is None else 1e-3)
                names = ("going down from the start", "going down from the end")
                ends = [
                    jn.dynamics.minimise(surface, r, max_force=goal, progress=stage(name)).positions
                    for r, name in zip(ends, names, strict=True)
                ]
            if match:
                _not_renamed(surface, *ends)
            found = jn.dynamics.neb(
                surface,
                *ends,
                images=images,
                max_force=max_force,
                max_steps=max_steps,
                match=match,
                end_force=0.1 if keep_ends else None,
                progress=stage("searching the path"),
            )
            if saddles is not None:
                told = stage("refining the saddle and going down from it")
                refined = jn.dynamics.dimer(surface, found.top, found.tangent, progress=told)
        except SearchError as stopped:
            error = str(stopped)
            if isinstance(stopped.result, jn.dynamics.Path):
                found = stopped.result
            elif getattr(stopped.result, "sides", None) is not None:
                refined = stopped.result  # a saddle all the same: only a way down from it did not end
        if refined is not None and found is not None:
            report = _joined(surface, refined, found)
    if found is not None:
        report = _of_path(found) | report
        if found.order is not None:
            report["order"] = order[found.order].tolist()
        say(f"barrier {found.barrier:.4f} eV, back {found.back_barrier:.4f} eV, {found.evaluations} evaluations")
        for name in job.named((".xyz", ".extxyz")):
            if name not in (saddles or ()):
                jn.structure.write([moved(first, r) for r in found.positions], name)
        for name in job.named(PICTURES):
            draw(found.plot(), name)
    if refined is not None:
        for name in saddles or ():
            moved(first, refined.positions).write(name)
        say(f"saddle {report['saddle_ev']:.4f} eV above the start, curvature {refined.curvature:.3f} eV/Å²")
    job.finish({"converged": error is None, "barrier_ev": None} | report, error)


def _of_path(found: Any) -> dict[str, Any]:
    return {
        "barrier_ev": float(found.barrier),
        "back_barrier_ev": float(found.back_barrier),
        "energies_ev": np.asarray(found.energies - found.energies[0]).tolist(),
        "length_a": np.asarray(found.arc).tolist(),
        "max_force_ev_a": float(found.max_force),
        "evaluations": int(found.evaluations),
    }


def _like(first: Sequence[str], last: Sequence[str]) -> np.ndarray:
    """Which atom of the end to take for each of the start, the n-th of an element for the n-th."""
    order = np.empty(len(first), int)
    order[np.argsort(first, kind="stable")] = np.argsort(last, kind="stable")
    return order


def _not_renamed(surface: Any, first: Any, last: Any) -> None:
    """A jump between two places of like atoms ends where it began, once the atoms may change names."""
    nearest = _apart(surface, first, last, among=None)
    if nearest < _SAME:
        raise Failure(
            f"match: with like atoms renamed the end is the start ({nearest:.2g} Å away), and there is no path to find. To "
            "see the atoms change places, write the end with its atoms in the order of the start and leave out --match."
        )


def _apart(surface: Any, first: Any, other: Any, among: Sequence[int] | None = ()) -> float:
    """Farthest that an atom of one place is from itself in the other, Å; turned onto it where that costs nothing."""
    cell, pbc = surface.cell, surface.periodic
    (nearest,) = jn.dynamics.match_endpoints(first, other, surface.species, cell, among=among, pbc=pbc)
    return float(np.linalg.norm(nearest.positions - np.asarray(first), axis=1).max())


def _joined(surface: Any, saddle: Any, path: Any) -> dict[str, Any]:
    """Whether the ways down from the saddle lead to the ends of the path; a warning where they do not."""
    ends, sides = (path.positions[0], path.positions[-1]), saddle.sides
    apart = np.array([[_apart(surface, r, side) for side in sides.positions] for r in ends])
    # Each end from its own side, whichever way round.
    way = min(([0, 1], [1, 0]), key=lambda way: apart[[0, 1], way].max())
    near, levels = apart[[0, 1], way], np.asarray(sides.energy - path.energies[0])[way]
    joins = bool(near.max() < _SAME)
    if not joins:
        warn(
            f"saddle: leads down to minima at {levels[0]:+.4f} and {levels[1]:+.4f} eV from the start, {near[0]:.2f} Å from "
            f"the start and {near[1]:.2f} Å from the end: others lie between. Search the path from each to the next."
        )
    return {
        "saddle_ev": float(saddle.energy - path.energies[0]),
        "saddle_curvature": float(saddle.curvature),
        "joins_ends": joins,
        "sides_ev": levels.tolist(),
        "sides_from_ends_a": near.tolist(),
    }


def _same_atoms(first: jn.Structure, last: jn.Structure, renamed: bool) -> None:
    same = sorted(first.species) == sorted(last.species) if renamed else first.species == last.species
    if not same:
        cure = "give the same atoms" if renamed else "give the same atoms, or add --match 10 where only the order differs"
        raise Failure(f"end: has other atoms than the start, or in another order; {cure}.")
    if (first.cell is None) != (last.cell is None) or (
        first.cell is not None and not np.allclose(np.asarray(first.cell), np.asarray(last.cell), atol=1e-4)
    ):
        raise Failure("end: has another cell than the start; minimise both in one cell.")


def temperatures(words: str) -> np.ndarray:
    """Temperatures between commas, K.

    Raises:
        Failure: no numbers, or not all above zero.
    """
    try:
        t = np.array([float(word) for word in words.split(",")])
    except ValueError:
        raise Failure(f"temperatures_k: got {words!r}; give numbers between commas, as 250,300.") from None
    if not (np.isfinite(t).all() and (t > 0).all()):
        raise Failure(f"temperatures_k: got {words!r}; give temperatures above 0 K.")
    return t


def rates(
    job: Job,
    minimum: Path,
    saddle: Path,
    t: np.ndarray,
    tunnelling: str,
    *,
    classical: bool,
    degeneracy: float,
    symmetries: tuple[float, float],
    refine: bool,
) -> None:
    """Read, refine, count vibrations, report; at temperatures t, with symmetry numbers of minimum and saddle."""
    if not (degeneracy > 0 and min(symmetries) > 0):
        raise Failure(f"degeneracy, symmetry: got {degeneracy:g} and {symmetries}; give numbers > 0, 1 for none.")
    low, high = jn.structure.read(minimum), jn.structure.read(saddle)
    _same_atoms(low, high, renamed=False)
    correction = {"none": None, "wigner": jn.rates.Wigner(), "eckart": jn.rates.Eckart()}[tunnelling]
    with busy(job) as stage:
        surface = surface_of(job, low)
        places: list[Any] = [low.positions, high.positions]
        try:
            if refine:
                told = stage("going down to the minimum")
                left = jn.dynamics.minimise(surface, places[0], max_force=1e-4, max_steps=3000, progress=told)
                stage("looking for the way up")
                soft = jn.dynamics.vibrations(surface, places[1], lowest=1).displacement(0)
                told = stage("refining the saddle and going down from it")
                top = jn.dynamics.dimer(surface, places[1], soft, max_force=1e-4, progress=told)
                places = [left.positions, top.positions, _other_side(left, top)]
        except SearchError as stopped:
            job.finish({"converged": False, "rates_per_s": None}, str(stopped))
        points = [
            jn.dynamics.vibrations(surface, r, max_force=0.05, progress=stage(f"vibrations of the {name}"))
            for r, name in zip(places, ("minimum", "saddle", "product"), strict=False)
        ]
        # Without a search the other side is not known: Eckart's barrier is then taken to be symmetric.
        product = points[2] if len(points) > 2 else None
        k = jn.rates.eyring(
            points[0],
            points[1],
            t,
            product=product,
            tunnelling=correction,
            quantum=not classical,
            degeneracy=degeneracy,
            symmetry=symmetries[0],
            saddle_symmetry=symmetries[1],
        )
    k = np.asarray(k, np.float64)
    report: dict[str, Any] = {
        "converged": True,
        "barrier_ev": float(points[1].energy - points[0].energy),
        "back_barrier_ev": None if product is None else float(points[1].energy - product.energy),
        "temperatures_k": t.tolist(),
        "rates_per_s": k.tolist(),
        "imaginary_per_cm": float(np.min(np.asarray(points[1].wavenumbers))),
        "wavenumbers_per_cm": [np.asarray(point.wavenumbers).tolist() for point in points],
    }
    for temperature, rate in zip(t, k, strict=True):
        say(f"{temperature:g} K: {rate:.4g} /s")
    say(f"barrier {report['barrier_ev']:.4f} eV, imaginary mode {report['imaginary_per_cm']:.0f} /cm")
    if len(set(t.tolist())) >= 3:
        fit = jn.rates.arrhenius_fit(t, k)
        report |= {"prefactor_per_s": float(fit.prefactor), "activation_energy_ev": float(fit.activation_energy)}
        say(f"Arrhenius: {fit.prefactor:.3g} /s exp(-{fit.activation_energy:.4f} eV / kT)")
    for name in job.named(PICTURES):
        draw(_arrhenius(t, k, report), name)
    for name in job.named((".xyz", ".extxyz")):
        _write_points([moved(low, point.positions) for point in points], [float(point.energy) for point in points], name)
    job.finish(report)


def _write_points(frames: list[jn.Structure], energies: list[float], path: Path) -> None:
    """Frames with the energy of each, eV, in its line of comments, as extxyz has it."""
    with written_aside(path) as aside:
        jn.structure.write(frames, aside)
        lines = aside.read_text(encoding="utf-8").splitlines()
        for k, energy in enumerate(energies):
            lines[1 + k * (len(frames[0]) + 2)] += f" energy={energy:.17g}"
        aside.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _other_side(left: Any, top: Any) -> Any:
    """Where the saddle leads to from the minimum that is left; it is told by its energy, so that an image of it does too."""
    energies = np.asarray(top.sides.energy)
    near = int(np.argmin(np.abs(energies - float(left.energy))))
    if abs(energies[near] - float(left.energy)) > 2e-3:
        a, b = energies - float(left.energy)
        raise Failure(
            f"saddle: leads to minima at {a:+.4f} and {b:+.4f} eV from the minimum that was given; give one of these, or "
            "another saddle (--as-is takes both as they are)."
        )
    return top.sides.positions[1 - near]


def _arrhenius(t: np.ndarray, k: np.ndarray, report: dict[str, Any]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.semilogy(1000 / t, k, "o", label="transition-state theory")
    if "prefactor_per_s" in report:
        line = np.linspace((1000 / t).min(), (1000 / t).max(), 100)
        energy = report["activation_energy_ev"]
        law = report["prefactor_per_s"] * np.exp(-energy * line / (1000 * BOLTZMANN_IN_EV))
        axes.semilogy(line, law, "-", lw=0.9, label=f"Arrhenius, {energy:.3f} eV")
    axes.set(xlabel="1000 K / T", ylabel="rate / s⁻¹")
    axes.legend(frameon=False, fontsize="small")
    return figure
