"""What `jaxnmr simulate` computes, as TOML says it: tables, units in the names, and nothing unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from jaxnmr.cli._say import Failure
from jaxnmr.cli._tables import Count, Finite, Positive, Sizes, Table, Width, read_toml, validated

__all__ = [
    "Axis",
    "Config",
    "Disorder",
    "Exchange",
    "Experiment",
    "Motion",
    "Output",
    "Site",
    "Sizes",
    "Structure",
    "checked",
    "from_toml",
]

Degrees = tuple[Finite, Finite, Finite]


class Site(Table):
    """One site: Haeberlen's parameters of the shift, and the quadrupole coupling."""

    shift_ppm: Finite
    zeta_ppm: Finite = 0.0
    eta: Annotated[float, Field(ge=0, le=1)] = 0.0
    euler_deg: Degrees = (0.0, 0.0, 0.0)
    cq_hz: Finite = 0.0
    eta_q: Annotated[float, Field(ge=0, le=1)] = 0.0
    euler_q_deg: Degrees = (0.0, 0.0, 0.0)
    weight: Width | None = None


class Structure(Table):
    """A file of computed tensors, or several of one crystal, instead of sites."""

    file: Path | Annotated[tuple[Path, ...], Field(min_length=1)]
    reference_ppm: Finite | tuple[Finite, Finite] | None = None
    atoms: tuple[int | str, ...] | None = None
    merge: bool = False
    frame: int | None = None


class Disorder(Table):
    """Distributions of couplings (Czjzek's, or about a site's mean coupling) and of shifts, with the couplings or alone."""

    czjzek_sigma_hz: Positive | tuple[Positive, ...] | None = None
    correlated_shift_ppm: Finite = 0.0
    shift_deviation_ppm: Width = 0.0


class Experiment(Table):
    """Nucleus, magnet (one field, or a spectrum for each of several), rotor, pulse, echo and widths."""

    isotope: str
    field_t: Positive | None = None
    fields_t: tuple[Positive, ...] = ()
    rate_hz: Annotated[float, Field(ge=0)] = 0.0
    angle_deg: Finite | None = None
    transition: str | None = None
    nutation_hz: Positive | None = None
    pulse_us: Positive | None = None
    echo: Literal["solid", "hahn"] | None = None
    echo_tau_us: Width | None = None
    echo_periods: Count | None = None
    linewidth_hz: Width | tuple[Width, ...]
    gaussian_hz: Width = 0.0


class Exchange(Table):
    """Jumps, "0-1:1e4" (from, to, rate in 1/s).

    Those without a rate, and motions without one, take each of `k_per_s` in turn, or k = A exp(-E / kT) of each temperature.
    These rates may be spread, log-normally or by normally distributed barriers.
    """

    jumps: tuple[str, ...] = ()
    k_per_s: tuple[Width, ...] = ()
    temperatures_k: tuple[Positive, ...] = ()
    prefactor_per_s: Positive | None = None
    barrier_ev: Width | None = None
    spread_decades: Width = 0.0
    barrier_deviation_ev: Width = 0.0
    populations: tuple[Width, ...] | None = None


class Motion(Table):
    """Positions that one site jumps through; several are a product, the outermost first."""

    kind: Literal["flip", "jump", "tetrahedral", "cone"]
    angle_deg: Finite | None = None
    n: Annotated[int, Field(ge=2)] | None = None
    axis: tuple[Finite, Finite, Finite] = (0.0, 0.0, 1.0)
    rate_per_s: Width | None = None


class Axis(Table):
    """Ends of the frequency axis in one of two units."""

    ppm: tuple[Finite, Finite] | None = None
    hz: tuple[Finite, Finite] | None = None
    points: Annotated[int, Field(ge=2)] = 2048


class Output(Table):
    """Files to write, and whether they may replace others."""

    files: tuple[Path, ...] = ()
    force: bool = False


class Config(Table):
    """The whole."""

    experiment: Experiment
    axis: Axis
    site: tuple[Site, ...] = ()
    structure: Structure | None = None
    disorder: Disorder = Disorder()
    exchange: Exchange = Exchange()
    motion: tuple[Motion, ...] = ()
    resolution: Sizes = Sizes()
    output: Output = Output()


# Where a value is missing, the flag that gives it.
_FLAGS = {
    "experiment": "--isotope, --field-t and --linewidth-hz",
    "experiment.isotope": "--isotope, as 17O",
    "experiment.linewidth_hz": "--linewidth-hz",
    "axis": "--axis, as ppm:300:-100",
    "structure.file": "--structure",
    "site.shift_ppm": "--shift-ppm",
}


def from_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; paths in it count from its folder.

    Raises:
        Failure: no such file, or not TOML (with the line).
    """
    raw = read_toml(path)
    folder = path.parent
    structure, output = raw.get("structure"), raw.get("output")
    if isinstance(structure, dict):
        if isinstance(structure.get("file"), str):
            structure["file"] = str(folder / structure["file"])
        elif isinstance(structure.get("file"), list):
            structure["file"] = [str(folder / name) if isinstance(name, str) else name for name in structure["file"]]
    if isinstance(output, dict) and isinstance(output.get("files"), list):
        output["files"] = [str(folder / name) if isinstance(name, str) else name for name in output["files"]]
    return raw


def checked(raw: dict[str, Any], source: str) -> Config:
    """A configuration from nested tables.

    Args:
        raw: tables of the file with the flags put in.
        source: the file's name, for messages, or "".

    Raises:
        Failure: an unknown key (with the nearest known one), a value missing or out of range, tables that
            exclude each other.
    """
    config = validated(Config, raw, source, _FLAGS)
    if config.structure is not None and config.site:
        raise Failure("site: came together with a structure; give sites or a file of tensors, not both.")
    if config.structure is None and not config.site:
        raise Failure("site: none given; give --shift-ppm and its like, --structure, or [[site]] tables in a TOML file.")
    if config.motion and config.exchange.jumps:
        raise Failure("motion: came together with jumps between sites; give --motion or --exchange.")
    if (config.axis.ppm is None) == (config.axis.hz is None):
        raise Failure(
            "axis: give the ends in one unit: --axis ppm:300:-100 or hz:20e3:-20e3, or ppm = [300, -100] in [axis]."
        )
    return config
