"""The flags of `minimise`, `md`, `neb` and `rates`. Nothing heavy is imported before one of them runs."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from jaxnmr.cli._commands import BEGAN
from jaxnmr.cli._say import plainly

__all__ = ["Ensemble", "Optimiser", "Tunnelling", "md", "minimise", "neb", "rates"]


class Optimiser(StrEnum):
    """How to go downhill."""

    lbfgs = "lbfgs"
    fire = "fire"


class Ensemble(StrEnum):
    """What a motion keeps constant."""

    nve = "nve"
    langevin = "langevin"
    nose_hoover = "nose-hoover"
    npt = "npt"


class Tunnelling(StrEnum):
    """Correction of a rate for tunnelling."""

    none = "none"
    wigner = "wigner"
    eckart = "eckart"


Model = Annotated[Path, typer.Option("--model", "-m", help="A potential: .safetensors or .nqx.", show_default=False)]
Output = Annotated[
    list[Path],
    typer.Option("--output", "-o", help="Files to write, by their endings; repeatable.", show_default=False),
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]
Json = Annotated[bool, typer.Option("--json", help="The results on stdout as JSON.")]
Double = Annotated[bool, typer.Option("--x64/--x32", help="Double or single precision.")]
Steps = Annotated[int, typer.Option(help="At most so many steps.")]
NearestForce = Annotated[float, typer.Option("--max-force-ev-a", help="Largest force at the end, eV/Å.")]


def minimise(
    structure: Annotated[Path, typer.Argument(help="extxyz, magres or OUTCAR.", show_default=False)],
    model: Model,
    output: Output,
    cell: Annotated[bool, typer.Option("--cell", help="Let the cell change too.")] = False,
    pressure_gpa: Annotated[float, typer.Option(help="With --cell.")] = 0.0,
    max_stress_gpa: Annotated[float, typer.Option(help="Largest stress at the end, with --cell.")] = 0.05,
    max_force: NearestForce = 1e-3,
    max_steps: Steps = 1000,
    optimiser: Optimiser = Optimiser.lbfgs,
    frame: Annotated[int, typer.Option(help="Which frame of several, from 0.")] = 0,
    force: Force = False,
    x64: Double = True,
    as_json: Json = False,
) -> None:
    """Go down to the nearest minimum of a potential.

    Writes the structure (.xyz, .extxyz, .magres) and a picture (.png, .pdf, .svg) of how far each atom went.

    Exit status: 0 at a minimum, 1 where a package is missing, 2 for bad input, 3 where it was not reached (what was is
    written).
    """
    began = BEGAN.get() or time.perf_counter()
    with plainly("minimise"):
        from jaxnmr.cli import _dynamics

        endings = (".xyz", ".extxyz", ".magres", *_dynamics.PICTURES)
        job = _dynamics.job(model, output, endings, force=force, x64=x64, as_json=as_json, began=began)
        stress = (max_stress_gpa, pressure_gpa) if cell else None
        _dynamics.minimise(job, structure, frame, stress, max_force, max_steps, optimiser.value)


def md(
    structure: Annotated[Path, typer.Argument(help="extxyz, magres or OUTCAR.", show_default=False)],
    model: Model,
    output: Output,
    temperature_k: Annotated[float, typer.Option(help="Of the bath, and of the first velocities.")] = 300.0,
    ensemble: Ensemble = Ensemble.langevin,
    pressure_gpa: Annotated[float, typer.Option(help="For npt.")] = 0.0,
    dt_fs: Annotated[float, typer.Option(help="Time step.")] = 0.5,
    steps: Annotated[int, typer.Option(help="In all; with --resume those before are counted.")] = 1000,
    every: Annotated[int, typer.Option(help="Steps between samples of energies.")] = 10,
    frame_every: Annotated[int, typer.Option(help="Steps between frames.")] = 100,
    friction_per_fs: Annotated[float, typer.Option(help="For langevin and npt.")] = 0.01,
    period_fs: Annotated[float | None, typer.Option(help="For nose-hoover (100) and the cell of npt (500).")] = None,
    seed: Annotated[int, typer.Option(help="Of velocities and noise.")] = 0,
    checkpoint: Annotated[Path | None, typer.Option(help="An .npz file, renewed on the way.", show_default=False)] = None,
    resume: Annotated[Path | None, typer.Option(help="A checkpoint to go on from.", show_default=False)] = None,
    frame: Annotated[int, typer.Option(help="Which frame of several, from 0.")] = 0,
    force: Force = False,
    x64: Double = False,
    as_json: Json = False,
) -> None:
    """Move the atoms at constant energy, temperature or pressure.

    Writes a trajectory (.xyz, .extxyz, .h5) and a picture (.png, .pdf, .svg) of energies and temperature. Interrupted, the
    same command with --resume goes on from the checkpoint and ends as it would have.

    Exit status: 0 at the end, 1 where a package is missing, 2 for bad input, 3 where the run was stopped (what was good is
    written).
    """
    began = BEGAN.get() or time.perf_counter()
    with plainly("md"):
        from jaxnmr.cli import _dynamics, _motion

        keep = force or resume is not None
        endings = (".xyz", ".extxyz", ".h5", ".hdf5", *_dynamics.PICTURES)
        job = _dynamics.job(model, output, endings, force=keep, x64=x64, as_json=as_json, began=began)
        if checkpoint is not None:
            _dynamics.check_file(checkpoint, (".npz",), keep, "checkpoint")
        method = _motion.method_of(ensemble.value, temperature_k, pressure_gpa, friction_per_fs, period_fs)
        plan = _motion.Plan(method, temperature_k, dt_fs, steps, every, frame_every, seed, checkpoint, resume)
        _motion.md(job, structure, frame, plan)


def neb(
    start: Annotated[Path, typer.Argument(help="One end: extxyz, magres or OUTCAR.", show_default=False)],
    end: Annotated[Path, typer.Argument(help="The other end, the same atoms.", show_default=False)],
    model: Model,
    output: Output,
    images: Annotated[int, typer.Option(help="With both ends.")] = 9,
    max_force: NearestForce = 0.02,
    max_steps: Steps = 500,
    match: Annotated[int, typer.Option(help="How many ways of naming like atoms of the end to try; 0: as they are.")] = 0,
    keep_ends: Annotated[
        bool, typer.Option("--keep-ends", help="Take the ends as they are, minima already; by default minimised.")
    ] = False,
    saddle: Annotated[
        bool, typer.Option("--saddle", help="Refine the top to a saddle, and go down both its sides to see what it joins.")
    ] = False,
    force: Force = False,
    x64: Double = True,
    as_json: Json = False,
) -> None:
    """Find the path between two minima, and the barrier on it.

    Writes the images (.xyz, .extxyz; with --saddle the saddle beside them as NAME-saddle) and a picture (.png, .pdf, .svg)
    of the energies. The atoms are in the order of START.

    Exit status: 0 where the path was found, 1 where a package is missing, 2 for bad input, 3 where it was not (what was
    reached is written).
    """
    began = BEGAN.get() or time.perf_counter()
    with plainly("neb"):
        from jaxnmr.cli import _dynamics, _ways

        endings = (".xyz", ".extxyz", *_dynamics.PICTURES)
        beside = [name.with_stem(f"{name.stem}-saddle") for name in output if name.suffix.lower() in endings[:2]]
        files = [*output, *(beside if saddle else [])]
        job = _dynamics.job(model, files, endings, force=force, x64=x64, as_json=as_json, began=began)
        saddles = tuple(beside) if saddle else None
        _ways.neb(job, start, end, images, max_force, max_steps, match, keep_ends=keep_ends, saddles=saddles)


def rates(
    minimum: Annotated[Path, typer.Argument(help="The minimum that is left.", show_default=False)],
    saddle: Annotated[Path, typer.Argument(help="The saddle, or a point near it.", show_default=False)],
    model: Model,
    temperatures_k: Annotated[str, typer.Option(help="Between commas.")] = "200,250,300,350,400",
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output", "-o", help="A picture (.png, .pdf, .svg) or the points (.xyz, .extxyz).", show_default=False
        ),
    ] = None,
    tunnelling: Tunnelling = Tunnelling.none,
    classical: Annotated[bool, typer.Option("--classical", help="Classical oscillators.")] = False,
    degeneracy: Annotated[float, typer.Option(help="Equivalent ways over such saddles; or by symmetry numbers.")] = 1.0,
    symmetry: Annotated[float, typer.Option(help="Rotational symmetry number of the minimum.")] = 1.0,
    saddle_symmetry: Annotated[float, typer.Option(help="Of the saddle.")] = 1.0,
    refine: Annotated[
        bool, typer.Option("--refine/--as-is", help="Minimise the one, search the saddle near the other.")
    ] = True,
    force: Force = False,
    x64: Double = True,
    as_json: Json = False,
) -> None:
    """Give rates of transition-state theory over a saddle, in 1/s.

    From a minimum, with Arrhenius' law through them. Writes the points that they are made of as frames with their energies
    (.xyz, .extxyz): the minimum, the saddle and, unless --as-is, the product; and a picture (.png, .pdf, .svg) of the rates.

    Exit status: 0 with rates, 1 where a package is missing, 2 for bad input, 3 where minimum or saddle was not reached.
    """
    began = BEGAN.get() or time.perf_counter()
    with plainly("rates"):
        from jaxnmr.cli import _dynamics, _ways

        endings = (".xyz", ".extxyz", *_dynamics.PICTURES)
        job = _dynamics.job(model, output or [], endings, force=force, x64=x64, as_json=as_json, began=began)
        _ways.rates(
            job,
            minimum,
            saddle,
            _ways.temperatures(temperatures_k),
            tunnelling.value,
            classical=classical,
            degeneracy=degeneracy,
            symmetries=(symmetry, saddle_symmetry),
            refine=refine,
        )
