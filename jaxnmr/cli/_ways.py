"""What `jaxnmr neb` and `jaxnmr rates` do once their flags are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import jaxnmr as jn
from jaxnmr.cli._dynamics import PICTURES, Job, busy, draw, moved, surface_of
from jaxnmr.cli._say import Failure, say
from jaxnmr.dynamics import SearchError
from jaxnmr.units import BOLTZMANN_IN_EV

__all__ = ["neb", "rates"]


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
    saddle: bool,
) -> None:
    """Read, find the path, write."""
    first, last = jn.structure.read(start), jn.structure.read(end)
    _same_atoms(first, last, match > 0)
    error, refined, found = None, None, None
    with busy(job, "searching the path"):
        surface = surface_of(job, first)
        try:
            ends: list[Any] = [first.positions, last.positions]
            if not keep_ends:
                ends = [jn.dynamics.minimise(surface, r, max_force=min(max_force, 0.01)).positions for r in ends]
            found = jn.dynamics.neb(
                surface, *ends, images=images, max_force=max_force, max_steps=max_steps, match=match, end_force=None
            )
            if saddle:
                refined = jn.dynamics.dimer(surface, found.top, found.tangent, sides=False)
        except SearchError as stopped:
            error = str(stopped)
            if found is None and hasattr(stopped.result, "barrier"):
                found = stopped.result
    report: dict[str, Any] = {"converged": error is None, "barrier_ev": None}
    path: Any = found
    if path is not None:
        report |= {
            "barrier_ev": float(path.barrier),
            "back_barrier_ev": float(path.back_barrier),
            "energies_ev": np.asarray(path.energies - path.energies[0]).tolist(),
            "length_a": np.asarray(path.arc).tolist(),
            "max_force_ev_a": float(path.max_force),
            "evaluations": int(path.evaluations),
        }
        say(f"barrier {path.barrier:.4f} eV, back {path.back_barrier:.4f} eV, {path.evaluations} evaluations")
        for name in job.named((".xyz", ".extxyz")):
            jn.structure.write([moved(first, r) for r in path.positions], name)
            if refined is not None:
                moved(first, refined.positions).write(name.with_stem(f"{name.stem}-saddle"))
        for name in job.named(PICTURES):
            draw(path.plot(), name)
    if refined is not None and path is not None:
        report |= {"saddle_ev": float(refined.energy - path.energies[0]), "saddle_curvature": float(refined.curvature)}
        say(f"saddle {report['saddle_ev']:.4f} eV above the start, curvature {refined.curvature:.3f} eV/Å²")
    job.finish(report, error)


def _same_atoms(first: jn.Structure, last: jn.Structure, renamed: bool) -> None:
    same = sorted(first.species) == sorted(last.species) if renamed else first.species == last.species
    if not same:
        raise Failure("end: has other atoms than the start, or in another order; correct it, or add --match 10.")
    if (first.cell is None) != (last.cell is None) or (
        first.cell is not None and not np.allclose(np.asarray(first.cell), np.asarray(last.cell), atol=1e-4)
    ):
        raise Failure("end: has another cell than the start; minimise both in one cell.")


def rates(
    job: Job,
    minimum: Path,
    saddle: Path,
    temperatures: str,
    tunnelling: str,
    *,
    classical: bool,
    degeneracy: float,
    refine: bool,
) -> None:
    """Read, refine, count vibrations, report."""
    try:
        t = np.array([float(word) for word in temperatures.split(",")])
    except ValueError:
        raise Failure(f"temperatures_k: got {temperatures!r}; give numbers between commas, as 250,300.") from None
    low, high = jn.structure.read(minimum), jn.structure.read(saddle)
    _same_atoms(low, high, renamed=False)
    correction = {"none": None, "wigner": jn.rates.Wigner(), "eckart": jn.rates.Eckart()}[tunnelling]
    with busy(job, "vibrations"):
        surface = surface_of(job, low)
        places: list[Any] = [low.positions, high.positions]
        try:
            if refine:
                left = jn.dynamics.minimise(surface, places[0], max_force=1e-4, max_steps=3000)
                soft = jn.dynamics.vibrations(surface, places[1], lowest=1).displacement(0)
                top = jn.dynamics.dimer(surface, places[1], soft, max_force=1e-4)
                places = [left.positions, top.positions, _other_side(left, top)]
        except SearchError as stopped:
            job.finish({"converged": False, "rates_per_s": None}, str(stopped))
        points = [jn.dynamics.vibrations(surface, r, max_force=0.05) for r in places]
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
    job.finish(report)


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
