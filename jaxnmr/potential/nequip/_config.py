"""What defines a NequIP-class network, apart from its weights."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from jaxnmr.potential._backbone import Backbone, BackboneConfig
from jaxnmr.potential._irreps import Irrep, irreps_text, parse_irreps

__all__ = ["NequipConfig"]


class NequipConfig(BackboneConfig):
    """Sizes and choices of a NequIP-class network; unknown keys are refused.

    Args:
        architecture: the name by which model files know it.
        elements: atomic numbers that it knows, in the order of its weights.
        cutoff: Å.
        l_max: highest degree of the edges' harmonics.
        hidden_irreps: features between layers, "128x0e + 64x1o + 32x2e".
        n_layers: rounds of messages.
        n_basis: Bessel functions of the distance.
        radial_width: width of the radial network's hidden layers.
        radial_depth: their number.
        envelope_power: p of the cutoff's polynomial.
        average_neighbors: by whose root sums over neighbours are divided.
        element_skip: whether the connection around each layer has weights for each element.
        layer_norm: whether features are normalised after each layer.
        scalar_output: whether the last layer makes even scalars only, enough for an energy.
    """

    architecture: Literal["nequip"] = "nequip"  # pyright: ignore[reportIncompatibleVariableOverride]
    l_max: int = Field(default=3, ge=0, le=11)
    hidden_irreps: str = "128x0e+64x1o+32x2e+32x3o"
    n_layers: int = Field(default=4, ge=1)
    n_basis: int = Field(default=8, ge=1)
    radial_width: int = Field(default=64, ge=1)
    radial_depth: int = Field(default=2, ge=0)
    envelope_power: int = Field(default=6, ge=2)
    average_neighbors: float = Field(gt=0, allow_inf_nan=False)
    element_skip: bool = False
    layer_norm: bool = True
    scalar_output: bool = True

    @field_validator("hidden_irreps")
    @classmethod
    def _canonical(cls, text: str) -> str:
        irreps = parse_irreps(text)
        if not any(irrep.kind == (0, 1) for irrep in irreps):
            raise ValueError(f"{text!r} has no even scalars (0e), which carry the energy and the gates")
        return irreps_text(irreps)

    @property
    def hidden(self) -> tuple[Irrep, ...]:
        """Features between layers."""
        return parse_irreps(self.hidden_irreps)

    @property
    def outputs(self) -> tuple[tuple[Irrep, ...], ...]:
        """Features after each layer."""
        scalars = tuple(irrep for irrep in self.hidden if irrep.kind == (0, 1))
        return (self.hidden,) * (self.n_layers - 1) + (scalars if self.scalar_output else self.hidden,)

    def module(self) -> Backbone:
        """The network; see `BackboneConfig.module`."""
        from jaxnmr.potential.nequip._network import Nequip

        return Nequip(self)
