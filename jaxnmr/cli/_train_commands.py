"""The flags of `train` and `predict`. Nothing heavy is imported before one of them runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from jaxnmr.cli._commands import BEGAN
from jaxnmr.cli._say import plainly

__all__ = ["predict", "train"]


def train(
    config: Annotated[
        Path,
        typer.Argument(help="A TOML file with the tables data, model, training, card, output.", show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder of model and report; by default <config>-model beside it.", show_default=False
        ),
    ] = None,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Begin anew where a checkpoint is found; model and report of before are removed."),
    ] = False,
    x64: Annotated[bool, typer.Option("--x64", help="Double precision.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The errors on stdout as JSON.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check everything, and stop.")] = False,
) -> None:
    """Train a potential or a tensor model on one's own structures.

    data.train, data.validation and data.test name files, or patterns of them ("frames/*.magres"), from the folder of the
    TOML file. Without model.properties a potential is learnt from energies, forces and stresses of extxyz files; with
    properties = ["shielding", "efg"] tensors, from extxyz or magres. Without data.validation, a tenth of the frames
    (data.validation_fraction) is held out in blocks of consecutive ones, up to five of each file. model.start takes up a
    model file or foundation weights (.nqx); with frozen = true its features are computed once and heads are trained on them
    in minutes. A tensor model keeps its heads where model.properties and model.heads are its own, so that the backbone can
    be tuned after them; otherwise the heads begin anew, and a line says so. Interrupted, the same command goes on from the
    last checkpoint. The folder holds model.safetensors, metrics.jsonl and a report.
    """
    began = BEGAN.get() or time.perf_counter()
    with plainly("train"):
        from jaxnmr.cli import _train
        from jaxnmr.cli._train_config import read_config

        ready = read_config(config, output)
        _train.train(ready, restart=restart, dry_run=dry_run, as_json=as_json, x64=x64, began=began)


def predict(
    structures: Annotated[Path, typer.Argument(help="extxyz, magres or OUTCAR.", show_default=False)],
    model: Annotated[Path, typer.Option("--model", "-m", help="A tensor model, or a potential.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help=".magres (one structure), or .extxyz.", show_default=False)],
    frame: Annotated[
        int | None, typer.Option(help="Which frame of several, from 0; all of them by default.", show_default=False)
    ] = None,
    energies: Annotated[
        bool, typer.Option("--energies", help="The model is a potential: energies, forces, stresses.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    x64: Annotated[bool, typer.Option("--x64", help="Double precision.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Isotropic values and uncertainties on stdout as JSON.")] = False,
) -> None:
    """Predict shieldings and field gradients of every atom, or energies and forces.

    Written as a calculation's would have been; extxyz holds uncertainties too, in the columns ms_uncertainty and
    efg_uncertainty, and in the column novelty how far each atom is from those that were learnt (beyond 1 values are
    extrapolated). Elements of which the model has learnt nothing have no value; a line names them. With --energies, or
    foundation weights (.nqx), a potential's energy, forces and stress of each frame go to extxyz, as ASE and `jaxnmr train`
    read them. Thousands of frames are taken in batches; the file takes its name when it is whole. Of a model of isotropic
    shieldings, tensors without anisotropy are written.
    """
    with plainly("predict"):
        from jaxnmr.cli import _predict

        _predict.predict(structures, model, output, frame, energies=energies, force=force, x64=x64, as_json=as_json)
