r"""Powder grids, and the heat-kernel smoothing that stands for interpolation between their points.

The signal of a direction and its opposite are equal, so half the sphere is enough. A point stands for a cell; the
mean over the cell of $e^{2\pi i\nu t}$ is, for cells of mean-square extent $s^2$ per axis,

$$e^{s^2\nabla^2/2}\,e^{2\pi i\nu t} \approx \exp\!\left(2\pi i t\,(\nu + \tfrac{s^2}{2}\nabla^2\nu)
  - \tfrac12 (2\pi t)^2 s^2\,|\nabla\nu|^2\right).$$

The Laplacian of anything integrates to zero over the closed sphere, so on an even grid the smoothing has no error of order
$s^2$, while directions too far apart for the linewidth no longer show as ripples. On spherical harmonics
$\nabla^2 Y_l = -l(l+1)Y_l$. At equal numbers of directions the error lay between 1.2 times and a fifth of that of linear
interpolation on the triangles of the octahedron (`benchmarks/powder.py`), and nothing is singular where corners coincide.
Its ancestor is the adaptive broadening of Yates et al., Phys. Rev. B 75, 195121 (2007), which has no Laplacian term.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from jaxnmr.harmonics import fibonacci_hemisphere, frames, harmonics

__all__ = ["Fibonacci", "Grid", "Octahedral", "Points", "basis_gradients"]

# s^2 over the cell's area: 1/12 is the exact second moment of a square cell; a little more also covers the unevenness of
# the lattice (scan over 0.09 ... 0.25 on static CSA and second-order patterns).
_SPREAD = 0.18


@dataclass(frozen=True)
class Points:
    """Directions (orientation, 3), weights that sum to one, and each cell's $s^2$, rad^2, (orientation,)."""

    directions: np.ndarray
    weights: np.ndarray
    spread: np.ndarray


@dataclass(frozen=True)
class Grid:
    """What a powder grid offers: `points(count)`."""

    def points(self, count: int) -> Points:
        """About `count` directions."""
        raise NotImplementedError


@dataclass(frozen=True)
class Fibonacci(Grid):
    """Points of equal weight along a Fibonacci spiral on the hemisphere: the most even grid of any size.

    References:
        Swinbank and Purser, Q. J. R. Meteorol. Soc. 132, 1769 (2006).
    """

    def points(self, count: int) -> Points:
        """Exactly `count` directions."""
        return _fibonacci(count)


@dataclass(frozen=True)
class Octahedral(Grid):
    """Vertices of the octahedron of Alderman, Solum and Grant, weighted by their share of the solid angle.

    Args:
        octant: cover one octant, which is exact where every tensor is diagonal in the crystal axes.

    References:
        Alderman, Solum and Grant, J. Chem. Phys. 84, 3717 (1986).
    """

    octant: bool = False

    def points(self, count: int) -> Points:
        """About `count` vertices."""
        share = 2 * count if self.octant else count / 2
        density = max(1, round((np.sqrt(4 * share + 1) - 3) / 2 if self.octant else np.sqrt(share)))
        return _octahedral(density, self.octant)


@cache
def _fibonacci(count: int) -> Points:
    return Points(fibonacci_hemisphere(count), np.full(count, 1 / count), np.full(count, _SPREAD * 2 * np.pi / count))


@cache
def _octahedral(density: int, octant: bool) -> Points:
    index: dict[tuple[int, int, int], int] = {}
    triangles = []
    signs = ((1, 1),) if octant else ((1, 1), (-1, 1), (-1, -1), (1, -1))
    for sign_x, sign_y in signs:

        def vertex(i: int, j: int, sign_x: int = sign_x, sign_y: int = sign_y) -> int:
            return index.setdefault((i * sign_x, j * sign_y, density - i - j), len(index))

        for i in range(density):
            for j in range(density - i):
                triangles.append((vertex(i, j), vertex(i + 1, j), vertex(i, j + 1)))
                if i + j < density - 1:
                    triangles.append((vertex(i + 1, j), vertex(i + 1, j + 1), vertex(i, j + 1)))
    keys = np.array(list(index), dtype=np.float64)
    length = np.linalg.norm(keys, axis=1)
    vertices = keys / length[:, None]
    corners = np.array(triangles)
    a, b, c = (vertices[corners[:, k]] for k in range(3))
    # Solid angle of a spherical triangle: van Oosterom and Strackee, IEEE Trans. Biomed. Eng. 30, 125 (1983).
    volume = np.abs(np.einsum("ti,ti->t", a, np.cross(b, c)))
    dots = 1 + np.einsum("ti,ti->t", a, b) + np.einsum("ti,ti->t", b, c) + np.einsum("ti,ti->t", c, a)
    areas = 2 * np.arctan2(volume, dots)
    weights = np.zeros(len(vertices))
    np.add.at(weights, corners, (areas / 3)[:, None])
    # Solid angle of a vertex' share sqrt(3)/density^2 of its facet, whole also at an octant's edge.
    cell = density / length**3
    return Points(vertices, weights / weights.sum(), _SPREAD * cell)


@cache
def basis_gradients(directions: bytes, ranks: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The basis (coefficient, orientation) and its two tangential derivatives (2, coefficient, orientation).

    By complex steps, exact for polynomials. Directions come as the bytes of a float64 array, to be cached.
    """
    n = np.frombuffer(directions).reshape(-1, 3)
    axes = frames(n)
    step = 1e-100
    values = np.stack(harmonics(n.T, ranks) if len(n) else [])
    slopes = [np.imag(np.stack(harmonics((n + 1j * step * axes[:, :, k]).T, ranks))) / step for k in (0, 1)]
    return np.broadcast_to(values, (len(values), len(n))).copy(), np.stack(slopes)
