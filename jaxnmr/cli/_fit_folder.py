"""The folder of a report, written whole or not at all, and the figures in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jaxnmr.cli._say import Failure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["RESULT", "check_report", "report_folder", "savefig"]

# What makes a folder a report, which may be replaced.
RESULT = "result.json"
_WIDTH = 85 / 25.4  # inches: one column of a journal


def check_report(folder: Path, force: bool) -> None:
    """Whether the folder of a report may be written.

    Raises:
        Failure: no folder to put it in, a file in its place, a report without `force`, a folder that is no report.
    """
    parent = folder.resolve().parent
    if not parent.is_dir():
        raise Failure(f"output.folder: the folder {parent} does not exist; make it, or name another.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise Failure(f"output.folder: the folder {parent} cannot be written to; name another.")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise Failure(f"output.folder: {folder} is a file; name a folder.")
    if any(folder.iterdir()) and not (folder / RESULT).is_file():
        raise Failure(f"output.folder: {folder} is no report (it has no {RESULT}) and is left alone; name another.")
    if not force:
        raise Failure(f"output.folder: {folder} exists; add --force to replace it, or name another.")


@contextmanager
def report_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `folder` once all is written: never half a report."""
    folder = folder.resolve()
    part, old = folder.with_name(f".{folder.name}.part"), folder.with_name(f".{folder.name}.old")
    for each in (part, old):
        shutil.rmtree(each, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        if folder.exists():
            os.replace(folder, old)
        os.replace(part, folder)
    finally:
        for each in (part, old):
            shutil.rmtree(each, ignore_errors=True)


def savefig(draw: Callable[[Figure], object], path: Path, size: tuple[float, float] = (_WIDTH, 0.62 * _WIDTH)) -> None:
    """Draw into a new figure of `size` inches, and write it; letters stay letters in PDF and SVG."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # A figure without pyplot opens no window and leaves the user's backend alone.
    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained")
    draw(figure)
    with matplotlib.rc_context({"pdf.fonttype": 42, "svg.fonttype": "none"}):
        figure.savefig(path, dpi=300)
