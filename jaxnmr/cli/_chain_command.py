"""The flags of `run`. Nothing heavy is imported before it runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from jaxnmr.cli._commands import BEGAN
from jaxnmr.cli._say import plainly

__all__ = ["run"]


def run(
    config: Annotated[
        Path,
        typer.Argument(
            help="A TOML file with the tables structure, motion, potential, tensors, experiment, axis, rates, sample, "
            "uncertainty, measured, resolution, output.",
            show_default=False,
        ),
    ],
    until: Annotated[
        str | None,
        typer.Option(
            help="Last stage: relax, explore, ends, saddles, vibrations, rates, recrossing, tensors, exchange, sample, "
            "spectra or report.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Make every stage anew.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and about how long, and stop.")] = False,
    x64: Annotated[bool, typer.Option("--x64/--x32", help="Double or single precision.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="report.json on stdout too.")] = False,
) -> None:
    """Go from a crystal to its spectra without and with motion.

    Minima, saddles, rates, tensors, motion, exchange.

    Stages are kept in the folder output.folder: a run that was stopped goes on where it was, and a changed input makes only
    what depends on it anew. The folder gets report.html, report.json, CSV of the spectra, the structures, and log.txt.

    Exit status: 0 when done, 1 where a package is missing, 2 for bad input, a folder in use or a full disk, 3 where a stage
    came to no end: a minimum or saddle was not reached, the motion went wrong, numbers make no sense (what was made before
    is kept, and log.txt names the stage).
    """
    began = BEGAN.get() or time.perf_counter()
    with plainly("run"):
        from jaxnmr.cli import _chain

        _chain.run(config, until, force=force, dry_run=dry_run, x64=x64, as_json=as_json, began=began)
