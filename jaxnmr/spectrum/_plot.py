"""Drawing, the only place that imports matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jaxnmr.errors import missing_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from jaxnmr.spectrum._spectrum import Spectrum

__all__ = ["plot_spectrum"]


def plot_spectrum(spectrum: Spectrum, ax: Axes | None, unit: str, line: dict) -> Axes:
    """See `Spectrum.plot`."""
    if unit not in ("ppm", "hz"):
        raise ValueError(f"unit: got {unit!r}; use 'ppm' or 'hz'.")
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise missing_extra("matplotlib", "plot") from None
    if ax is None:
        _, ax = plt.subplots(figsize=(6.0, 3.0), layout="constrained")
        assert ax is not None
    x = np.asarray(spectrum.ppm if unit == "ppm" else spectrum.hz / 1e3)
    style = {"lw": 1.2, "label": spectrum.label or None} | line
    ax.plot(x, np.asarray(spectrum.intensity), **style)
    ax.set_xlim(x.max(), x.min())
    ax.set_xlabel("chemical shift / ppm" if unit == "ppm" else "frequency / kHz")
    ax.set_yticks([])
    for side in ("left", "right", "top"):
        ax.spines[side].set_visible(False)
    return ax
