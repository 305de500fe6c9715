"""A spectrum and its files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Spectrum"]

_COLUMNS = "ppm,hz,intensity"


class Spectrum(eqx.Module):
    r"""Spectral density at the points of an axis.

    Attributes:
        ppm: chemical shift from the reference.
        hz: the same, $\mathrm{hz} = 10^{-6}\,|\nu_0|\,\mathrm{ppm}$.
        intensity: density per Hz; its integral over all frequencies is one.
        label: what it is, for plots and files.
    """

    ppm: Float[Array, " points"]
    hz: Float[Array, " points"]
    intensity: Float[Array, " points"]
    label: str = eqx.field(static=True, default="")

    def plot(self, ax: Axes | None = None, unit: str = "ppm", **line: object) -> Axes:
        """Draw the spectrum, frequencies descending as NMR does.

        Args:
            ax: matplotlib axes; a new figure's by default.
            unit: "ppm" or "hz".
            **line: passed on to `Axes.plot` (colour, width, label...).

        Returns:
            The axes.

        Raises:
            ImportError: matplotlib is missing.
            ValueError: another unit.
        """
        from jaxnmr.spectrum._plot import plot_spectrum

        return plot_spectrum(self, ax, unit, line)

    def save(self, path: str | Path) -> None:
        """Write CSV with the columns ppm, hz and intensity; written aside and renamed, so never half a file.

        Raises:
            ValueError: the name does not end in .csv.
        """
        path = Path(path)
        if path.suffix.lower() != ".csv":
            raise ValueError(f"path: got {path.name!r}; spectra are saved as .csv.")
        aside = path.with_name(f".{path.name}.part")
        table = np.stack([np.asarray(column, dtype=np.float64) for column in (self.ppm, self.hz, self.intensity)], axis=1)
        header = f"# jaxnmr spectrum, {len(table)} points{': ' + self.label if self.label else ''}\n{_COLUMNS}"
        try:
            np.savetxt(aside, table, delimiter=",", header=header, comments="", fmt="%.17g")
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> Spectrum:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file has other columns, or is cut short.
        """
        path = Path(path)
        text = path.read_text()
        lines = text.splitlines()
        label, promised = "", None
        if lines and lines[0].startswith("#"):
            kind, _, label = lines[0].partition(": ")
            promised = next((int(word) for word in kind.split() if word.isdigit()), None)
            lines = lines[1:]
        if not lines or lines[0].replace(" ", "") != _COLUMNS:
            found = lines[0] if lines else "nothing"
            raise ValueError(
                f"{path}: expected the columns {_COLUMNS!r}, found {found[:60]!r}; was it saved by Spectrum.save?"
            )
        rows = [line.split(",") for line in lines[1:] if line.strip()]
        try:
            table = np.array([[float(x) for x in row] for row in rows]).reshape(-1, 3)
        except ValueError:
            bad = next((i for i, row in enumerate(rows) if len(row) != 3 or not all(map(_is_number, row))), 0)
            raise ValueError(f"{path}: line {bad + 3} is not three numbers; the file may be cut short.") from None
        if promised is not None and (len(table) != promised or not text.endswith("\n")):
            raise ValueError(f"{path}: {len(table)} points of {promised}; the file was cut short.")
        if len(table) < 2:
            raise ValueError(f"{path}: {len(table)} points; a spectrum has at least 2. The file may be cut short.")
        ppm, hz, intensity = (jnp.asarray(column) for column in table.T)
        return cls(ppm, hz, intensity, label)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
