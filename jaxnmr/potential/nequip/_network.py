"""The network in flax's linen: its parameters are a plain pytree, which jit, optimisers and model files take as it is."""

from __future__ import annotations

from itertools import pairwise

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnmr.potential._convolution import convolve
from jaxnmr.potential._edges import bessel_basis, envelope, harmonics, lengths
from jaxnmr.potential._features import NodeFeatures
from jaxnmr.potential._irreps import Chunks, Irrep, gated, irreps_text
from jaxnmr.potential._layers import EquivariantLinear, Gate, RootMeanSquareNorm
from jaxnmr.potential._paths import message_irreps, message_paths
from jaxnmr.potential.nequip._config import NequipConfig

__all__ = ["Nequip"]


class Layer(nn.Module):
    """One round: messages weighted by distance, a linear map, a connection around both, normalisation, a gate."""

    config: NequipConfig
    irreps_in: tuple[Irrep, ...]
    irreps_out: tuple[Irrep, ...]

    @nn.compact
    def __call__(
        self,
        chunks: Chunks,
        species: Int[Array, " atom"],
        neighbors: Int[Array, "atom neighbor"],
        sphere: Float[Array, "atom neighbor harmonic"],
        radial: Float[Array, "atom neighbor basis"],
    ) -> Chunks:
        """Features after this round."""
        config, full = self.config, gated(self.irreps_out)
        paths = message_paths(self.irreps_in, config.l_max, full)
        sizes = [config.n_basis, *[config.radial_width] * config.radial_depth, sum(p.out.channels for p in paths)]
        matrices = []
        for k, shape in enumerate(pairwise(sizes)):
            # Hidden layers start with four times the variance, against the loss in each silu.
            start = nn.initializers.normal(((4.0 if k < config.radial_depth else 1.0) / shape[0]) ** 0.5)
            matrices.append(self.param(f"radial_{k}", start, shape, radial.dtype))

        def weights(basis: Float[Array, "... basis"]) -> Float[Array, "... column"]:
            # Without biases: no basis, no message.
            for matrix in matrices[:-1]:
                basis = jax.nn.silu(basis @ matrix)
            return basis @ matrices[-1]

        sent = EquivariantLinear(self.irreps_in, self.irreps_in, name="send")(chunks)
        heard = convolve(sent, self.irreps_in, paths, neighbors, sphere, radial, weights, config.products)
        heard = tuple(chunk * np.asarray(config.average_neighbors**-0.5, chunk.dtype) for chunk in heard)
        mixed = EquivariantLinear(message_irreps(paths), full, name="mix")(heard)
        n_elements = len(config.elements) if config.element_skip else None
        around = EquivariantLinear(self.irreps_in, full, n_elements, name="skip")(chunks, species)
        chunks = tuple(a + b for a, b in zip(mixed, around, strict=True))
        if config.layer_norm:
            chunks = RootMeanSquareNorm(full, name="norm")(chunks)
        return Gate(self.irreps_out)(chunks)


class Nequip(nn.Module):
    """Equivariant message passing with products of features and harmonics.

    References:
        S. Batzner, A. Musaelian, L. Sun, M. Geiger, J. P. Mailoa, M. Kornbluth, N. Molinari, T. E. Smidt and B. Kozinsky,
        Nat. Commun. 13, 2453 (2022).
    """

    config: NequipConfig

    @nn.compact
    def __call__(
        self,
        vectors: Float[Array, "atom neighbor 3"],
        neighbors: Int[Array, "atom neighbor"],
        species: Int[Array, " atom"],
    ) -> tuple[NodeFeatures, ...]:
        """Features after each layer; see `jaxnmr.potential.Backbone`."""
        config = self.config
        r = lengths(vectors)
        ends = envelope(r, config.cutoff, config.envelope_power)
        radial = bessel_basis(r, config.cutoff, config.n_basis) * ends[..., None]
        sphere = harmonics(vectors, r, config.l_max)
        irreps: tuple[Irrep, ...] = (Irrep(len(config.elements), 0, 1),)
        chunks: Chunks = (jax.nn.one_hot(species, len(config.elements), dtype=vectors.dtype)[:, None, :],)
        after = []
        for k, out in enumerate(config.outputs):
            chunks = Layer(config, irreps, out, name=f"layer_{k}")(chunks, species, neighbors, sphere, radial)
            irreps = out
            after.append(NodeFeatures(chunks, irreps_text(irreps)))
        return tuple(after)
