"""First guesses for a path: straight, or with pair distances that change evenly."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.compiling import exact_products
from jaxnmr.dynamics._images import PERIODIC, nearest_image, wrapped
from jaxnmr.dynamics._optimisers import LBFGS, largest

__all__ = ["closest_pair", "idpp", "straight"]


def straight(start: Array, end: Array, images: int) -> Float[Array, "image atom dim"]:
    """Images on the line between the ends, ends included."""
    weight = jnp.linspace(0.0, 1.0, images, dtype=start.dtype)[:, None, None]
    return (1 - weight) * start[None] + weight * end[None]


def idpp(
    path: Any,
    cell: Any = None,
    *,
    fixed: Array | None = None,
    max_steps: int = 200,
    pbc: tuple[bool, bool, bool] = PERIODIC,
) -> Float[Array, "image atom 3"]:
    r"""A path whose images have, as nearly as can be, pair distances interpolated between those of the ends.

    Each inner image minimises $\sum_{i<j} d_{ij}^{-4}(d_{ij} - d_{ij}^\kappa)^2$, all of them side by side; atoms then
    pass around each other where a straight path would lead them through.

    Args:
        path: images to start from, Å, (image, atom, 3); ends stay.
        cell: Å; distances then go to the nearest image.
        fixed: 0 for coordinates that stay, else 1, (atom, 3).
        max_steps: of each image.
        pbc: along which vectors of the cell atoms repeat.

    References:
        Smidstrup, Pedersen, Stokbro, Jónsson, J. Chem. Phys. 140, 214106 (2014).
    """
    path = jnp.asarray(path)
    free = jnp.ones_like(path[0]) if fixed is None else fixed
    return _idpp(path, None if cell is None else jnp.asarray(cell, path.dtype), free, max_steps, pbc)


@eqx.filter_jit
@exact_products
def _idpp(path: Array, cell: Any, free: Array, max_steps: Any, pbc: tuple[bool, bool, bool]) -> Array:
    n, optimiser = path.shape[1], LBFGS(max_step=0.1, curvature=10.0)
    i, j = np.triu_indices(n, 1)

    def distances(r: Array) -> Array:
        apart = r[j] - r[i]
        if cell is not None:
            apart = wrapped(apart, cell, pbc)
        return jnp.sqrt(jnp.sum(apart**2, axis=-1) + 1e-12)

    targets = straight(distances(path[0])[:, None], distances(path[-1])[:, None], len(path))[1:-1, :, 0]

    def one(r: Array, target: Array) -> Array:
        def objective(r: Array) -> Array:
            d = distances(r)
            return jnp.sum((d - target) ** 2 / jnp.maximum(d, 0.1) ** 4)

        slope = lambda r: jax.grad(objective)(r) * free  # noqa: E731

        def step(carry: Any) -> Any:
            count, r, gradient, state = carry
            move = optimiser.step(state, gradient)
            new = slope(r + move)
            return count + 1, r + move, new, optimiser.learn(state, move, gradient, new - gradient, jnp.asarray(True))

        gradient = slope(r)
        carry = (0, r, gradient, optimiser.start(gradient))
        return jax.lax.while_loop(lambda c: (c[0] < max_steps) & (largest(c[2]) > 1e-3), step, carry)[1]

    return path.at[1:-1].set(jax.vmap(one)(path[1:-1], targets))


def closest_pair(path: Any, cell: Any = None, pbc: tuple[bool, bool, bool] = PERIODIC) -> tuple[float, int, int, int]:
    """Smallest distance between two atoms in any image, Å, with the image and the atoms."""
    r = np.asarray(path, np.float64)
    i, j = np.triu_indices(r.shape[1], 1)
    apart = r[:, j] - r[:, i]
    if cell is not None:
        apart = nearest_image(apart, np.asarray(cell, np.float64), pbc)
    d = np.linalg.norm(apart, axis=-1)
    image, pair = np.unravel_index(int(d.argmin()), d.shape)
    return float(d.min()), int(image), int(i[pair]), int(j[pair])
