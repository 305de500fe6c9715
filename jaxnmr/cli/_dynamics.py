"""What `minimise`, `md`, `neb` and `rates` share, and what `minimise` does once its flags are read."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np
import typer

import jaxnmr as jn
from jaxnmr.cli._say import Failure, one_line, say, warnings_to
from jaxnmr.dynamics import FIRE, LBFGS, SearchError, Surface
from jaxnmr.errors import missing_extra, near
from jaxnmr.saving import written_aside

__all__ = ["GPA", "PICTURES", "Job", "busy", "check_file", "draw", "job", "minimise", "moved", "surface_of"]

PICTURES = (".png", ".pdf", ".svg")
GPA = 1 / 160.2176634
"""eV/Å³."""


@dataclass(frozen=True)
class Job:
    """A potential, files to write, and how to report; `before` is when each file that was there had been written."""

    model: Path
    files: tuple[Path, ...]
    as_json: bool
    began: float
    heard: list[str]
    before: dict[Path, int]

    def named(self, suffixes: Sequence[str]) -> list[Path]:
        """Files with one of these endings."""
        return [path for path in self.files if path.suffix.lower() in suffixes]

    def written(self) -> list[Path]:
        """Files that are there and are not those of an earlier run."""
        return [path for path in self.files if path.exists() and path.stat().st_mtime_ns != self.before.get(path)]

    def finish(self, report: dict[str, Any], error: str | None = None) -> None:
        """Report on stdout if asked; exit status 3 with a line on stderr where the aim was missed."""
        written = self.written()
        for path in written:
            say(f"wrote {path}")
        if self.as_json:
            report |= {"seconds": time.perf_counter() - self.began, "files": [str(path) for path in written]}
            report |= {"error": error, "warnings": self.heard}
            typer.echo(json.dumps(report, indent=2))
        if error is not None:
            say(one_line(error))
            raise typer.Exit(3)


def job(
    model: Path, files: Sequence[Path], endings: Sequence[str], *, force: bool, x64: bool, as_json: bool, began: float
) -> Job:
    """Check the files, before any work.

    Raises:
        Failure: an unknown ending, no such folder, a file that exists.
        ImportError: matplotlib is missing for a picture.
    """
    for path in files:
        check_file(path, endings, force, "output")
    if any(path.suffix.lower() in PICTURES for path in files) and find_spec("matplotlib") is None:
        raise missing_extra("matplotlib", "plot")
    if len({path.resolve() for path in files}) < len(files):
        raise Failure("output: a file is named twice; name each once.")
    if x64:
        jax.config.update("jax_enable_x64", True)
    before = {path: path.stat().st_mtime_ns for path in files if path.exists()}
    return Job(model, tuple(files), as_json, began, [], before)


def check_file(path: Path, endings: Sequence[str], force: bool, name: str) -> None:
    """Raise Failure for a file that cannot be written."""
    suffix = path.suffix.lower()
    if suffix not in endings:
        raise Failure(f"{name}: {path.name!r} has no known ending{near(suffix, endings)}; use one of {', '.join(endings)}.")
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise Failure(f"{name}: {path} is a folder, or its folder does not exist or cannot be written to; name another.")
    if path.exists() and not force:
        raise Failure(f"{name}: {path} exists; add --force to replace it, or name another.")


def surface_of(job: Job, structure: jn.Structure) -> Surface:
    """The potential's surface for these atoms."""
    potential = jn.load_potential(job.model)
    unknown = [symbol for symbol in structure.elements if symbol not in potential.elements]
    if unknown:
        raise Failure(f"model: {job.model} does not know {', '.join(unknown)}; use a potential that was trained on them.")
    return Surface.from_potential(potential, structure)


def moved(structure: jn.Structure, positions: Any, cell: Any = None) -> jn.Structure:
    """The same atoms elsewhere, without the tensors of the old place."""
    return jn.Structure(
        structure.species,
        np.asarray(positions, np.float64),
        structure.cell if cell is None or structure.cell is None else np.asarray(cell, np.float64),
        structure.pbc if structure.cell is not None else None,
        labels=structure.labels,
        indices=structure.indices,
        isotopes=structure.isotopes,
    )


@contextmanager
def busy(job: Job) -> Iterator[Callable[[str], Callable[..., None]]]:
    """Say what runs, on a terminal only; warnings go to the report.

    Yields:
        From the name of a stage, which is said from then on, what `progress=` takes there: steps made, steps in all, and the
        largest force where there is one.
    """
    from rich.console import Console

    console = Console(stderr=True)
    with warnings_to(job.heard):
        if console.is_terminal:
            with console.status("reading") as status:

                def stage(what: str) -> Callable[..., None]:
                    def told(made: int, most: int, *force: float) -> None:
                        left = "".join(f", {each:.2g} eV/Å" for each in force)
                        status.update(f"{what}: {made} of {most}{left}")

                    status.update(what)
                    return told

                yield stage
        else:
            yield lambda what: lambda *now: None


def draw(figure: Any, path: Path) -> None:
    """Save a figure of matplotlib whole or not at all."""
    from matplotlib import rc_context

    with rc_context({"pdf.fonttype": 42, "svg.fonttype": "none"}), written_aside(path) as aside:
        figure.savefig(aside, dpi=200)


def minimise(
    job: Job,
    path: Path,
    frame: int,
    stress: tuple[float, float] | None,
    max_force: float,
    max_steps: int,
    optimiser: str,
) -> None:
    """Read, go down, write."""
    structure = jn.structure.read(path, frame=frame)
    error = None
    with busy(job) as stage:
        surface = surface_of(job, structure)
        try:
            found = jn.dynamics.minimise(
                surface,
                structure.positions,
                optimiser=LBFGS() if optimiser == "lbfgs" else FIRE(),
                max_force=max_force,
                max_stress=None if stress is None else stress[0] * GPA,
                pressure=0.0 if stress is None else stress[1] * GPA,
                max_steps=max_steps,
                progress=stage("going down"),
            )
        except SearchError as stopped:
            found, error = stopped.result, str(stopped)
    low: Any = found
    for name in job.files:
        if name.suffix.lower() in PICTURES:
            draw(_displacements(structure, np.asarray(low.positions)), name)
        else:
            moved(structure, low.positions, None if stress is None else low.cell).write(name)
    report = {
        "energy_ev": float(low.energy),
        "max_force_ev_a": float(low.max_force),
        "max_stress_gpa": float(low.max_stress) / GPA if stress is not None else None,
        "evaluations": int(low.evaluations),
        "converged": bool(low.converged),
        "cell_a": None if low.cell is None else np.asarray(low.cell).tolist(),
    }
    say(f"energy {low.energy:.6f} eV, largest force {low.max_force:.2e} eV/Å after {low.evaluations} steps")
    job.finish(report, error)


def _displacements(structure: jn.Structure, positions: np.ndarray) -> Any:
    """How far each atom went, by element."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.subplots()
    far = np.linalg.norm(positions - np.asarray(structure.positions), axis=1)
    species = np.array(structure.species)
    for symbol in dict.fromkeys(structure.species):
        (here,) = np.nonzero(species == symbol)
        axes.bar(here, far[here], label=symbol)
    axes.set(xlabel="atom, from 0", ylabel="way to the minimum / Å")
    axes.legend(frameon=False, fontsize="small", ncols=6, loc="lower left", bbox_to_anchor=(0, 1))
    return figure
