"""Tables and pictures of a training. matplotlib is imported when one is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxnmr.potential.training import Comparison, Progress
from jaxnmr.saving import written_aside

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["learning_curves", "parity", "reliability", "table"]

_INK, _GREY, _COLOURS = "#1b1b1b", "#8a8a8a", ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_PANEL = 2.4  # inches
# Points beyond which a panel becomes a picture of grey: a random choice shows the same.
_POINTS = 4000


def table(name: str, comparisons: Sequence[Comparison]) -> list[dict]:
    """Errors of each quantity on one set, one row each; None for what too few labels leave open."""
    rows = []
    for each in comparisons:
        row: dict[str, str | int | float | None] = {
            "set": name,
            "quantity": each.name,
            "element": each.element,
            "unit": each.unit,
            "count": len(each.given),
            "rmse": each.rmse,
            "mae": each.mae,
            "r2": each.r2,
        }
        if not np.isnan(each.uncertainty).all():
            row |= {"within_1_u": each.coverage(1.0), "within_1.96_u": each.coverage(1.96)}
            row["rank_correlation"] = each.rank_correlation()
        # JSON knows no NaN.
        rows.append({key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()})
    return rows


def learning_curves(course: Sequence[Progress], path: Path) -> None:
    """Losses and validation errors against epochs; nothing where matplotlib is missing."""
    if not course or find_spec("matplotlib") is None:
        return
    names = [(score.name, score.unit) for score in course[-1].scores]
    figure, panels = _panels(1 + len(names))
    epochs = [progress.epoch for progress in course]
    panels[0].plot(epochs, [progress.train_loss for progress in course], color=_GREY, lw=1.0, label="training")
    if names:
        panels[0].plot(
            epochs, [progress.validation_loss for progress in course], color=_COLOURS[0], lw=1.2, label="validation"
        )
    panels[0].legend(frameon=False, fontsize=7)
    panels[0].set_ylabel("loss", fontsize=8)
    for k, (panel, (name, unit)) in enumerate(zip(panels[1:], names, strict=True)):
        panel.plot(epochs, [progress.scores[k].rmse for progress in course], color=_COLOURS[0], lw=1.2)
        panel.set_ylabel(f"{name} RMSE / {_unit(unit)}", fontsize=8)
    for panel in panels:
        panel.set_yscale("log")
        panel.set_xlabel("epoch", fontsize=8)
        _plain(panel)
    _save(figure, path)


def parity(comparisons: Sequence[Comparison], path: Path) -> None:
    """Prediction against label for each quantity and element; nothing where matplotlib is missing."""
    if not comparisons or find_spec("matplotlib") is None:
        return
    figure, panels = _panels(len(comparisons))
    rng = np.random.default_rng(0)
    for panel, each in zip(panels, comparisons, strict=True):
        given, found = each.given.ravel(), each.found.ravel()
        chosen = rng.choice(len(given), min(len(given), _POINTS), replace=False)
        panel.plot(given[chosen], found[chosen], ".", ms=2.0, mew=0, color=_COLOURS[0], alpha=0.5, rasterized=True)
        ends = np.array([min(given.min(), found.min()), max(given.max(), found.max())])
        panel.plot(ends, ends, color=_INK, lw=0.7, zorder=0)
        title = f"{each.name} {each.element}".strip()
        panel.set_title(f"{title}, {_unit(each.unit)}", fontsize=8, color=_INK)
        panel.annotate(
            f"RMSE {each.rmse:.3g}\n$R^2$ {each.r2:.4f}", (0.04, 0.96), xycoords="axes fraction", va="top", fontsize=7
        )
        panel.set_xlabel("label", fontsize=8)
        panel.set_ylabel("prediction", fontsize=8)
        _plain(panel)
    _save(figure, path)


def reliability(comparisons: Sequence[Comparison], path: Path) -> None:
    """Error against uncertainty for each quantity and element: of single values, and of groups of like uncertainty.

    Groups lie on the line where the uncertainty is right. Nothing where no uncertainty is told, or matplotlib is missing.
    """
    told = [each for each in comparisons if len(each.given) > 1 and (each.uncertainty > 0).all()]
    if not told or find_spec("matplotlib") is None:
        return
    figure, panels = _panels(len(told))
    rng = np.random.default_rng(0)
    for panel, each in zip(panels, told, strict=True):
        square = np.mean((each.found - each.given).reshape(len(each.given), -1) ** 2, axis=1)
        chosen = rng.choice(len(square), min(len(square), _POINTS), replace=False)
        panel.loglog(
            each.uncertainty[chosen], np.sqrt(square[chosen]), ".", ms=2.0, mew=0, color=_GREY, alpha=0.5, rasterized=True
        )
        groups = np.array_split(np.argsort(each.uncertainty), max(1, min(12, len(square) // 15)))
        said = np.array([np.sqrt(np.mean(each.uncertainty[group] ** 2)) for group in groups])
        made = np.array([np.sqrt(square[group].mean()) for group in groups])
        panel.loglog(said, made, "o", ms=4.0, color=_COLOURS[0])
        ends = np.array([min(said.min(), made.min()), max(said.max(), made.max())])
        panel.loglog(ends * [0.8, 1.25], ends * [0.8, 1.25], color=_INK, lw=0.7, zorder=0)
        panel.set_title(f"{each.name} {each.element}, {_unit(each.unit)}".strip(), fontsize=8, color=_INK)
        within = f"{each.coverage(1.0):.2f} in u\n{each.coverage(1.96):.2f} in 1.96 u"
        panel.annotate(within, (0.04, 0.96), xycoords="axes fraction", va="top", fontsize=7)
        panel.set_xlabel("uncertainty u", fontsize=8)
        panel.set_ylabel("error, root mean square", fontsize=8)
        _plain(panel)
    _save(figure, path)


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(count, 3)
    rows = -(-count // columns)
    # A figure without pyplot opens no window and leaves the user's backend alone.
    figure = Figure(figsize=(_PANEL * columns, _PANEL * 0.95 * rows))
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for spare in panels[count:]:
        spare.set_visible(False)
    return figure, panels[:count]


def _plain(panel: Axes) -> None:
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    panel.tick_params(which="both", labelsize=7, width=0.7, length=3)
    if panel.get_xscale() == "linear":
        panel.locator_params(axis="x", nbins=5)


def _unit(unit: str) -> str:
    return unit.replace("angstrom", "Å") or "1"


def _save(figure: Figure, path: Path) -> None:
    from matplotlib import rc_context

    with rc_context({"pdf.fonttype": 42, "svg.fonttype": "none"}), written_aside(path) as aside:
        figure.savefig(aside, dpi=200)
