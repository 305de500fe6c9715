r"""Messages from neighbours: products of features and harmonics, weighted by distance and summed, in blocks of atoms.

$$A_{i,p c m_3} = \sum_j w_{pc}(r_{ij}) \sum_{m_1 m_2} C_{m_1 m_2 m_3}\, x_{j,c m_1}\, Y_{l_2 m_2}(\hat r_{ij})$$

Three choices make it quick where e3nn's general product is not. Neighbours lie in rows, so the sum over j is part of a
matrix product and nothing is scattered. The Clebsch-Gordan sum, linear as it is, is done once an atom after the sum over j,
not once an edge. Blocks of a few atoms stay in the cache; their
messages are computed again for the gradient and never stored, so memory grows with the atoms only by features.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnmr.potential._irreps import Chunks, Irrep

__all__ = ["Path", "convolve", "coupling", "message_irreps", "message_paths"]

# Edges of a block: what a processor's cache holds, and what keeps an accelerator busy within its memory.
_BLOCK_ON_CPU, _BLOCK_ON_ACCELERATOR = 320, 1 << 17
# Edges whose neighbours' features are gathered at a time.
_GATHERED = 1 << 13


class Path(NamedTuple):
    """One product: which chunk of the features, which degree of harmonics, and what comes out."""

    source: int
    l2: int
    out: Irrep


def message_paths(irreps_in: tuple[Irrep, ...], l_max: int, irreps_out: tuple[Irrep, ...]) -> tuple[Path, ...]:
    """All products of features with harmonics up to l_max that give irreps which are wanted, sorted by what they give.

    The order is e3nn's: results by degree and parity, then by the features', then by the harmonics' degree. The
    columns of the radial network follow it.
    """
    wanted = {irrep.kind for irrep in irreps_out}
    paths = [
        Path(source, l2, Irrep(irrep.channels, l3, irrep.parity * (-1) ** l2))
        for source, irrep in enumerate(irreps_in)
        for l2 in range(l_max + 1)
        for l3 in range(abs(irrep.degree - l2), irrep.degree + l2 + 1)
        if (l3, irrep.parity * (-1) ** l2) in wanted
    ]
    return tuple(sorted(paths, key=lambda path: path.out.order))


def message_irreps(paths: tuple[Path, ...]) -> tuple[Irrep, ...]:
    """What the products give together, each kind once."""
    totals: dict[tuple[int, int], int] = {}
    for path in paths:
        totals[path.out.kind] = totals.get(path.out.kind, 0) + path.out.channels
    return tuple(Irrep(channels, *kind) for kind, channels in totals.items())


def convolve(
    chunks: Chunks,
    irreps: tuple[Irrep, ...],
    paths: tuple[Path, ...],
    neighbors: Int[Array, "atom neighbor"],
    harmonics: Float[Array, "atom neighbor harmonic"],
    radial: Float[Array, "atom neighbor basis"],
    weights: Callable[[Float[Array, "... basis"]], Float[Array, "... column"]],
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
    """
    features = jnp.concatenate([chunk.reshape(chunk.shape[0], -1) for chunk in chunks], axis=-1)
    n, width = neighbors.shape
    fits = _BLOCK_ON_CPU if jax.default_backend() == "cpu" else _BLOCK_ON_ACCELERATOR

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


@lru_cache
def coupling(l1: int, l2: int, l3: int) -> np.ndarray:
    """Real Clebsch-Gordan coefficients of e3nn's basis, (2l1 + 1, 2l2 + 1, 2l3 + 1), a component of unit variance each."""
    import e3nn_jax as e3nn

    return np.asarray(e3nn.clebsch_gordan(l1, l2, l3), dtype=np.float64) * np.sqrt(2 * l3 + 1)
