"""Files to write: which, whether they may be, and writing them whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from jaxnmr.cli._say import Failure
from jaxnmr.cli._stack import Stack
from jaxnmr.errors import missing_extra, near
from jaxnmr.saving import written_aside

if TYPE_CHECKING:
    import jaxnmr as jn

__all__ = ["DATA", "FIGURES", "Target", "draw", "save", "targets"]

FIGURES = (".png", ".pdf", ".svg")
DATA = (".csv", ".csdf", ".csdm", ".spe", ".fid")


@dataclass(frozen=True)
class Target:
    """One file, and which spectrum is in it; None for a figure of all."""

    path: Path
    spectrum: int | None


def targets(files: Sequence[Path], stack: Stack, force: bool) -> tuple[Target, ...]:
    """All files that will be written, checked before any work.

    Args:
        files: as asked for.
        stack: of spectra; with several, files of data get its values in their names.
        force: whether files may be replaced.

    Raises:
        Failure: an unknown suffix, no such folder, a folder in the file's place, a file that exists, one name twice.
        ImportError: a missing extra.
    """
    found: list[Target] = []
    for path in files:
        suffix = path.suffix.lower()
        if suffix in FIGURES:
            if find_spec("matplotlib") is None:
                raise missing_extra("matplotlib", "plot")
            found.append(Target(path, None))
        elif suffix in DATA:
            if suffix in (".csdf", ".csdm") and find_spec("csdmpy") is None:
                raise missing_extra("csdmpy", "io")
            names = [path]
            if stack.count > 1:
                names = [path.with_stem(path.stem + stack.suffix(i)) for i in range(stack.count)]
            found += [Target(name, i) for i, name in enumerate(names)]
        else:
            known = (*FIGURES, *DATA)
            raise Failure(f"output: {path.name!r} has no known suffix{near(suffix, known)}; use one of {', '.join(known)}.")
    for target in found:
        _check(target.path, force)
    names = [target.path.resolve() for target in found]
    for target in found:
        if names.count(target.path.resolve()) > 1:
            raise Failure(
                f"output: {target.path} would be written twice; name each file once, and give each value of a list once."
            )
    return tuple(found)


def _check(path: Path, force: bool) -> None:
    if path.is_dir():
        raise Failure(f"output: {path} is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise Failure(f"output: the folder {path.parent} does not exist; make it, or name another.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise Failure(f"output: the folder {path.parent} cannot be written to; name another.")
    if path.exists() and not force:
        raise Failure(f"output: {path} exists; add --force to replace it, or name another.")


def save(spectrum: jn.Spectrum, path: Path) -> None:
    """Write one spectrum."""
    spectrum.save(path)


def draw(spectra: Sequence[jn.Spectrum], stack: Stack, path: Path, unit: str) -> None:
    """Draw one spectrum, or a stack of them, against "ppm" or "hz"."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # A figure without pyplot opens no window and leaves the user's backend alone.
    rows = len(spectra)
    figure = Figure(figsize=(85 / 25.4, 2.0 if rows == 1 else min(1.5 + 0.37 * rows, 7.4)))
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained")
    ax = figure.subplots()
    if rows == 1:
        spectra[0].plot(ax, unit=unit)
    else:
        from jaxnmr.spectrum import plot_stack

        plot_stack(spectra, stack.values, name=stack.axis_name, unit=unit, ax=ax)
    # Type 42: journals refuse the default, and text stays text in a drawing program.
    with rc_context({"pdf.fonttype": 42, "svg.fonttype": "none"}), written_aside(path) as aside:
        figure.savefig(aside, dpi=300)
