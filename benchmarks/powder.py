"""Powder grids: error against number of directions, with and without what fills the gaps between them.

    python benchmarks/powder.py

Three ways from directions to a static line: the points alone, the heat-kernel smoothing that `jaxnmr` uses, and linear
interpolation of the frequency on the triangles of an octahedron (Alderman, Solum and Grant, J. Chem. Phys. 84, 3717 (1986)),
written here in NumPy. The reference is that interpolation on 115 200 triangles; the smoothing on 65 536 points
agrees with it.
"""

from __future__ import annotations

import warnings

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

import jaxnmr as jn  # noqa: E402
from jaxnmr.harmonics import harmonics  # noqa: E402
from jaxnmr.spins import RANKS, frequency_irreps  # noqa: E402

FIELD = 9.4
POINTS = 1024
COUNTS = (100, 400, 1600, 6400)


def patterns() -> dict[str, tuple[jn.Sites, float]]:
    """Sites and the width of their pattern, Hz."""
    turned = (0.4, 0.7, 0.2)
    shift = jn.shift_tensor(0.0, 100.0, 0.4, turned)
    oxygen = jn.Sites("17O", jn.shift_tensor(0.0, 60.0, 0.3, turned), jn.quadrupole_tensor(7e6, 0.3, (0.1, 0.5, 0.9)))
    return {"13C shift": (jn.Sites("13C", shift), 15e3), "17O second order": (oxygen, 40e3)}


def triangles(density: int) -> tuple[np.ndarray, np.ndarray]:
    """Corners (triangle, 3, 3) and solid angles of the upper half of an octahedron projected on the sphere."""
    corners = []
    for sx, sy in ((1, 1), (-1, 1), (-1, -1), (1, -1)):
        point = lambda i, j, sx=sx, sy=sy: (sx * i, sy * j, density - i - j)  # noqa: E731
        for i in range(density):
            for j in range(density - i):
                corners.append((point(i, j), point(i + 1, j), point(i, j + 1)))
                if i + j < density - 1:
                    corners.append((point(i + 1, j), point(i + 1, j + 1), point(i, j + 1)))
    c = np.array(corners, dtype=float)
    c /= np.linalg.norm(c, axis=2, keepdims=True)
    volume = np.abs(np.einsum("ti,ti->t", c[:, 0], np.cross(c[:, 1], c[:, 2])))
    dots = 1 + sum(np.einsum("ti,ti->t", c[:, a], c[:, b]) for a, b in ((0, 1), (1, 2), (2, 0)))
    areas = 2 * np.arctan2(volume, dots)
    return c, areas / areas.sum()


def interpolated(sites: jn.Sites, density: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and the share of the powder at each, by linear interpolation on triangles."""
    corners, areas = triangles(density)
    irreps = np.asarray(frequency_irreps(sites, 0.5, np.asarray(FIELD), second_order=True))[:, 0]
    flat = corners.reshape(-1, 3)
    basis = np.stack([np.broadcast_to(y, len(flat)) for y in harmonics(flat.T, RANKS)])
    low, middle, high = np.sort((irreps @ basis).reshape(-1, 3), axis=1).T
    edges = np.linspace(low.min() - 1, high.max() + 1, 3001)
    cumulative = np.zeros(len(edges))
    tiny = 1e-9 * (high.max() - low.min())
    for part in np.array_split(np.arange(len(areas)), max(1, len(areas) // 500)):
        a, b, c = (x[part, None] for x in (low, middle, high))
        rise = np.clip(edges - a, 0, b - a) ** 2 / np.maximum((b - a) * (c - a), tiny**2)
        fall = ((c - b) ** 2 - np.clip(c - edges, 0, c - b) ** 2) / np.maximum((c - b) * (c - a), tiny**2)
        cumulative += areas[part] @ np.minimum(rise + fall, 1)
    return (edges[1:] + edges[:-1]) / 2, np.diff(cumulative)


def broadened(pattern: tuple[np.ndarray, np.ndarray], hz: np.ndarray, linewidth: float) -> np.ndarray:
    """A pattern convolved with a Lorentzian, per Hz."""
    centre, mass = pattern
    half = linewidth / 2
    return (mass @ (half / np.pi / ((hz[None, :] - centre[:, None]) ** 2 + half**2))) / mass.sum()


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def main() -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("pattern", "linewidth / Hz", "directions", "points alone", "smoothed", "on triangles", "their corners")
    for name, (sites, extent) in patterns().items():
        axis = jn.Axis(hz=(-1.2 * extent, 1.2 * extent), points=POINTS)
        hz = np.linspace(-1.2 * extent, 1.2 * extent, POINTS)
        experiment = jn.Static(FIELD)

        def line(count: int, smooth: bool, linewidth: float, sites=sites, axis=axis, experiment=experiment) -> np.ndarray:
            resolution = jn.Resolution(count, samples=4096, smooth=smooth)
            with warnings.catch_warnings():  # coarse on purpose
                warnings.simplefilter("ignore", jn.errors.JaxnmrWarning)
                spectrum = jn.simulate(sites, experiment, axis, linewidth=linewidth, resolution=resolution)
            return np.asarray(spectrum.intensity)

        densities = [max(1, round(np.sqrt(count / 2))) for count in COUNTS]
        patterned = [interpolated(sites, density) for density in densities]
        finest = interpolated(sites, 120)
        for linewidth in (extent / 30, extent / 100):
            reference = broadened(finest, hz, linewidth)
            for count, density, pattern in zip(COUNTS, densities, patterned, strict=True):
                errors = [relative(line(count, smooth, linewidth), reference) for smooth in (False, True)]
                errors.append(relative(broadened(pattern, hz, linewidth), reference))
                corners = str(2 * density * (density + 1) + 1)
                table.add_row(name, f"{linewidth:.0f}", str(count), *(f"{error:.1e}" for error in errors), corners)
            many = relative(line(65536, True, linewidth), reference)
            table.add_row(name, f"{linewidth:.0f}", "65536", "", f"{many:.1e}", "", "", end_section=True)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
