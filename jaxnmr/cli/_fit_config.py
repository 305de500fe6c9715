"""What `jaxnmr fit` does, as TOML says it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from jaxnmr.cli._say import Failure
from jaxnmr.cli._tables import Count, Finite, Positive, Sizes, Table, Width, read_toml, validated

__all__ = ["Config", "Constraint", "Data", "Experiment", "Processing", "read_config", "shown"]

Pair = tuple[Finite, Finite]
Numbers = Finite | tuple[Finite, ...] | tuple[tuple[Finite, ...], ...]
# A kind, or two ends: of a rate (searched in its logarithm) or of anything else.
Constraint = Literal["free", "positive", "unit", "simplex", "ordered", "rate"] | tuple[float, float]


class Data(Table):
    """One measured spectrum: its file, how to read it, and what differs from the common experiment."""

    file: Path
    temperature_k: Positive | None = None
    field_t: Positive | None = None
    rate_hz: Annotated[float, Field(ge=0)] | None = None
    echo: Literal["solid", "hahn", "none"] | None = None
    echo_tau_us: Width | None = None
    echo_periods: Count | None = None
    format: str | None = None
    unit: Literal["ppm", "hz", "khz"] | None = None
    column: int | str | None = None
    larmor_hz: Positive | None = None
    zero_ppm: Finite | None = None
    label: str | None = None
    phase_deg: Finite | Pair | Literal["auto"] | None = None


class Experiment(Table):
    """Nucleus, and what all spectra have in common."""

    isotope: str
    field_t: Positive | None = None
    rate_hz: Annotated[float, Field(ge=0)] | None = None
    angle_deg: Finite | None = None
    transition: str | None = None
    echo: Literal["solid", "hahn"] | None = None
    echo_tau_us: Width | None = None
    echo_periods: Count | None = None


class Model(Table):
    """One of `jaxnmr.fitting.models`, with its options."""

    name: Literal["two_site_exchange", "n_site_jump", "ring_flip", "quadrupolar_sites", "czjzek_glass"]
    csa: bool | None = None
    n: Annotated[int, Field(ge=2)] | None = None
    sites: Count | None = None
    gaussian_hz: Width | None = None


class Series(Table):
    """What differs over several spectra; all else is one number for all of them."""

    law: Literal["arrhenius", "eyring"] | None = None
    populations: Literal["boltzmann"] | None = None
    each: tuple[str, ...] = ()


class Prior(Table):
    """A Gaussian on one parameter, or on its decimal logarithm."""

    parameter: str
    mean: Finite
    sigma: Positive
    log10: bool = False


class Processing(Table):
    """Before the fit: phase, baseline from empty regions, a part of the axis, means of neighbouring points."""

    phase_deg: Finite | Pair | Literal["auto"] | None = None
    pivot_ppm: Finite | None = None
    baseline: Annotated[int, Field(ge=0, le=20)] | None = None
    spline: Count | None = None
    empty_ppm: tuple[Pair, ...] | None = None
    crop_ppm: Pair | None = None
    bin: Count = 1


class Linear(Table):
    """What is fitted in closed form beside the parameters."""

    scale: Literal["each", "shared", "none"] = "each"
    offset: bool = False
    baseline: Annotated[int, Field(ge=0, le=20)] = 0
    phase: bool = False


class Fit(Table):
    """What is held, what counts, and how the search runs."""

    fixed: tuple[str, ...] = ()
    regions_ppm: tuple[Pair, ...] | None = None
    noise: Literal["residual", "empty"] | Positive | tuple[Positive, ...] = "residual"
    noise_correlation: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    max_steps: Count = 100
    jacobian: Literal["auto", "forward", "reverse"] = "auto"
    bounds: bool = True


class Starts(Table):
    """Many starts, seeded; ranges by parameter."""

    n: Count = 64
    best: Count = 6
    seed: int = 0
    ranges: dict[str, Pair] = Field(default_factory=dict)


class Uncertainty(Table):
    """Beyond the covariance: profiles of these parameters, and samples by NUTS."""

    profile: tuple[str, ...] = ()
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    nuts: bool = False
    draws: Annotated[int, Field(ge=4)] = 1000
    warmup: Count = 300
    chains: Count = 2
    seed: int = 0


class Output(Table):
    """The folder of the report."""

    folder: Path | None = None
    figures: Literal["png", "pdf", "svg"] = "png"
    force: bool = False


class Config(Table):
    """The whole."""

    experiment: Experiment
    model: Model
    data: tuple[Data, ...] = ()
    start: dict[str, Numbers] = Field(default_factory=dict)
    constraints: dict[str, Constraint] = Field(default_factory=dict)
    prior: tuple[Prior, ...] = ()
    series: Series = Series()
    processing: Processing = Processing()
    linear: Linear = Linear()
    fit: Fit = Fit()
    multistart: Starts | None = None
    uncertainty: Uncertainty = Uncertainty()
    resolution: Sizes = Sizes()
    output: Output = Output()


_CURES = {
    "experiment": "a table [experiment] with isotope and field_t",
    "experiment.isotope": "isotope, as '17O'",
    "model": "a table [model] with name, as 'two_site_exchange'",
    "model.name": "name, as 'two_site_exchange'",
    "data.file": "file",
}


def read_config(path: Path, files: Sequence[Path], folder: Path | None, force: bool) -> Config:
    """The configuration of a TOML file with what the command line adds; paths in the file count from its folder.

    Args:
        path: the file.
        files: spectra, in the place of those of the file's [[data]] tables, in their order.
        folder: of the report, or None for the file's, or else one beside it.
        force: whether it may be replaced.

    Raises:
        Failure: what is wrong with the file; no spectra, or another number of them than of [[data]] tables.
    """
    raw = read_toml(path)
    here = path.parent
    tables = raw.get("data", [])
    for table in tables if isinstance(tables, list) else ():
        if isinstance(table, dict) and isinstance(table.get("file"), str):
            table["file"] = str(here / table["file"])
    if files:
        if not isinstance(tables, list) or (tables and len(tables) != len(files)):
            raise Failure(
                f"data: {len(files)} files for {len(tables)} [[data]] tables; give one each, or leave the tables out."
            )
        tables = tables or [{} for _ in files]
        raw["data"] = [
            (table | {"file": str(file)}) if isinstance(table, dict) else table
            for table, file in zip(tables, files, strict=True)
        ]
    output = raw.setdefault("output", {})
    if isinstance(output, dict):
        if folder is not None:
            output["folder"] = str(folder)
        elif isinstance(output.get("folder"), str):
            output["folder"] = str(here / output["folder"])
        else:
            output["folder"] = str(here / f"{path.stem}-fit")
        if force:
            output["force"] = True
    config = validated(Config, raw, str(path), _CURES)
    _check(config)
    return config


def _check(config: Config) -> None:
    """Tables that need or exclude each other."""
    if not config.data:
        raise Failure("data: no spectra; name files behind the configuration, or give [[data]] tables with file.")
    series, count = config.series, len(config.data)
    if series.law or series.populations:
        name = "law" if series.law else "populations"
        for i, data in enumerate(config.data):
            if data.temperature_k is None:
                raise Failure(f"data[{i}].temperature_k: missing; series.{name} needs the temperature of each spectrum.")
        if count < 2:
            raise Failure(f"series.{name}: one spectrum is no series; give several, each with its temperature_k.")
    elif series.each and count < 2:
        raise Failure("series.each: there is one spectrum; leave the table out.")
    if config.processing.baseline is not None and config.processing.spline is not None:
        raise Failure("processing.spline: came together with baseline; give a polynomial's degree or a spline's intervals.")
    allowed = {
        "two_site_exchange": ("csa",),
        "n_site_jump": ("n",),
        "ring_flip": (),
        "quadrupolar_sites": ("sites", "csa", "gaussian_hz"),
        "czjzek_glass": (),
    }[config.model.name]
    for name in ("csa", "n", "sites", "gaussian_hz"):
        if getattr(config.model, name) is not None and name not in allowed:
            raise Failure(f"model.{name}: {config.model.name} has no such option{_listed(allowed)}.")
    if isinstance(config.fit.noise, tuple) and len(config.fit.noise) != count:
        raise Failure(f"fit.noise: got {len(config.fit.noise)} for {count} spectra; give one number for all, or one each.")


def _listed(names: Sequence[str]) -> str:
    return f"; it has {', '.join(names)}" if names else ""


def shown(config: Config) -> dict[str, Any]:
    """The configuration as it stands in a report: what was given, with defaults, without empty tables."""
    return config.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
