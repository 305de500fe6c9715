"""What `jaxnmr md` does once its flags are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import jaxnmr as jn
from jaxnmr.cli._dynamics import GPA, PICTURES, Job, draw, surface_of
from jaxnmr.cli._say import Failure, say, warnings_to
from jaxnmr.dynamics import NPT, NVE, Langevin, MDResult, MotionError, NoseHoover

__all__ = ["Plan", "md", "method_of"]


@dataclass(frozen=True)
class Plan:
    """How to move, and for how long."""

    method: Any
    temperature: float
    dt: float
    steps: int
    every: int
    frame_every: int
    seed: int
    checkpoint: Path | None
    resume: Path | None


def method_of(ensemble: str, temperature: float, pressure: float, friction: float, period: float | None) -> Any:
    """The method with its numbers."""
    if ensemble == "nve":
        return NVE()
    if ensemble == "langevin":
        return Langevin(temperature, friction)
    if ensemble == "nose-hoover":
        return NoseHoover(temperature, 100.0 if period is None else period)
    return NPT(temperature, pressure * GPA, friction, 500.0 if period is None else period)


def md(job: Job, path: Path, frame: int, plan: Plan) -> None:
    """Read, move, write."""
    trajectories = job.named((".xyz", ".extxyz", ".h5", ".hdf5"))
    if len(trajectories) > 1:
        raise Failure("output: one trajectory is written; name one, and a picture.")
    structure = jn.structure.read(path, frame=frame)
    from rich.console import Console
    from rich.progress import Progress

    console, error = Console(stderr=True), None
    with warnings_to(job.heard), Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        surface = surface_of(job, structure)
        task = bar.add_task("moving", total=plan.steps)

        def told(done: int, total: int, temperature: float) -> None:
            bar.update(task, completed=done, description=f"{done * plan.dt:g} fs, {temperature:.0f} K")

        try:
            run = jn.dynamics.md(
                surface,
                None if plan.resume is not None else structure.positions,
                plan.method,
                steps=plan.steps,
                dt=plan.dt,
                temperature=plan.temperature,
                seed=plan.seed,
                every=plan.every,
                trajectory=trajectories[0] if trajectories else None,
                frame_every=plan.frame_every,
                checkpoint=plan.checkpoint,
                resume=plan.resume,
                progress=told,
            )
        except MotionError as stopped:
            run, error = stopped.result, str(stopped)
    result: Any = run
    for name in job.named(PICTURES):
        if len(result.time):
            draw(picture(result), name)
    job.finish(_report(result), error)


def _report(run: MDResult) -> dict[str, Any]:
    report: dict[str, Any] = {"ending": run.ending.name.lower(), "samples": len(run.time), "dof": run.dof}
    if len(run.time):
        report |= {"time_fs": float(run.time[-1]), "drift_ev_per_fs": float(run.drift)}
        say(f"{run.time[-1]:g} fs")
    if len(run.time) >= 8:
        for name, unit in (("temperature", "k"), ("energy", "ev"), ("volume", "a3")):
            if getattr(run, name) is None:
                continue
            mean, error, effective = (float(part) for part in run.mean(name))
            report[f"{name}_{unit}"] = {"mean": mean, "stderr": error, "effective_samples": effective}
            say(f"{name} {mean:.6g} +- {error:.2g} {unit.upper()} ({effective:.0f} independent samples)")
    return report


def picture(run: MDResult) -> Any:
    """Energies and temperature against time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    time = run.time / 1000
    for values, name in ((run.energy, "potential"), (run.kinetic, "kinetic"), (run.conserved, "conserved")):
        above.plot(time, np.asarray(values) - np.asarray(values)[0], lw=0.9, label=name)
    above.set(ylabel="change of energy / eV")
    above.legend(frameon=False, fontsize="small")
    below.plot(time, run.temperature, lw=0.9, color="C3")
    below.set(xlabel="time / ps", ylabel="temperature / K")
    return figure
