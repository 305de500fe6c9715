"""The flags of `fit`. Nothing heavy is imported before it runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from jaxnmr.cli._commands import BEGAN
from jaxnmr.cli._say import plainly

__all__ = ["fit"]


def fit(
    config: Annotated[
        Path,
        typer.Argument(
            help="A TOML file with the tables experiment, model, data (one each), start, constraints, prior (one each), "
            "series, processing, linear, fit, multistart, uncertainty, resolution, output.",
            show_default=False,
        ),
    ],
    data: Annotated[
        list[Path] | None,
        typer.Argument(help="Measured spectra, in the place of the files of the [[data]] tables.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The report's folder; by default <config>-fit beside it.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a report that exists.")] = False,
    x64: Annotated[bool, typer.Option("--x64/--x32", help="Double or single precision.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="The report on stdout as JSON.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check everything, and stop.")] = False,
) -> None:
    """Fit a model to one measured spectrum, or to a series of them.

    Parameters are named, and have the units, as in jaxnmr.fitting.models: ppm, Hz, 1/s and radians. Over a series all are
    shared but those in series.each; with series.law = "arrhenius" or "eyring" the rates follow from log_a and e_a_ev, or
    dh_kj_mol and ds_j_mol_k, at the temperature_k of each spectrum. The report holds result.json, parameters.csv, a table
    of each spectrum and figures.

    Exit status: 0 at an optimum, 1 where a package is missing, 2 for bad input, 3 where the search did not end at an
    optimum (the report is written).
    """
    began = BEGAN.get() or time.perf_counter()
    with plainly("fit"):
        from jaxnmr.cli import _fit
        from jaxnmr.cli._fit_config import read_config

        ready = read_config(config, data or (), output, force)
        _fit.fit(ready, dry_run=dry_run, as_json=as_json, x64=x64, began=began)
