r"""Heads on the features of a backbone: products of features, weighed by a network of invariants.

From the features x of all layers, two mixtures a and b of each kind are multiplied channel by channel,

$$z^{l}_{c} = \sum_{m_1 m_2} C^{l m}_{l_1 m_1 l_2 m_2}\, a^{l_1}_{c m_1} b^{l_2}_{c m_2},$$

for all degrees and for those parities whose product is the one wanted: 1o x 1o and 2e x 2e give the pseudovectors
(1e) of an antisymmetric part, which backbones for energies do not carry, and nothing odd can come out where even is asked
for. Scalars pass a small network, whose results are the even scalars of the property and weights for all other channels.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnmr.potential._irreps import Chunks, Irrep
from jaxnmr.potential._layers import EquivariantLinear
from jaxnmr.potential._paths import coupling
from jaxnmr.potential._property import HeadConfig

__all__ = ["Heads"]


class Heads(nn.Module):
    """All properties of one member of the committee, which share what they compute first.

    Args:
        irreps_in: the features, each kind once.
        outputs: irreps of each property.
        config: sizes.
        n_elements: how many elements the model knows.
    """

    irreps_in: tuple[Irrep, ...]
    outputs: tuple[tuple[Irrep, ...], ...]
    config: HeadConfig
    n_elements: int

    @nn.compact
    def __call__(self, chunks: Chunks, species: Int[Array, " atom"]) -> tuple[Chunks, ...]:
        """Components of each property for each atom, of the order of one."""
        dtype, width = chunks[0].dtype, self.config.width
        found = self._products(chunks)
        scalars = found[(0, 1)][:, 0, :]
        hidden = scalars
        for k in range(self.config.depth):
            hidden = nn.Dense(width, param_dtype=dtype, name=f"hidden_{k}")(hidden)
            if k == 0:
                start = nn.initializers.normal(0.3)
                hidden = hidden + self.param("elements", start, (self.n_elements, width), dtype)[species]
            hidden = jax.nn.silu(hidden)
        results = []
        for p, irreps in enumerate(self.outputs):
            parts = []
            for irrep in irreps:
                name = f"property_{p}_{irrep.name}"
                if irrep.kind == (0, 1):
                    curved = nn.Dense(irrep.channels, param_dtype=dtype, name=name)(hidden)
                    straight = nn.Dense(irrep.channels, use_bias=False, param_dtype=dtype, name=f"{name}_straight")(scalars)
                    parts.append((curved + straight)[:, None, :])
                else:
                    parts.append(self._weighed(found.get(irrep.kind), hidden, irrep, name))
            results.append(tuple(parts))
        return tuple(results)

    def _products(self, chunks: Chunks) -> dict[tuple[int, int], Float[Array, "atom _ _"]]:
        """Mixtures and their products, of the kinds that are asked for, and even scalars."""
        channels = self.config.channels
        reduced = tuple(Irrep(channels, *irrep.kind) for irrep in self.irreps_in)
        left = EquivariantLinear(self.irreps_in, reduced, name="left")(chunks)
        right = EquivariantLinear(self.irreps_in, reduced, name="right")(chunks)
        wanted = {irrep.kind for irreps in self.outputs for irrep in irreps} | {(0, 1)}
        found: dict[tuple[int, int], list[Array]] = {}
        for irrep, a in zip(reduced, left, strict=True):
            if irrep.kind in wanted:
                found.setdefault(irrep.kind, []).append(a)
        for one, a in zip(reduced, left, strict=True):
            for two, b in zip(reduced, right, strict=True):
                for degree in range(abs(one.degree - two.degree), one.degree + two.degree + 1):
                    kind = degree, one.parity * two.parity
                    if kind in wanted:
                        table = jnp.asarray(coupling(one.degree, two.degree, degree), a.dtype)
                        found.setdefault(kind, []).append(jnp.einsum("nxc,nyc,xyz->nzc", a, b, table))
        return {kind: jnp.concatenate(parts, axis=-1) for kind, parts in found.items()}

    def _weighed(
        self, vectors: Float[Array, "atom _ _"] | None, hidden: Float[Array, "atom width"], irrep: Irrep, name: str
    ) -> Float[Array, "atom _ _"]:
        """A sum over channels, with weights that the invariants decide."""
        if vectors is None:  # nothing of this kind can be made: exactly zero
            return jnp.zeros((hidden.shape[0], irrep.size, irrep.channels), hidden.dtype)
        n, dtype = vectors.shape[-1], vectors.dtype
        weights = nn.Dense(n * irrep.channels, param_dtype=dtype, name=name)(hidden).reshape(-1, n, irrep.channels)
        constant = self.param(f"{name}_straight", nn.initializers.normal(1.0), (n, irrep.channels), dtype)
        return jnp.einsum("nmc,nco->nmo", vectors, weights + constant[None]) * np.asarray(n**-0.5, dtype)
