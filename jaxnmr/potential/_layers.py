"""Equivariant layers in flax: linear maps, normalisation, gates. Features are (atom, component, channel) chunks."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxnmr.potential._irreps import Chunks, Irrep, gated

__all__ = ["EquivariantLinear", "Gate", "RootMeanSquareNorm"]

# Root mean squares of the activations of a normally distributed number, by which they are divided to keep their size.
# Published weights were trained with e3nn's values in single precision, which stand here (exact: 0.596469, 0.627929).
_SILU, _TANH = 0.59645772, 0.62791967
_UNIT = nn.initializers.normal(1.0)


class EquivariantLinear(nn.Module):
    r"""Mixes the channels of each kind of irrep: $y_{mw} = \sum_u x_{mu} W_{uw} / \sqrt{n_u}$.

    Weights are of unit variance, as in e3nn ("element" normalisation). Kinds that do not come in are zero.

    Args:
        irreps_in: what comes in, each kind once.
        irreps_out: what goes out, each kind once.
        n_elements: with a number, each element has weights of its own, and `species` says which.
    """

    irreps_in: tuple[Irrep, ...]
    irreps_out: tuple[Irrep, ...]
    n_elements: int | None = None

    @nn.compact
    def __call__(self, chunks: Chunks, species: Int[Array, " atom"] | None = None) -> Chunks:
        """Mix."""
        given = {irrep.kind: (irrep, chunk) for irrep, chunk in zip(self.irreps_in, chunks, strict=True)}
        mixed = []
        for out in self.irreps_out:
            if out.kind not in given:
                shape = (*chunks[0].shape[:-2], out.size, out.channels)
                mixed.append(jnp.zeros(shape, chunks[0].dtype))
                continue
            irrep, chunk = given[out.kind]
            shape = (irrep.channels, out.channels)
            if self.n_elements is None:
                result = chunk @ self.param(out.name, _UNIT, shape, chunk.dtype)
            else:
                weights = self.param(out.name, _UNIT, (self.n_elements, *shape), chunk.dtype)
                result = jnp.einsum("nmu,nuw->nmw", chunk, weights[species])
            mixed.append(result * np.asarray(irrep.channels**-0.5, chunk.dtype))
        return tuple(mixed)


class RootMeanSquareNorm(nn.Module):
    r"""Divides an atom's features by a common length of them all, then scales each channel.

    $$N^2 = \frac1K \sum_{k} \frac{1}{(2l_k + 1)^2} \sum_{mc} x_{kmc}^2$$

    over K kinds of irreps: sums over channels, means over components, and once more divided by their number. Weights of
    Nequix were trained with this length, in which many channels count more than few. No mean is subtracted.

    Args:
        irreps: what comes in and goes out.
    """

    irreps: tuple[Irrep, ...]

    @nn.compact
    def __call__(self, chunks: Chunks) -> Chunks:
        """Normalise."""
        squares = [jnp.sum(chunk**2, axis=(-1, -2), keepdims=True) / chunk.shape[-2] ** 2 for chunk in chunks]
        scale = jax.lax.rsqrt(sum(squares) / len(chunks) + 1e-12)
        scaled = []
        for irrep, chunk in zip(self.irreps, chunks, strict=True):
            weights = self.param(irrep.name, nn.initializers.ones, (irrep.channels,), chunk.dtype)
            scaled.append(chunk * scale * weights[None, None, :])
        return tuple(scaled)


class Gate(nn.Module):
    """Activates scalars, and multiplies everything else by activated scalars of its own.

    Of even scalars, those that stay come first, then one gate for each channel of the other irreps, in their order.

    Args:
        irreps: what goes out; `gated` says what has to come in.
    """

    irreps: tuple[Irrep, ...]

    def __call__(self, chunks: Chunks) -> Chunks:
        """Activate."""
        kept = {irrep.kind: irrep.channels for irrep in self.irreps}
        incoming = {irrep.kind: chunk for irrep, chunk in zip(gated(self.irreps), chunks, strict=True)}
        even = incoming[(0, 1)]
        even = jax.nn.silu(even) / np.asarray(_SILU, even.dtype)
        start, result = kept.get((0, 1), 0), []
        for irrep in self.irreps:
            chunk = incoming[irrep.kind]
            if irrep.kind == (0, 1):
                result.append(even[..., : irrep.channels])
            elif irrep.degree == 0:
                result.append(jnp.tanh(chunk) / np.asarray(_TANH, chunk.dtype))
            else:
                result.append(chunk * even[..., start : start + irrep.channels])
                start += irrep.channels
        return tuple(result)
