r"""Messages from neighbours: products of features and harmonics, weighted by distance and summed, in blocks of atoms.

$$A_{i,p c m_3} = \sum_j w_{pc}(r_{ij}) \sum_{m_1 m_2} C_{m_1 m_2 m_3}\, x_{j,c m_1}\, Y_{l_2 m_2}(\hat r_{ij})$$

Three choices make it quick where e3nn's general product is not. Neighbours lie in rows, so the sum over j is part of a
matrix product and nothing is scattered. The Clebsch-Gordan sum, linear as it is, is done once an atom after the sum over j,
not once an edge. Blocks of a few atoms stay in the cache; their
messages are computed again for the gradient and never stored, so memory grows with the atoms only by features.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnmr.potential._cuequivariance import fused_messages
from jaxnmr.potential._irreps import Chunks, Irrep
from jaxnmr.potential._paths import Path, Products, coupling

__all__ = ["convolve"]

# Edges of a block: what a processor's cache holds, and what keeps an accelerator busy within its memory.
_BLOCK_ON_CPU, _BLOCK_ON_ACCELERATOR = 320, 1 << 17
# Edges whose neighbours' features are gathered at a time.
_GATHERED = 1 << 13


def convolve(
    chunks: Chunks,
    irreps: tuple[Irrep, ...],
    paths: tuple[Path, ...],
    neighbors: Int[Array, "atom neighbor"],
    harmonics: Float[Array, "atom neighbor harmonic"],
    radial: Float[Array, "atom neighbor basis"],
    weights: Callable[[Float[Array, "... basis"]], Float[Array, "... column"]],
    products: Products = "rows",
) -> Chunks:
    """The sum over neighbours, in `message_irreps(paths)`; linear in memory, differentiable twice in both modes.

    Args:
        chunks: features of all atoms.
        irreps: what they are.
        paths: which products; see `message_paths`.
        neighbors: whom each atom hears; out of range where there is none.
        harmonics: real harmonics of the edges, all degrees one after the other.
        radial: functions of the edges' lengths; zero where there is no neighbour.
        weights: from these to a weight for each channel of each path; zero for zero.
        products: by whom: "rows", as above, or "cuequivariance", NVIDIA's kernels.

    Raises:
        ImportError: "cuequivariance" is asked for, and not installed.
    """
    features = jnp.concatenate([chunk.reshape(chunk.shape[0], -1) for chunk in chunks], axis=-1)
    n, width = neighbors.shape
    fits = _BLOCK_ON_CPU if jax.default_backend() == "cpu" else _BLOCK_ON_ACCELERATOR

    if products == "cuequivariance":

        def fused(region: tuple[Array, ...]) -> tuple[Array, ...]:
            neighbors, harmonics, radial = region
            return (fused_messages(features, irreps, paths, neighbors, harmonics, weights(radial)),)

        return _sorted(_by_blocks(fused, (neighbors, harmonics, radial), max(1, fits // width))[0], paths)

    def from_block(block: tuple[Array, ...]) -> tuple[Array, ...]:
        heard, harmonics, radial = block
        return _products(heard, irreps, paths, harmonics, weights(radial))

    def from_region(region: tuple[Array, ...]) -> tuple[Array, ...]:
        neighbors, harmonics, radial = region
        heard = features.at[neighbors].get(mode="clip")
        return _by_blocks(from_block, (heard, harmonics, radial), max(1, fits // width))

    # Regions grow with the whole, for the gradient of each adds up an array of all features.
    return _by_blocks(from_region, (neighbors, harmonics, radial), max(1, _GATHERED // width, n // 32, fits // width))


def _by_blocks(
    function: Callable[[tuple[Array, ...]], tuple[Array, ...]], arrays: tuple[Array, ...], size: int
) -> tuple[Array, ...]:
    """A function of rows, applied to so many rows at a time, and again in the gradient instead of keeping its insides."""
    n = arrays[0].shape[0]
    if n <= size:
        return jax.checkpoint(function)(arrays)
    blocks = -(-n // size)
    size = -(-n // blocks)
    cut = tuple(
        jnp.pad(array, [(0, blocks * size - n)] + [(0, 0)] * (array.ndim - 1)).reshape(blocks, size, *array.shape[1:])
        for array in arrays
    )
    results = jax.lax.map(jax.checkpoint(function), cut)
    return tuple(result.reshape(blocks * size, *result.shape[2:])[:n] for result in results)


def _sorted(messages: Float[Array, "atom message"], paths: tuple[Path, ...]) -> Chunks:
    """Messages path after path as chunks, each kind once."""
    sizes, found = [path.out.size * path.out.channels for path in paths], {}
    for path, message in zip(paths, jnp.split(messages, np.cumsum(sizes)[:-1], axis=-1), strict=True):
        found.setdefault(path.out.kind, []).append(message.reshape(-1, path.out.size, path.out.channels))
    return tuple(jnp.concatenate(parts, axis=-1) for parts in found.values())


def _products(
    heard: Float[Array, "atom neighbor feature"],
    irreps: tuple[Irrep, ...],
    paths: tuple[Path, ...],
    harmonics: Float[Array, "atom neighbor harmonic"],
    weights: Float[Array, "atom neighbor column"],
) -> Chunks:
    """All paths of one block of atoms."""
    n, width, _ = heard.shape
    # Split at once: the gradient of many slices would be a sum of many padded arrays.
    sizes = [irrep.size * irrep.channels for irrep in irreps]
    chunks = [
        chunk.reshape(n, width, irrep.size, irrep.channels)
        for chunk, irrep in zip(jnp.split(heard, np.cumsum(sizes)[:-1], axis=-1), irreps, strict=True)
    ]
    l_max = round(harmonics.shape[-1] ** 0.5) - 1
    spheres = jnp.split(harmonics, [(degree + 1) ** 2 for degree in range(l_max)], axis=-1)
    columns = jnp.split(weights, np.cumsum([path.out.channels for path in paths])[:-1], axis=-1)
    sums: dict[tuple[int, int], list[Array]] = {}
    for path, weight in zip(paths, columns, strict=True):
        irrep, chunk, sphere = irreps[path.source], chunks[path.source], spheres[path.l2]
        if path.out.degree == 0:  # a scalar product, before anything grows
            dotted = jnp.sum(chunk * sphere[..., None], axis=2) * np.asarray(irrep.size**-0.5, heard.dtype)
            message = jnp.sum(weight * dotted, axis=1)[:, None, :]
        else:
            table = jnp.asarray(coupling(irrep.degree, path.l2, path.out.degree), heard.dtype)
            weighted = (weight[:, :, None, :] * chunk).reshape(n, width, -1)
            outer = jnp.einsum("nky,nkx->nyx", sphere, weighted).reshape(n, -1, irrep.size, irrep.channels)
            message = jnp.einsum("nyxc,xyz->nzc", outer, table)
        sums.setdefault(path.out.kind, []).append(message)
    return tuple(jnp.concatenate(messages, axis=-1) for messages in sums.values())
