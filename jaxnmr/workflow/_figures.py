"""Pictures of a run, as SVG text that a page can hold."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from jaxnmr.workflow._compare import Comparison
from jaxnmr.workflow._result import Result

__all__ = ["energy_profile", "saved", "spectra_picture"]

COLOURS = {"A": "#4b5563", "B": "#0072B2", "C": "#D55E00", "D": "#009E73"}
_SAYS = {"A": "static minimum", "B": "exchange", "C": "averaged tensors", "D": "averaged tensors, exchange"}


def energy_profile(result: Result) -> Any:
    """Energy along each distinct path, with the saddle, as a figure."""
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
    axes.spines[["right", "top"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def spectra_picture(
    result: Result, field: int, measured: tuple[Any, tuple[Comparison, ...]] | None = None, temperature: int | None = None
) -> Any:
    """A, and B, C and D at each temperature, on one scale, one below the other, with band and measured line, as a figure.

    Args:
        result: of the run.
        field: which.
        measured: a spectrum with scaled lines, drawn at the top, the line with the least residual over it.
        temperature: this one alone, or all.
    """
    found, kelvins = result.spectra[field], result.config.experiment.temperatures_k
    rows: list[tuple[str, str, np.ndarray, Any]] = [("A", _SAYS["A"], found.still, None)]
    for t, kelvin in enumerate(kelvins):
        if temperature is not None and t != temperature:
            continue
        bands = (found.low[t], found.high[t]) if len(found.low) == len(kelvins) else None
        at = f", {kelvin:g} K"
        rows.append(("B", _SAYS["B"] + at, found.moving[t], None if len(found.both) else bands))
        if len(found.both):
            rows += [("C", _SAYS["C"] + at, found.fast[t], None), ("D", _SAYS["D"] + at, found.both[t], bands)]
    count = len(rows) + (measured is not None)
    figure, axes = _figure(6.4, 0.9 + 1.1 * count)
    shift = 1.12 * max(float(max(line.max(), 0.0 if band is None else band[1].max())) for _, _, line, band in rows)

    from matplotlib.patheffects import withStroke

    rim = [withStroke(linewidth=2.5, foreground="white")]

    def named(text: str, base: float, colour: str) -> None:
        at = (0.01, base + 0.62 * shift)
        axes.annotate(text, at, xycoords=("axes fraction", "data"), fontsize=9, color=colour, path_effects=rim)

    for row, (name, words, line, band) in enumerate(rows):
        base, colour = shift * (count - 1 - row - (measured is not None)), COLOURS[name]
        if band is not None:
            axes.fill_between(found.ppm, band[0] + base, band[1] + base, color=colour, alpha=0.25, lw=0)
            words += f" ({100 * result.config.uncertainty.share:.0f} %)"
        axes.plot(found.ppm, line + base, lw=1.1, color=colour)
        named(f"{name}: {words}", base, colour)
    if measured is not None:
        spectrum, lines = measured
        best, base = min(lines, key=lambda each: each.residual), shift * (count - 1)
        size = 0.9 * shift / float(np.max(np.asarray(spectrum.intensity)))
        axes.plot(spectrum.ppm, size * np.asarray(spectrum.intensity) + base, lw=1.1, color="#1b1b1b")
        axes.plot(spectrum.ppm, size * best.line + base, lw=0.9, ls="--", color=COLOURS[best.name])
        named(f"measured, and {best.name} (residual {best.residual:.2f})", base, "#1b1b1b")
    axes.set(xlabel=f"{result.config.experiment.isotope} shift / ppm", yticks=[], xlim=result.config.axis.ppm)
    axes.spines[["left", "right", "top"]].set_visible(False)
    return figure


def _short(result: Result, event: int) -> str:
    name = result.ends.names[event] if result.ends is not None else f"event {event}"
    return name if len(name) < 40 else f"{name[:37]}..."


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def saved(figure: Any, path: Path) -> str:
    """Write a figure as SVG or PNG, and give it as SVG text for a page."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from jaxnmr.saving import written_aside

    text = io.StringIO()
    # Without a date and with fixed names inside, so that the same numbers give the same file.
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": path.stem}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    FigureCanvasAgg(figure)
    with written_aside(path) as aside:
        figure.savefig(aside, format=path.suffix[1:], dpi=160)
    whole = text.getvalue()
    return whole[whole.index("<svg") :]  # without the head that only a file of its own has
