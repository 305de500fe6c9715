"""From the text of flags to the tables of a configuration; a flag wins over the file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxnmr.cli._say import Failure

__all__ = ["atoms", "numbers", "reference", "with_flags"]

_ANGLES = ("euler_deg", "euler_q_deg")


def numbers(flag: str, text: str) -> list[float]:
    """Numbers between commas.

    Raises:
        Failure: something else between them.
    """
    values = []
    for part in text.split(","):
        try:
            values.append(float(part))
        except ValueError:
            raise Failure(
                f"{flag}: got {text!r}, in which {part.strip()!r} is no number; give numbers between commas."
            ) from None
    if any(math.isnan(value) for value in values):
        raise Failure(f"{flag}: got {text!r}; give numbers between commas.")
    return values


def reference(flag: str, text: str) -> float | list[float]:
    """A shielding, or slope and intercept.

    Raises:
        Failure: not one number or two.
    """
    values = numbers(flag, text)
    if len(values) > 2:
        raise Failure(f"{flag}: got {len(values)} numbers; give the reference's shielding, or slope,intercept.")
    return values[0] if len(values) == 1 else values


def with_flags(
    raw: dict[str, Any],
    *,
    site: dict[str, str | None],
    structure: dict[str, Any],
    experiment: dict[str, Any],
    exchange: dict[str, Any],
    axis: str | None,
    points: int | None,
    resolution: dict[str, int | None],
    output: Sequence[Path] | None,
    force: bool,
) -> dict[str, Any]:
    """The tables of a file with flags put in; values of None were not given.

    Args:
        raw: tables of the file, or an empty dictionary.
        site: text of the flags that list values per site.
        structure: values of the table.
        experiment: values of the table, widths as text.
        exchange: jumps as they came, the others as text.
        axis: as "ppm:300:-100".
        points: of the axis.
        resolution: sizes.
        output: files.
        force: whether they may replace others.

    Raises:
        Failure: numbers that are none, or as many values as there are no sites for.
    """
    tables = dict(raw)
    given = {name: text for name, text in site.items() if text is not None}
    if given:
        if structure.get("file") is not None:
            raise Failure(f"{_flag(next(iter(given)))}: came together with --structure; give sites or a file of tensors.")
        tables["site"] = _sites(tables.get("site"), given)
        tables.pop("structure", None)
    elif structure.get("file") is not None:
        tables.pop("site", None)
    if (text := experiment.get("linewidth_hz")) is not None:
        values = numbers("--linewidth-hz", text)
        experiment = experiment | {"linewidth_hz": values[0] if len(values) == 1 else values}
    if (text := structure.get("reference_ppm")) is not None:
        structure = structure | {"reference_ppm": reference("--reference-ppm", text)}
    if (text := structure.get("atoms")) is not None:
        structure = structure | {"atoms": atoms(text)}
    for name in ("k_per_s", "populations"):
        if exchange.get(name) is not None:
            exchange = exchange | {name: numbers(_flag(name), exchange[name])}
    if axis is not None:
        unit, ends = _ends(axis)
        # Ends in the other unit give way.
        kept = {key: value for key, value in _table(tables, "axis").items() if key not in ("ppm", "hz")}
        tables["axis"] = kept | {unit: ends}
    files = {"files": list(output)} if output else {}
    for name, values in (
        ("structure", structure),
        ("experiment", experiment),
        ("exchange", exchange),
        ("axis", {"points": points}),
        ("resolution", resolution),
        ("output", files | ({"force": True} if force else {})),
    ):
        news = {key: value for key, value in values.items() if value is not None}
        if news:
            tables[name] = _table(tables, name) | news
    return tables


def atoms(text: str) -> list[int | str]:
    """Names, labels or positions between commas."""
    return [int(part) if part.isdigit() else part for part in (each.strip() for each in text.split(",")) if part]


def _table(tables: dict[str, Any], name: str) -> dict[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise Failure(f"{name}: got {table!r}; it is a table, [{name}].")
    return table


def _sites(in_file: Any, given: dict[str, str]) -> list[Any]:
    columns: dict[str, list[Any]] = {}
    for name, text in given.items():
        flag = _flag(name)
        if name in _ANGLES:
            columns[name] = [numbers(flag, part) for part in text.split(";")]
            for angles in columns[name]:
                if len(angles) != 3:
                    raise Failure(f"{flag}: got {len(angles)} angles for a site; give alpha,beta,gamma, sites between ';'.")
        else:
            columns[name] = numbers(flag, text)
    rows = [dict(row) for row in in_file] if isinstance(in_file, list) else []
    # Without sites in the file, the shifts say how many there are.
    shifts = len(columns.get("shift_ppm", ()))
    count = len(rows) or (shifts if shifts > 1 else max(map(len, columns.values())))
    rows = rows or [{} for _ in range(count)]
    for name, values in columns.items():
        if len(values) not in (1, count):
            raise Failure(f"{_flag(name)}: got {len(values)} values for {count} sites; give one for all, or one each.")
        for row, value in zip(rows, values * count if len(values) == 1 else values, strict=True):
            row[name] = value
    return rows


def _flag(name: str) -> str:
    return "--" + {"weight": "weights"}.get(name, name).replace("_", "-")


def _ends(text: str) -> tuple[str, list[float]]:
    unit, *ends = text.split(":")
    if unit not in ("ppm", "hz") or len(ends) != 2:
        raise Failure(f"--axis: got {text!r}; give unit:from:to, as ppm:300:-100 or hz:20e3:-20e3.")
    return unit, [numbers("--axis", end)[0] for end in ends]
