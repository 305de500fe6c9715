"""The flags of `simulate` and `tensors`. Nothing heavy is imported before one of them runs."""

from __future__ import annotations

import time
from contextvars import ContextVar
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from jaxnmr.cli._say import plainly

__all__ = ["BEGAN", "Convention", "simulate", "tensors"]

# When the program started, where it is one.
BEGAN: ContextVar[float | None] = ContextVar("BEGAN", default=None)

_SITES, _FILE, _DISORDER, _EXPERIMENT, _JUMPS, _AXIS, _OUT = (
    "Sites (numbers between commas: one for all sites, or one each)",
    "Sites from a file of computed tensors",
    "Disorder",
    "Experiment",
    "Exchange and motion",
    "Axis and sizes",
    "Output",
)
Text = str | None
Real = float | None
Whole = int | None


class Convention(StrEnum):
    """How the shift or shielding is told."""

    haeberlen = "haeberlen"
    iupac = "iupac"
    herzfeld_berger = "herzfeld-berger"


def _option(panel: str, text: str, *names: str) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, show_default=False)


def simulate(
    config: Annotated[
        Path | None,
        typer.Argument(
            help="A TOML file with the tables experiment, site (one each) or structure, disorder, exchange, motion (one "
            "each), axis, resolution, output.",
            show_default=False,
        ),
    ] = None,
    isotope: Annotated[Text, _option(_EXPERIMENT, "The nucleus, as 17O.")] = None,
    field_t: Annotated[Real, _option(_EXPERIMENT, "Static field, tesla.")] = None,
    fields_t: Annotated[Text, _option(_EXPERIMENT, "Several fields instead, a spectrum each: 9.4,14.1,18.8.")] = None,
    rate_hz: Annotated[
        Real, _option(_EXPERIMENT, "Rotor frequency, Hz; 0 (the default) at rest, inf for no sidebands.")
    ] = None,
    angle_deg: Annotated[Real, _option(_EXPERIMENT, "Rotor to field, degrees; the magic angle by default.")] = None,
    transition: Annotated[
        Text,
        _option(_EXPERIMENT, "central, all, or m,m-1 as 3/2,1/2; by default central, and all of integer spins."),
    ] = None,
    nutation_hz: Annotated[
        Real, _option(_EXPERIMENT, "Nutation frequency of a single pulse that weighs the lines, Hz; ideal by default.")
    ] = None,
    pulse_us: Annotated[Real, _option(_EXPERIMENT, "Its length, microseconds.")] = None,
    echo_tau_us: Annotated[
        Real, _option(_EXPERIMENT, "Record from the top of an ideal echo with this delay, microseconds.")
    ] = None,
    echo_periods: Annotated[Whole, _option(_EXPERIMENT, "The delay in rotor periods, instead.")] = None,
    echo: Annotated[
        Text, _option(_EXPERIMENT, "solid or hahn; solid by default for integer spins, hahn for others.")
    ] = None,
    linewidth_hz: Annotated[Text, _option(_EXPERIMENT, "Lorentzian full width, Hz; one, or one per site.")] = None,
    gaussian_hz: Annotated[Real, _option(_EXPERIMENT, "Gaussian full width, Hz.")] = None,
    shift_ppm: Annotated[Text, _option(_SITES, "Isotropic chemical shifts, as 110,160.")] = None,
    zeta_ppm: Annotated[Text, _option(_SITES, "Anisotropies of the shift (Haeberlen), ppm.")] = None,
    eta: Annotated[Text, _option(_SITES, "Asymmetries of the shift, 0 to 1.")] = None,
    euler_deg: Annotated[
        Text, _option(_SITES, "Shift tensors to crystal, ZYZ: alpha,beta,gamma, degrees; sites between ';'.")
    ] = None,
    cq_hz: Annotated[Text, _option(_SITES, "Quadrupole couplings C_Q, Hz.")] = None,
    eta_q: Annotated[Text, _option(_SITES, "Asymmetries of the quadrupole coupling, 0 to 1.")] = None,
    euler_q_deg: Annotated[Text, _option(_SITES, "Quadrupole tensors to crystal, as --euler-deg.")] = None,
    weights: Annotated[Text, _option(_SITES, "Share of each site; they sum to one.")] = None,
    structure: Annotated[
        list[Path] | None,
        _option(_FILE, "magres, extxyz or OUTCAR. Repeatable: states of one crystal, sites in their order."),
    ] = None,
    reference_ppm: Annotated[Text, _option(_FILE, "Shielding of the reference, ppm, or slope,intercept.")] = None,
    atoms: Annotated[Text, _option(_FILE, "Names (O1_4), labels (O1) or positions from 0, between commas.")] = None,
    merge: Annotated[bool | None, _option(_FILE, "Make one site of equivalent ones.", "--merge/--no-merge")] = None,
    frame: Annotated[Whole, _option(_FILE, "Which frame of several, from 0.")] = None,
    czjzek_sigma_hz: Annotated[
        Text,
        _option(
            _DISORDER,
            "Czjzek's distribution of couplings: standard deviation of a diagonal element, Hz; about a site's C_Q, if any.",
        ),
    ] = None,
    correlated_shift_ppm: Annotated[Real, _option(_DISORDER, "Spread of the shift that follows the coupling's.")] = None,
    shift_deviation_ppm: Annotated[
        Real, _option(_DISORDER, "Standard deviation of an independent spread of shifts.")
    ] = None,
    exchange: Annotated[
        list[str] | None,
        _option(_JUMPS, "A jump from-to:rate, as 0-1:1e4, sites from 0, 1/s; the way back by detailed balance. Repeatable."),
    ] = None,
    motion: Annotated[
        list[str] | None,
        _option(
            _JUMPS,
            "One site in the positions of flip:180@1e5, jump:3@1e8 (n-site), tetrahedral@1e6 or cone:20@1e7; several are a "
            "product, the outermost first. Without @rate --k-per-s gives it. Repeatable.",
        ),
    ] = None,
    motion_axis: Annotated[
        list[str] | None, _option(_JUMPS, "Of the motion, crystal frame; 0,0,1 by default. One for all or one each.")
    ] = None,
    k_per_s: Annotated[Text, _option(_JUMPS, "Rates for the jumps given without one, a spectrum each: 1e2,1e4,1e6.")] = None,
    temperatures_k: Annotated[
        Text, _option(_JUMPS, "Instead of rates: k = A exp(-E / kT), a spectrum for each T: 280,300,320.")
    ] = None,
    prefactor_per_s: Annotated[Real, _option(_JUMPS, "A, 1/s.")] = None,
    barrier_ev: Annotated[Real, _option(_JUMPS, "E, eV (1 kJ/mol is 0.010364 eV).")] = None,
    spread_decades: Annotated[
        Real, _option(_JUMPS, "Standard deviation of log10 k, for a log-normal distribution of those rates.")
    ] = None,
    barrier_deviation_ev: Annotated[
        Real, _option(_JUMPS, "Standard deviation of E, for a normal distribution of barriers, eV.")
    ] = None,
    populations: Annotated[Text, _option(_JUMPS, "Of all sites, summing to one.")] = None,
    axis: Annotated[Text, _option(_AXIS, "unit:from:to, as ppm:300:-100 or hz:20e3:-20e3.")] = None,
    points: Annotated[Whole, _option(_AXIS, "Of the axis; 2048 by default.")] = None,
    orientations: Annotated[Whole, _option(_AXIS, "Crystallites; chosen by default, as the next three.")] = None,
    phases: Annotated[Whole, _option(_AXIS, "Samples of a rotor period.")] = None,
    samples: Annotated[Whole, _option(_AXIS, "Points of the decay.")] = None,
    substeps: Annotated[Whole, _option(_AXIS, "Steps for each of the phases.")] = None,
    x64: Annotated[bool, _option(_AXIS, "Double precision.", "--x64")] = False,
    output: Annotated[
        list[Path] | None,
        _option(
            _OUT,
            ".png .pdf .svg .csv .csdf .spe .fid; repeatable. With several spectra, a data file each.",
            "--output",
            "-o",
        ),
    ] = None,
    force: Annotated[bool, _option(_OUT, "Replace files that exist.", "--force")] = False,
    as_json: Annotated[bool, _option(_OUT, "A summary on stdout as JSON.", "--json")] = False,
    dry_run: Annotated[bool, _option(_OUT, "Print the sizes and what would be written, and stop.", "--dry-run")] = False,
) -> None:
    """Simulate the spectrum of sites that rest or jump.

    From flags, a TOML file, or both (flags win).

    Keys of the file are the flags' names with _ for -, in their tables: field_t = 14.1 in experiment, a table site for each
    site. In structure the path is `file`, in exchange the jumps are `jumps`, in output the paths are `files`; paths in the
    file count from its folder. A motion is a table: kind, angle_deg or n, axis, rate_per_s.
    """
    began = BEGAN.get() or time.perf_counter()
    with plainly("simulate"):
        from jaxnmr.cli import _simulate
        from jaxnmr.cli._config import checked, from_toml
        from jaxnmr.cli._flags import with_flags

        raw = with_flags(
            from_toml(config) if config is not None else {},
            site={
                "shift_ppm": shift_ppm,
                "zeta_ppm": zeta_ppm,
                "eta": eta,
                "euler_deg": euler_deg,
                "cq_hz": cq_hz,
                "eta_q": eta_q,
                "euler_q_deg": euler_q_deg,
                "weight": weights,
            },
            structure={
                "file": None if not structure else structure[0] if len(structure) == 1 else structure,
                "reference_ppm": reference_ppm,
                "atoms": atoms,
                "merge": merge,
                "frame": frame,
            },
            experiment={
                "isotope": isotope,
                "field_t": field_t,
                "fields_t": fields_t,
                "rate_hz": rate_hz,
                "angle_deg": angle_deg,
                "transition": transition,
                "nutation_hz": nutation_hz,
                "pulse_us": pulse_us,
                "echo": echo,
                "echo_tau_us": echo_tau_us,
                "echo_periods": echo_periods,
                "linewidth_hz": linewidth_hz,
                "gaussian_hz": gaussian_hz,
            },
            disorder={
                "czjzek_sigma_hz": czjzek_sigma_hz,
                "correlated_shift_ppm": correlated_shift_ppm,
                "shift_deviation_ppm": shift_deviation_ppm,
            },
            exchange={
                "jumps": exchange or None,
                "k_per_s": k_per_s,
                "temperatures_k": temperatures_k,
                "prefactor_per_s": prefactor_per_s,
                "barrier_ev": barrier_ev,
                "spread_decades": spread_decades,
                "barrier_deviation_ev": barrier_deviation_ev,
                "populations": populations,
            },
            motion=motion,
            motion_axis=motion_axis,
            axis=axis,
            points=points,
            resolution={"orientations": orientations, "phases": phases, "samples": samples, "substeps": substeps},
            output=output,
            force=force,
        )
        ready = checked(raw, "" if config is None else str(config))
        _simulate.simulate(ready, dry_run=dry_run, as_json=as_json, x64=x64, began=began)


def tensors(
    file: Annotated[Path, typer.Argument(help="magres, extxyz or OUTCAR.", show_default=False)],
    isotope: Annotated[str, typer.Option(help="The nucleus, as 17O.", show_default=False)],
    reference_ppm: Annotated[
        Text,
        typer.Option(
            help="Shielding of the reference, ppm, or slope,intercept; without it shieldings are shown.", show_default=False
        ),
    ] = None,
    convention: Annotated[Convention, typer.Option(help="Of the shift or shielding.")] = Convention.haeberlen,
    atoms: Annotated[
        Text, typer.Option(help="Names (O1_4), labels (O1) or positions from 0, between commas.", show_default=False)
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="One row for equivalent atoms, with their number.")] = False,
    frame: Annotated[Whole, typer.Option(help="Which frame of several, from 0.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="As comma-separated values.")] = False,
) -> None:
    """Print one isotope's tensors in a file, in any convention.

    Shifts in ppm, C_Q in MHz, Euler angles in degrees (ZYZ, principal axes to crystal). The relative angles turn the shift's
    principal axes within those of the quadrupole coupling; they are one of several equivalent sets.
    """
    with plainly("tensors"):
        from jaxnmr.cli import _tensors

        _tensors.show(file, isotope, reference_ppm, convention.value, atoms, merge, frame, as_json=as_json, as_csv=as_csv)
