"""What an architecture hands to heads: features of each atom that turn with the structure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import equinox as eqx
import jax.numpy as jnp

from jaxnmr.errors import missing_extra
from jaxnmr.potential._irreps import Chunks

if TYPE_CHECKING:
    import e3nn_jax as e3nn

__all__ = ["NodeFeatures"]


class NodeFeatures(eqx.Module):
    """Features of each atom, sorted by how they transform, in e3nn's basis (real harmonics, y the polar axis).

    Args:
        chunks: for each irrep the features, (atom, 2l + 1, channel): channels last, so that linear layers and
            products run along memory.
        irreps: what they are, in e3nn's words: "128x0e+64x1o".
    """

    chunks: Chunks
    irreps: str = eqx.field(static=True)

    def to_e3nn(self) -> e3nn.IrrepsArray:
        """The same in e3nn's layout, (atom, dimension), each irrep's channels outside of its components."""
        try:
            import e3nn_jax as e3nn
        except ImportError:
            raise missing_extra("e3nn-jax", "atoms") from None
        flat = [jnp.swapaxes(chunk, -1, -2).reshape(*chunk.shape[:-2], -1) for chunk in self.chunks]
        return e3nn.IrrepsArray(e3nn.Irreps(self.irreps), jnp.concatenate(flat, axis=-1))
