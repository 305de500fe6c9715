"""What `jaxnmr tensors` prints: one row an atom, parameters in a convention of the field."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import typer

import jaxnmr as jn
from jaxnmr import tensors as algebra
from jaxnmr.cli._flags import atoms as listed, reference as number_or_line
from jaxnmr.cli._say import Failure, say, warnings_to
from jaxnmr.rotations import euler_to_matrix
from jaxnmr.spins import equivalent, selected

__all__ = ["show", "table"]

Row = dict[str, str | int | float | None]
_ANGLES = ("alpha_deg", "beta_deg", "gamma_deg")


def show(
    file: Path,
    isotope: str,
    reference_ppm: str | None,
    convention: str,
    atoms: str | None,
    merge: bool,
    frame: int | None,
    *,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Reads the file and prints the table on stdout.

    Raises:
        Failure: two formats at once.
        ValueError: what the library refuses.
    """
    if as_json and as_csv:
        raise Failure("--json, --csv: both given; choose one.")
    # Angles of nearly equal principal values need the digits, and the table has no use for speed.
    jax.config.update("jax_enable_x64", True)
    reference = None if reference_ppm is None else number_or_line("--reference-ppm", reference_ppm)
    with warnings_to([]):
        structure = jn.structure.read(file, frame=frame)
        names = None if atoms is None else listed(atoms)
        rows = table(structure, isotope, reference, convention, names, merge)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif as_csv:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        typer.echo(text.getvalue(), nl=False)
    else:
        _print(rows)


def _print(rows: list[Row]) -> None:
    """Aligned; on a terminal too narrow for the row, without angles in the crystal frame."""
    text = _aligned(rows)
    width = max(map(len, text.splitlines()))
    if sys.stdout.isatty() and width > shutil.get_terminal_size().columns:
        frame = (*_ANGLES, *(f"q_{name}" for name in _ANGLES))
        text = _aligned([{name: value for name, value in row.items() if name not in frame} for row in rows])
        say(f"angles in the crystal frame left out; the terminal is narrower than {width} (--csv and --json have them)")
    typer.echo(text)


def table(
    structure: jn.Structure,
    isotope: str,
    reference: float | Sequence[float] | None,
    convention: str,
    atoms: Sequence[int | str] | None,
    merge: bool,
) -> list[Row]:
    """One row an atom, or a set of equivalent ones; None where an atom lacks a tensor.

    Args:
        structure: with its tensors.
        isotope: the nucleus.
        reference: as in `jaxnmr.Sites.from_tensors`; None for shieldings.
        convention: "haeberlen", "iupac" or "herzfeld-berger".
        atoms: as in `jaxnmr.Sites.read`.
        merge: whether equivalent atoms share a row.

    Raises:
        ValueError: an atom that is not there, no tensors of this element.
    """
    nucleus = jn.isotope(isotope)
    chosen = selected(structure, nucleus, atoms, partial=True)
    sigma, efg = np.asarray(structure.shielding)[chosen], np.asarray(structure.efg)[chosen]
    rows: list[Row] = [{"atom": structure.names[i]} for i in chosen]
    # Shieldings stay themselves on a line of slope 1.
    line: float | tuple[float, float] = (1.0, 0.0)
    if reference is not None:
        line = float(reference) if isinstance(reference, int | float) else (float(reference[0]), float(reference[1]))
    has_shift = np.asarray(structure.has_shielding)[chosen]
    has_coupling = np.asarray(structure.has_efg)[chosen] & nucleus.is_quadrupolar
    if merge:
        sites = jn.Sites.read(structure, nucleus.name, line, atoms=[int(i) for i in chosen], merge=True)
        shift = np.asarray(sites.shift)
        coupling = None if sites.quadrupole is None else np.asarray(sites.quadrupole)
        sets = equivalent(sigma, efg if nucleus.is_quadrupolar else None)
        rows = [{"atom": structure.names[chosen[group[0]]], "multiplicity": len(group)} for group in sets]
        has_shift = np.ones(len(shift), bool)
        has_coupling = np.full(len(shift), coupling is not None)
    else:
        shift = np.full_like(sigma, np.nan)
        shift[has_shift] = np.asarray(algebra.shielding_to_shift(sigma[has_shift], line)) if has_shift.any() else 0.0
        coupling = np.full_like(efg, np.nan)
        if has_coupling.any():
            coupling[has_coupling] = np.asarray(algebra.efg_to_coupling(efg[has_coupling], nucleus))
    columns = _shift_columns(shift, has_shift, convention, reference is None)
    if nucleus.is_quadrupolar:
        columns |= _coupling_columns(shift, has_shift, coupling, has_coupling, convention, reference is None)
    for index, row in enumerate(rows):
        for name, values in columns.items():
            row[name] = None if np.isnan(values[index]) else float(values[index])
    return rows


def _shift_columns(shift: np.ndarray, has: np.ndarray, convention: str, shielding: bool) -> dict[str, np.ndarray]:
    analyse = {
        ("haeberlen", False): algebra.haeberlen,
        ("iupac", False): algebra.iupac,
        ("herzfeld-berger", False): algebra.herzfeld_berger,
        ("haeberlen", True): algebra.shielding_haeberlen,
        ("iupac", True): algebra.shielding_iupac,
        ("herzfeld-berger", True): algebra.shielding_herzfeld_berger,
    }[convention, shielding]
    found = jax.jit(analyse)(_filled(shift, has))
    columns = {}
    if convention == "iupac":
        columns[("sigma" if shielding else "delta") + "_iso_ppm"] = np.mean([np.asarray(v) for v in found[:3]], axis=0)
    for name, values in zip(found._fields[:3], found[:3], strict=True):
        columns[name if name in ("eta", "skew") else f"{name}_ppm"] = np.asarray(values)
    columns |= dict(zip(_ANGLES, np.degrees(np.asarray(found.euler)).T, strict=True))
    return {name: np.where(has, values, np.nan) for name, values in columns.items()}


def _coupling_columns(
    shift: np.ndarray,
    has_shift: np.ndarray,
    coupling: np.ndarray | None,
    has: np.ndarray,
    convention: str,
    shielding: bool,
) -> dict[str, np.ndarray]:
    if coupling is None:
        coupling = np.full_like(shift, np.nan)
    found = jax.jit(algebra.quadrupole_parameters)(_filled(coupling, has))
    columns = {"c_q_mhz": np.asarray(found.c_q) / 1e6, "eta_q": np.asarray(found.eta_q)}
    euler = np.asarray(found.euler)
    columns |= {f"q_{name}": angle for name, angle in zip(_ANGLES, np.degrees(euler).T, strict=True)}
    columns = {name: np.where(has, values, np.nan) for name, values in columns.items()}
    # The shift tensor as seen from the principal axes of the coupling.
    turn = np.asarray(euler_to_matrix(*euler.T))
    seen = np.einsum("ska,skl,slb->sab", turn, _filled(shift, has_shift), turn)
    relative = _shift_columns(seen, has & has_shift, convention, shielding)
    return columns | {f"relative_{name}": relative[name] for name in _ANGLES}


def _filled(tensors: np.ndarray, has: np.ndarray) -> np.ndarray:
    return np.where(has[:, None, None], tensors, np.eye(3))


def _aligned(rows: list[Row]) -> str:
    """Columns as wide as they need to be; empty ones are left out."""
    names = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    digits = {
        name: 1 if name.endswith("_deg") else 4 if name.endswith("_mhz") else 3 if "eta" in name or name == "skew" else 2
        for name in names
    }
    digits |= {name: 2 for name in names if name.endswith("_ppm")}

    def cell(name: str, value: str | int | float | None) -> str:
        return "-" if value is None else f"{value:.{digits[name]}f}" if isinstance(value, float) else str(value)

    lines = [names, *([cell(name, row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )
