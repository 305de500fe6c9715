"""The seam between e3nn's axes and Cartesian tensors: the only place where they meet.

e3nn's real harmonics have y as their polar axis: for degree 1 the components m = -1, 0, 1 are x, y, z, where
`jaxnmr.tensors` (as all of magnetic resonance) has y, z, x. So e3nn's components of a tensor are those of
`jaxnmr.tensors` after the axes x, y, z have taken the parts of y, z, x: a rotation, so that pseudovectors come along.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.potential._irreps import Chunks
from jaxnmr.potential._property import Property
from jaxnmr.tensors import Irreps, cartesian_to_irreps, irreps_to_cartesian

__all__ = ["components", "values"]

# Which axis of NMR each of e3nn's x, y, z is, and back.
_TO_NMR, _TO_E3NN = np.array([1, 2, 0]), np.array([2, 0, 1])


def values(prop: Property, chunks: Chunks) -> Float[Array, ...]:
    """Values of a property, (atom, *shape), from their components in e3nn's basis.

    Args:
        prop: the property.
        chunks: of each of its kinds (atom, 2l + 1, channel).
    """
    if prop.shape == ():
        return chunks[0][:, 0, 0]
    if prop.shape == (3, 3):
        given = {irrep.degree: chunk[..., 0] for irrep, chunk in zip(prop.kinds, chunks, strict=True)}
        count, dtype = chunks[0].shape[0], chunks[0].dtype
        parts = [given.get(degree, jnp.zeros((count, 2 * degree + 1), dtype)) for degree in range(3)]
        tensor = irreps_to_cartesian(Irreps(*parts))
        return tensor[..., _TO_NMR, :][..., _TO_NMR]
    # e3nn's layout: channels outside of components.
    flat = [jnp.swapaxes(chunk, -1, -2).reshape(chunk.shape[0], -1) for chunk in chunks]
    return jnp.concatenate(flat, axis=-1)


def components(prop: Property, given: Float[Array | np.ndarray, ...]) -> Chunks:
    """The inverse of `values`: for each kind (atom, 2l + 1, channel). Parts that the property has not are dropped."""
    array = jnp.asarray(given)
    if prop.shape == ():
        return (array[:, None, None],)
    if prop.shape == (3, 3):
        parts = cartesian_to_irreps(array[..., _TO_E3NN, :][..., _TO_E3NN])
        return tuple(parts[irrep.degree][..., None] for irrep in prop.kinds)
    ends = np.cumsum([irrep.size * irrep.channels for irrep in prop.kinds])[:-1]
    pieces = jnp.split(array, ends, axis=-1)
    return tuple(
        jnp.swapaxes(piece.reshape(array.shape[0], irrep.channels, irrep.size), -1, -2)
        for irrep, piece in zip(prop.kinds, pieces, strict=True)
    )
