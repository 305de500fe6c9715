"""What `jaxnmr simulate` does once its flags are read."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from jaxnmr.cli._config import Config
from jaxnmr.cli._say import say, warnings_to

__all__ = ["simulate"]

# Share of a line below which a window is said to cut it: Lorentzian tails of a fair window hold a few per cent.
_HELD = 0.9


def simulate(config: Config, *, dry_run: bool, as_json: bool, x64: bool, began: float) -> None:
    """Compute, write and report.

    Args:
        config: what.
        dry_run: stop before compiling.
        as_json: a summary on stdout.
        x64: double precision.
        began: `time.perf_counter()` at the start.

    Raises:
        Failure, ValueError, ImportError, OSError: bad input, or a file that cannot be written.
    """
    from jaxnmr.cli._outputs import draw, save, targets
    from jaxnmr.cli._stack import stack_of

    files = targets(config.output.files, stack_of(config), config.output.force)
    import jax

    if x64:
        jax.config.update("jax_enable_x64", True)
    from jaxnmr.cli._problem import stated
    from jaxnmr.cli._run import memory, prepared
    from jaxnmr.cli._summary import summary
    from jaxnmr.errors import AxisWarning, warn

    heard: list[str] = []
    with warnings_to(heard):
        job = stated(config)
        ready = time.perf_counter()
        program = prepared(job)
        report = _report(config, job, program.resolution) | {"memory_bytes": memory(program)}
        if dry_run:
            report |= {"would_write": [str(target.path) for target in files], "warnings": heard}
            _show_sizes(report)
            _finish(report, as_json)
            return
        compiled = program.compiled()
        times = {"start_up_s": ready - began, "compile_s": time.perf_counter() - ready, "run_s": 0.0}
        spectra, rows, told = [], [], []
        with _progress(job.stack.count) as advance:
            for index, (spectrum, spent) in enumerate(program.spectra(compiled)):
                times["run_s"] += spent
                mine = [target.path for target in files if target.spectrum == index]
                for path in mine:  # at once: what came before a crash is kept
                    save(spectrum, path)
                spectra.append(spectrum)
                row = job.stack.row(index) | ({"k_per_s": job.rates[min(index, len(job.rates) - 1)]} if job.rates else {})
                numbers = summary(spectrum)
                told.append((f"{spectrum.label}: " if spectrum.label else "") + numbers.told(job.axis.unit))
                whole = job.experiments[index].echo is None and job.experiments[index].excitation is None
                if whole and numbers.area < _HELD:
                    warn(
                        f"axis: the window holds {100 * numbers.area:.0f} % of the line{_named(spectrum.label)}; peaks and "
                        "centre of gravity are those of the window. Use a wider one for the whole.",
                        AxisWarning,
                    )
                rows.append(
                    {"label": spectrum.label} | row | dataclasses.asdict(numbers) | {"files": [str(path) for path in mine]}
                )
                advance()
        figures = [target.path for target in files if target.spectrum is None]
        for path in figures:
            draw(spectra, job.stack, path, job.axis.unit)
    report |= {"times": times, "spectra": rows, "figures": [str(path) for path in figures], "warnings": heard}
    _show(report, told, files=[target.path for target in files])
    _finish(report, as_json)


@contextmanager
def _progress(count: int) -> Iterator[Callable[[], object]]:
    """A bar for several spectra; without a terminal it would be noise in a log."""
    if count < 2 or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("spectra", total=count)
        yield lambda: progress.advance(bar)


def _named(label: str) -> str:
    return f" at {label}" if label else ""


def _report(config: Config, job: Any, resolution: Any) -> dict[str, Any]:
    """What is simulated, in numbers."""
    import numpy as np

    import jaxnmr as jn

    model = job.model(0)
    populations = job.sites.populations if model is None else model.populations
    if model is not None and not model.given:
        from jaxnmr.exchange import exchange_populations

        populations = exchange_populations(job.sites, model)
    sizes = {name: getattr(resolution, name) for name in ("orientations", "phases", "samples", "substeps")}
    rate = config.experiment.rate_hz
    fields = [
        float(experiment.field) for experiment in (job.experiments if config.experiment.fields_t else job.experiments[:1])
    ]
    larmor = [abs(float(jn.isotope(job.sites.isotope).larmor_frequency(field))) for field in fields]
    return {
        "isotope": job.sites.isotope,
        "field_t": fields if config.experiment.fields_t else fields[0],
        "larmor_hz": larmor if config.experiment.fields_t else larmor[0],
        "rate_hz": rate if rate != float("inf") else "inf",  # JSON has no infinity
        "populations": np.asarray(populations, np.float64).tolist(),
        "sizes": {"sites": len(job.sites), "points": job.axis.points, "spectra": job.stack.count} | sizes,
    }


def _show_sizes(report: dict[str, Any]) -> None:
    sizes = {name: size for name, size in report["sizes"].items() if size is not None}
    say(", ".join(f"{name} {size}" for name, size in sizes.items()))
    say(f"memory about {report['memory_bytes'] / 1e6:.3g} MB")
    for path in report["would_write"]:
        say(f"would write {path}")


def _show(report: dict[str, Any], told: list[str], files: list[Path]) -> None:
    times = report["times"]
    say(
        f"start-up {times['start_up_s']:.2f} s, compile {times['compile_s']:.2f} s, run {times['run_s']:.2f} s "
        f"({len(report['spectra'])} x {report['sizes']['points']} points)"
    )
    for line in told[:12]:
        say(line)
    if len(told) > 12:
        say(f"... and {len(told) - 12} more (all of them with --json)")
    for path in files:
        say(f"wrote {path}")


def _finish(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report, indent=2))
