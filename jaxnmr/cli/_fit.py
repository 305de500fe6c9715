"""What `jaxnmr fit` does once its flags are read."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

from jaxnmr.cli._fit_config import Config, shown
from jaxnmr.cli._fit_folder import check_report, report_folder
from jaxnmr.cli._say import Failure, say, warnings_to
from jaxnmr.errors import missing_extra

__all__ = ["NOT_CONVERGED", "fit"]

# Exit status of a search that did not end at an optimum; its report is written all the same.
NOT_CONVERGED = 3


def fit(config: Config, *, dry_run: bool, as_json: bool, x64: bool, began: float) -> None:
    """Read, fit, write the report and say what was found.

    Args:
        config: what.
        dry_run: read and check everything, and stop before the search.
        as_json: the report on stdout.
        x64: double precision.
        began: `time.perf_counter()` at the start.

    Raises:
        Failure, ValueError, ImportError, OSError: bad input, or a folder that cannot be written.
        typer.Exit: the search did not end at an optimum; status 3.
    """
    folder = config.output.folder
    assert folder is not None
    check_report(folder, config.output.force)
    # Before the work, not after it.
    for package, extra, needed in (("matplotlib", "plot", not dry_run), ("blackjax", "bayes", config.uncertainty.nuts)):
        if needed and find_spec(package) is None:
            raise missing_extra(package, extra)
    import jax

    if x64:
        jax.config.update("jax_enable_x64", True)
    from jaxnmr.cli import _fit_data, _fit_model

    heard: list[str] = []
    with warnings_to(heard), _progress() as stage:
        stage("reading")
        spectra = _fit_data.measured(config)
        noise, correlation = _fit_data.noise_of(config, spectra)
        problem = _fit_model.stated(config, spectra)
        _check_profiles(config, problem)
        ready = time.perf_counter()
        if dry_run:
            stage(None)
            _show_plan(config, spectra, problem, folder, as_json, heard)
            return
        stage("fitting")
        result = _searched(config, spectra, problem, noise, correlation)
        fitted = time.perf_counter()
        profiles, samples = {}, None
        if result.status.ok:
            from jaxnmr.fitting import profile, sample

            asked = config.uncertainty
            for name in asked.profile:
                stage(f"profile of {name}")
                profiles[name] = profile(result, name, level=asked.level)
            if asked.nuts:
                stage("sampling")
                samples = sample(result, draws=asked.draws, warmup=asked.warmup, chains=asked.chains, seed=asked.seed)
        stage("writing")
        from jaxnmr.cli import _fit_report

        report = _fit_report.described(result, problem, spectra, profiles, samples, noise)
        report["times"] = {
            "start_up_s": ready - began,
            "fit_s": fitted - ready,
            "uncertainty_s": time.perf_counter() - fitted,
        }
        report["warnings"] = heard
        report["config"] = shown(config)
        with report_folder(folder) as part:
            _fit_report.write(part, report, result, spectra, profiles, samples, config.output.figures)
    _show(report, str(result), folder)
    if as_json:
        typer.echo(json.dumps(report, indent=1))
    if not result.status.ok:
        raise typer.Exit(NOT_CONVERGED)


def _searched(config: Config, spectra: Any, problem: Any, noise: Any, correlation: float) -> Any:
    from jaxnmr.cli import _fit_data
    from jaxnmr.fitting import MultiStart, fit as fit_

    starts = None
    if (asked := config.multistart) is not None:
        starts = MultiStart(asked.n, asked.best, asked.seed, asked.ranges)
    one = len(spectra) == 1
    return fit_(
        problem.model,
        problem.start,
        spectra[0].spectrum if one else [each.spectrum for each in spectra],
        constraints=problem.constraints,
        fixed=config.fit.fixed,
        priors=problem.priors,
        linear=_fit_data.linear_of(config),
        noise=noise[0] if one and isinstance(noise, list) else noise,
        noise_correlation=correlation,
        regions=None if config.fit.regions_ppm is None else list(config.fit.regions_ppm),
        optimiser=_fit_data.optimiser_of(config),
        starts=starts,
        bounds=config.fit.bounds,
        throw=False,
    )


def _check_profiles(config: Config, problem: Any) -> None:
    import numpy as np

    from jaxnmr.errors import near
    from jaxnmr.fitting import Ordered

    known = [
        f"{name}[{', '.join(map(str, index))}]" if index else name
        for name, value in problem.start.items()
        for index in np.ndindex(np.shape(value))
    ]
    for name in config.uncertainty.profile:
        if name not in known:
            raise Failure(f"uncertainty.profile: no parameter {name!r}{near(name, known)}; there are {', '.join(known)}.")
        array = name.split("[")[0]
        if array in config.fit.fixed or name in config.fit.fixed:
            raise Failure(
                f"uncertainty.profile: {name!r} is fixed; take it out of one of uncertainty.profile and fit.fixed."
            )
        if isinstance(problem.constraints.get(array), Ordered):
            raise Failure(
                f"uncertainty.profile: {name!r} is tied to the other elements of {array!r} (ordered); profile another, or "
                "change its constraint."
            )


@contextmanager
def _progress() -> Iterator[Callable[[str | None], None]]:
    """What is being done and for how long, on a terminal; nothing in a log."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)

        def stage(name: str | None) -> None:
            progress.reset(task, description=name or "", visible=name is not None, total=None)

        yield stage


def _show_plan(config: Config, spectra: Any, problem: Any, folder: Path, as_json: bool, heard: list[str]) -> None:
    from jaxnmr.cli._fit_report import plain

    plan = {
        "spectra": [
            {"name": each.name, "points": len(each.spectrum.ppm), "temperature_k": each.temperature} for each in spectra
        ],
        "start": problem.start,
        "units": problem.units,
        "constraints": {name: str(limit) for name, limit in problem.constraints.items()},
        "fixed": config.fit.fixed,
        "sizes": [
            {name: getattr(each, name) for name in ("orientations", "phases", "samples", "substeps")}
            for each in problem.sizes
        ],
        "would_write": str(folder),
        "warnings": heard,
    }
    for each in spectra:
        ppm = each.spectrum.ppm
        say(f"{each.name}: {len(ppm)} points, {float(ppm[0]):g} to {float(ppm[-1]):g} ppm")
    for name, value in problem.start.items():
        unit = f" {problem.units[name]}" if problem.units[name] else ""
        limit = f", {problem.constraints[name]}" if name in problem.constraints else ""
        say(f"{name} = {plain(value)}{unit}{limit}")
    say(f"would write {folder}")
    if as_json:
        typer.echo(json.dumps(plain(plan), indent=1))


def _show(report: dict[str, Any], table: str, folder: Path) -> None:
    times = report["times"]
    for line in table.splitlines():
        say(line)
    for row in report["rates"]:
        error = "" if row["lg_k_error"] is None else f", lg k +- {row['lg_k_error']:.2g}"
        say(f"k({row['temperature_k']:g} K) = {row['k_per_s']:.3g} /s{error}")
    say(
        f"start-up {times['start_up_s']:.2f} s, fit {times['fit_s']:.2f} s (compiling included), "
        f"profiles and samples {times['uncertainty_s']:.2f} s"
    )
    say(f"wrote {folder}")
