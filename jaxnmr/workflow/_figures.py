"""Pictures of a run, as SVG text that a page can hold."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from jaxnmr.workflow._result import Result

__all__ = ["energy_profile", "spectra_picture"]


def energy_profile(result: Result) -> str:
    """Energy along each distinct path, with the saddle."""
    figure, axes = _figure(5.2, 3.2)
    drawn: set[int] = set()
    for k, band in zip(result.used, result.bands, strict=True):
        same = int(result.ends.same_as[k]) if result.ends is not None else k
        if same in drawn:
            continue
        drawn.add(same)
        (line,) = axes.plot(band.arc, band.energies, "o-", ms=4, lw=1.1, label=_short(result, same))
        top = band.arc[np.argmax(band.energies)]
        axes.plot(
            top, band.barrier_ev, "D", ms=7, mfc="none", mec=line.get_color(), label=f"saddle {band.barrier_ev:.3f} eV"
        )
    axes.set(xlabel="path length / Å", ylabel="energy / eV")
    axes.legend(frameon=False, fontsize=8)
    return _svg(figure)


def spectra_picture(result: Result, field: int) -> str:
    """A, and B at each temperature, on one scale, one below the other."""
    found, temperatures = result.spectra[field], result.config.experiment.temperatures_k
    rows = [("A: static minimum", found.still)]
    rows += [(f"B: exchange, {kelvin:g} K", line) for kelvin, line in zip(temperatures, found.moving, strict=True)]
    figure, axes = _figure(6.4, 1.2 + 1.2 * len(rows))
    shift = 1.15 * max(float(line.max()) for _, line in rows)
    for row, (label, line) in enumerate(rows):
        base = shift * (len(rows) - 1 - row)
        axes.plot(found.ppm, line + base, lw=1.1, color=f"C{row}")
        axes.annotate(label, (0.01, base + 0.55 * shift), xycoords=("axes fraction", "data"), fontsize=9, color=f"C{row}")
    axes.set(xlabel=f"{result.config.experiment.isotope} shift / ppm", yticks=[], xlim=result.config.axis.ppm)
    axes.spines[["left", "right", "top"]].set_visible(False)
    return _svg(figure)


def _short(result: Result, event: int) -> str:
    name = result.ends.names[event] if result.ends is not None else f"event {event}"
    return name if len(name) < 40 else f"{name[:37]}..."


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _svg(figure: Any) -> str:
    from matplotlib import rc_context

    text = io.StringIO()
    # Without a date and with fixed names inside, so that the same numbers give the same file.
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": "jaxnmr"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]  # without the head that only a file of its own has
