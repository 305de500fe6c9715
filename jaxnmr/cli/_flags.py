"""From the text of flags to the tables of a configuration; a flag wins over the file."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxnmr.cli._say import Failure
from jaxnmr.errors import near

__all__ = ["atoms", "motions", "numbers", "reference", "with_flags"]

_ANGLES = ("euler_deg", "euler_q_deg")
_MOTION = re.compile(r"([a-z]+)(?::([^@]*))?(?:@(.*))?")
# What the number behind a motion's name is.
_PARAMETERS = {"flip": "angle_deg", "jump": "n", "cone": "angle_deg", "tetrahedral": None}


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
    disorder: dict[str, Any],
    exchange: dict[str, Any],
    motion: Sequence[str] | None,
    motion_axis: Sequence[str] | None,
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
        disorder: values of the table, sigma as text.
        exchange: jumps as they came, the others as text.
        motion: as "flip:180@1e5", the outermost first.
        motion_axis: as "0,0,1", one for all or one each.
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
    if (text := experiment.get("fields_t")) is not None:
        experiment = experiment | {"fields_t": numbers("--fields-t", text)}
    # One field gives way to several, and several to one.
    for name, other in (("fields_t", "field_t"), ("field_t", "fields_t")):
        if experiment.get(name) is not None and experiment.get(other) is None:
            tables["experiment"] = {k: v for k, v in _table(tables, "experiment").items() if k != other}
    if (text := disorder.get("czjzek_sigma_hz")) is not None:
        values = numbers("--czjzek-sigma-hz", text)
        disorder = disorder | {"czjzek_sigma_hz": values[0] if len(values) == 1 else values}
    for name in ("k_per_s", "populations", "temperatures_k"):
        if exchange.get(name) is not None:
            exchange = exchange | {name: numbers(_flag(name), exchange[name])}
    if motion:
        tables["motion"] = motions(motion, motion_axis or ())
    elif motion_axis:
        raise Failure("--motion-axis: came without --motion; add one, as --motion flip:180@1e5.")
    if axis is not None:
        unit, ends = _ends(axis)
        # Ends in the other unit give way.
        kept = {key: value for key, value in _table(tables, "axis").items() if key not in ("ppm", "hz")}
        tables["axis"] = kept | {unit: ends}
    files = {"files": list(output)} if output else {}
    for name, values in (
        ("structure", structure),
        ("experiment", experiment),
        ("disorder", disorder),
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


def motions(texts: Sequence[str], axes: Sequence[str]) -> list[dict[str, Any]]:
    """Tables of motions.

    Args:
        texts: as "flip:180@1e5".
        axes: as "0,0,1": none, one for all, or one each.

    Raises:
        Failure: an unknown motion, a parameter that is no number, another number of axes.
    """
    if len(axes) not in (0, 1, len(texts)):
        raise Failure(f"--motion-axis: got {len(axes)} for {len(texts)} motions; give one for all, or one each.")
    vectors = [numbers("--motion-axis", axis) for axis in axes]
    for axis, vector in zip(axes, vectors, strict=True):
        if len(vector) != 3 or not any(vector):
            raise Failure(f"--motion-axis: got {axis!r}; give a direction of three numbers, as 0,0,1.")
    turning = [not text.strip().startswith("tetrahedral") for text in texts]
    if vectors and not any(turning):
        raise Failure("--motion-axis: a tetrahedral motion has none; leave it out.")
    shared = vectors[0] if len(vectors) == 1 else None
    tables = []
    for i, text in enumerate(texts):
        match = _MOTION.fullmatch(text.strip())
        if match is None or match[1] not in _PARAMETERS:
            known = near(match[1], _PARAMETERS) if match else ""
            raise Failure(
                f"--motion: got {text!r}{known}; give kind:parameter@rate, as flip:180@1e5, jump:3@1e8, tetrahedral@1e6 or "
                "cone:20@1e7 (half-angle and diffusion in rad^2/s); without @rate, --k-per-s gives it."
            )
        table: dict[str, Any] = {"kind": match[1]}
        if match[2] is not None:
            name = _PARAMETERS[match[1]]
            if name is None:
                raise Failure(f"--motion: got {text!r}, but {match[1]} takes no parameter; write {match[1]}@1e6.")
            value = _one("--motion", text, match[2])
            table[name] = int(value) if name == "n" and value == int(value) else value
        if match[3] is not None:
            table["rate_per_s"] = _one("--motion", text, match[3])
        if shared is None and vectors:
            table["axis"] = vectors[i]
        elif shared is not None and turning[i]:
            table["axis"] = shared
        tables.append(table)
    return tables


def _one(flag: str, text: str, part: str) -> float:
    try:
        value = float(part)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Failure(f"{flag}: got {text!r}, in which {part!r} is no number.")
    return value


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
