"""The commands. Nothing heavy is imported before one of them runs: `--help` has to be quick."""

import time

_BEGAN = time.perf_counter()  # before the imports, which are part of the start

import os  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Annotated  # noqa: E402

import typer  # noqa: E402

from jaxnmr._version import __version__  # noqa: E402
from jaxnmr.cli import _chain_command, _commands, _dynamics_commands, _fit_command, _train_commands  # noqa: E402
from jaxnmr.errors import missing_extra  # noqa: E402

app = typer.Typer(
    name="jaxnmr",
    help="Differentiable solid-state NMR spectra of spins that hop between sites.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: boxes and colours would double the time that `--help` takes
    pretty_exceptions_enable=False,  # a plain traceback can be pasted into a report
)

FORMATS = (".png", ".pdf", ".svg")


def main() -> None:
    """Runs the command line."""
    _commands.BEGAN.set(_BEGAN)
    app()


def _show_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"jaxnmr {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and stop.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Differentiable solid-state NMR spectra of spins that hop between sites."""


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="The figure: .png, .pdf or .svg, in a folder that exists.")] = Path(
        "jaxnmr-demo.png"
    ),
    csv: Annotated[Path | None, typer.Option(help="A folder for CSV files, one a field.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The figure alone, one rate a decade and a coarser axis.")] = False,
    chain: Annotated[
        bool, typer.Option(help="The whole chain on KHCO3 too, in a folder named as the figure; two to three minutes.")
    ] = True,
) -> None:
    """Draw 17O MAS spectra of two oxygens that trade places; then go from a crystal to such a spectrum.

    The figure goes from frozen hops to the fastest ones. The second part goes from the crystal of KHCO3 to its spectra with
    and without motion, with the models that come along: a folder with report.html, report.json and pictures. It needs the
    extra "atoms", and is left out without it.
    """
    if output.suffix.lower() not in FORMATS:
        raise typer.BadParameter(f"{output.name!r} does not end in {', '.join(FORMATS)}.", param_hint="--output")
    if output.is_dir():
        raise typer.BadParameter(f"{output} is a folder; name a file in it.", param_hint="--output")
    _check_folder(output.parent, "--output")
    if csv is not None:
        _check_folder(csv, "--csv")

    from importlib.util import find_spec

    from rich.console import Console
    from rich.progress import Progress

    console, errors = Console(), Console(stderr=True)
    if find_spec("matplotlib") is None:  # before the work, not after it
        errors.print(f"The demo {missing_extra('matplotlib', 'plot')}", markup=False, soft_wrap=True)
        raise typer.Exit(1)

    from jaxnmr.cli import _demo, _figure

    points, hopping_rates = (512 if quick else 1024), _demo.rates(quick)
    compiling = running = 0.0
    panels = []
    with Progress(console=console) as progress:
        bar = progress.add_task("", total=len(_demo.FIELDS) * (len(hopping_rates) + 1))
        for field in _demo.FIELDS:
            progress.update(bar, description=f"{field:g} T: compiling")
            start = time.perf_counter()
            spectrum = _demo.compiled_spectrum(field, points)
            compiling += time.perf_counter() - start
            progress.update(bar, description=f"{field:g} T: spectra", advance=1)
            start = time.perf_counter()
            panels.append(_demo.series(field, hopping_rates, spectrum, lambda: progress.advance(bar)))
            running += time.perf_counter() - start
        progress.update(bar, description="done")

    try:
        _figure.draw(panels, output)
        tables = [_figure.write_table(panel, csv) for panel in panels] if csv is not None else []
    except OSError as error:  # a full disc, a file that is not ours
        errors.print(
            f"Cannot write {error.filename or output}: {error.strerror or error}",
            markup=False,
            soft_wrap=True,
        )
        raise typer.Exit(2) from error

    count = len(panels) * len(hopping_rates)
    console.print(
        f"{count} spectra of {points} points: {compiling:.1f} s to compile, {running:.2f} s to run "
        f"({1e3 * running / count:.0f} ms each).",
        highlight=False,
    )
    for panel in panels:
        console.print(
            f"{panel.field:g} T: the lines coalesce near k = {panel.coalescence:.1e} /s; "
            f"k = omega_0 is {panel.second_transition:.1e} /s.",
            highlight=False,
        )
    for path in (output, *tables):
        console.print(f"Wrote {path}", highlight=False, markup=False, soft_wrap=True)
    if chain and not quick:
        _chain_of_demo(output.with_suffix(""))


app.command()(_commands.simulate)
app.command()(_commands.tensors)
app.command()(_fit_command.fit)
app.command()(_train_commands.train)
app.command()(_train_commands.predict)
app.command()(_chain_command.run)
app.command()(_dynamics_commands.minimise)
app.command()(_dynamics_commands.md)
app.command()(_dynamics_commands.neb)
app.command()(_dynamics_commands.rates)


def _chain_of_demo(folder: Path) -> None:
    """The second part, with a line for each step."""
    from rich.console import Console

    from jaxnmr.cli import _chain_demo
    from jaxnmr.cli._say import plainly

    console = Console()
    if (package := _chain_demo.missing()) is not None:
        console.print(f"The chain on KHCO3 is left out: it {missing_extra(package, 'atoms')}", markup=False, soft_wrap=True)
        return
    with plainly("demo"), console.status("KHCO3: reading") as status:
        told = _chain_demo.khco3(folder, lambda step: status.update(f"KHCO3: {step}"))
    for line in told.lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(f"The chain took {told.seconds:.0f} s, {told.compiling:.0f} s of these to compile.", highlight=False)
    for path in told.files:
        console.print(f"Wrote {path}", highlight=False, markup=False, soft_wrap=True)


def _check_folder(folder: Path, option: str) -> None:
    if not folder.is_dir():
        raise typer.BadParameter(f"the folder {folder} does not exist: make it, or name another.", param_hint=option)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise typer.BadParameter(f"the folder {folder} cannot be written to.", param_hint=option)
