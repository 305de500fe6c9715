"""What a run leaves in its folder: every number as JSON, spectra as CSV, pictures, and a page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from jaxnmr.saving import written_aside
from jaxnmr.spectrum import Spectrum
from jaxnmr.workflow._asked import models_of
from jaxnmr.workflow._compare import Comparison
from jaxnmr.workflow._numbers import numbers_of
from jaxnmr.workflow._page import page_of
from jaxnmr.workflow._result import Result

__all__ = ["write_report"]


def write_report(
    result: Result, origin: Mapping[str, Any], measured: tuple[Spectrum, Sequence[Comparison]] | None = None
) -> None:
    """Write report.json, CSV of the spectra, pictures and report.html into the run's folder.

    The report lists its files; those that a former one listed and this one has no more are removed, so that no curve of
    other settings lies beside the new ones.

    Args:
        result: a run to its spectra.
        origin: versions and digests.
        measured: a spectrum with scaled lines, as `compared` gives it.
    """
    folder, numbers = result.folder, numbers_of(result, () if measured is None else measured[1])
    origin = {**origin, "models": models_of(result.config, origin)}
    origin["atoms_sha256_of"] = "elements, periodicity, positions and cell, as they were read"
    made = [f"minimum-{k}.extxyz" for k in range(1 + (0 if result.ends is None else len(result.ends.names)))]
    made += [f"saddle-{k}.extxyz" for k in sorted({int(result.ends.same_as[k]) for k in result.used} if result.ends else ())]
    for f, field in enumerate(result.config.experiment.fields_t):
        made.append(_saved(result.still(f), folder, f"spectrum-A-{field:g}T.csv"))
        for t, kelvin in enumerate(result.config.experiment.temperatures_k):
            at = f"{field:g}T-{kelvin:g}K.csv"
            made.append(_saved(result.moving(f, t), folder, f"spectrum-B-{at}"))
            if result.sampled:
                made.append(_saved(result.averaged(f, t), folder, f"spectrum-C-{at}"))
                made.append(_saved(result.both(f, t), folder, f"spectrum-D-{at}"))
            made += _write_band(result, f, t, at)
    pictures, drawn = _pictures(result, numbers, measured) if find_spec("matplotlib") is not None else ({}, [])
    with written_aside(folder / "report.html") as aside:
        aside.write_text(page_of(result, numbers, origin, pictures), encoding="utf-8")
    made += [*drawn, "report.html"]
    for name in _listed(folder / "report.json") - set(made):
        (folder / name).unlink(missing_ok=True)
    # All is kept by now: what is left of motions was made with other settings.
    for left in (folder / "motion").glob("sample-*.npz"):
        left.unlink(missing_ok=True)
    # Last, since it lists what there is: a run that was killed before this finds the former list.
    with written_aside(folder / "report.json") as aside:
        whole = _plain(numbers | {"files": made, "provenance": dict(origin)})
        aside.write_text(json.dumps(whole, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _saved(spectrum: Spectrum, folder: Path, name: str) -> str:
    spectrum.save(folder / name)
    return name


def _listed(report: Path) -> set[str]:
    """Files of a former report, by their names in the run's folder."""
    try:
        found = json.loads(report.read_text(encoding="utf-8")).get("files", [])
    except (OSError, ValueError, AttributeError):
        return set()
    return {name for name in found if isinstance(name, str) and name == Path(name).name}


def _plain(value: Any) -> Any:
    """The same with null for numbers that are not finite, which JSON cannot hold."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_band(result: Result, field: int, temperature: int, at: str) -> list[str]:
    found = result.spectra[field]
    if not len(found.low):
        return []
    name, line = ("D", found.both) if len(found.both) else ("B", found.moving)
    columns = np.column_stack([found.ppm, found.hz, line[temperature], found.low[temperature], found.high[temperature]])
    share = f"{100 * result.config.uncertainty.share:.0f}"
    head = f"ppm,hz,intensity,low_{share},high_{share}"
    with written_aside(result.folder / f"band-{name}-{at}") as aside:
        np.savetxt(aside, columns, delimiter=",", header=head, comments="", fmt="%.9g")
    return [f"band-{name}-{at}"]


def _pictures(result: Result, numbers: Mapping[str, Any], measured: Any) -> tuple[dict[str, str], list[str]]:
    """SVG texts by what they show, and the names of the PNG in the folder."""
    from jaxnmr.workflow._drawings import site_graph, structure_picture
    from jaxnmr.workflow._figures import energy_profile, saved, spectra_picture

    drawn = {"structure": ("structure.png", structure_picture(result))}
    for f, field in enumerate(numbers["fields_t"]):
        beside = measured if f == result.config.measured.field else None
        drawn[f"spectra {f}"] = f"spectra-{field:g}T.png", spectra_picture(result, f, beside)
    if result.bands:
        drawn["energy"] = "energy.png", energy_profile(result)
    if result.rates is not None:
        drawn["graph"] = "sites.png", site_graph(result, numbers)
    texts = {what: saved(figure, result.folder / name) for what, (name, figure) in drawn.items()}
    return texts, [name for name, _ in drawn.values()]
