"""What every architecture gives: a configuration that says which features come out, and a flax module that makes them."""

from __future__ import annotations

from typing import Protocol, get_args, runtime_checkable

from jaxtyping import Array, Float, Int
from pydantic import BaseModel, ConfigDict, Field, field_validator

from jaxnmr.potential._features import NodeFeatures
from jaxnmr.potential._irreps import Irrep
from jaxnmr.potential._paths import Products

__all__ = ["Backbone", "BackboneConfig"]


@runtime_checkable
class Backbone(Protocol):
    """What every architecture's flax module does: edges in, features of each atom out.

    Heads (energy, shielding, field gradients) are built on these features alone, so that any head goes with any
    architecture.
    """

    def __call__(
        self,
        vectors: Float[Array, "atom neighbor 3"],
        neighbors: Int[Array, "atom neighbor"],
        species: Int[Array, " atom"],
    ) -> tuple[NodeFeatures, ...]:
        """Features after each layer, the last one's last, with the irreps that `BackboneConfig.outputs` promises.

        Args:
            vectors: from each atom to its neighbours, Å; longer than the cutoff where there is none.
            neighbors: index of each neighbour; out of range where there is none.
            species: each atom's place among the elements that the model knows.
        """
        ...


class BackboneConfig(BaseModel):
    """What all architectures have in common; each has a subclass with its own sizes. Unknown keys are refused.

    A subclass sets `architecture` to a literal of its own name, and says what comes out (`outputs`) and who makes it
    (`module`). `jaxnmr.potential.add_architecture` makes it known to model files.

    Args:
        architecture: the name by which model files know it.
        elements: atomic numbers that it knows, in the order of its weights.
        cutoff: how far an atom sees within one layer, Å.
        products: who computes the products of features and harmonics: "rows", this package, on any machine, or
            "cuequivariance", NVIDIA's kernels. A choice for a run: results agree to rounding, and files do not keep it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: str
    elements: tuple[int, ...]
    cutoff: float = Field(gt=0, allow_inf_nan=False)
    products: Products = Field(default="rows", exclude=True)

    @field_validator("elements")
    @classmethod
    def _known(cls, elements: tuple[int, ...]) -> tuple[int, ...]:
        if not elements or len(set(elements)) != len(elements) or not all(1 <= z <= 118 for z in elements):
            raise ValueError("give atomic numbers between 1 and 118, each once")
        return elements

    def with_products(self, products: str) -> BackboneConfig:
        """The same with another choice of `products`.

        Raises:
            ValueError: none of those that there are.
        """
        if products not in get_args(Products):
            raise ValueError(f"products: got {products!r}; give one of {', '.join(map(repr, get_args(Products)))}.")
        return self.model_copy(update={"products": products})

    @property
    def outputs(self) -> tuple[tuple[Irrep, ...], ...]:
        """Features after each layer, each kind once in each; the last layer has even scalars, which carry the energy."""
        raise NotImplementedError

    def module(self) -> Backbone:
        """The flax module (`flax.linen.Module`) that makes these features; flax is imported here and not before."""
        raise NotImplementedError
