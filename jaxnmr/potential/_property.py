"""What a head predicts: a name, how it turns with the atoms, its unit; and how large a head is."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from jaxnmr.potential._irreps import Irrep, irreps_text, parse_irreps

__all__ = ["EFG", "SHIELDING", "HeadConfig", "Property"]

_TENSOR = {(0, 1), (1, 1), (2, 1)}


class Property(BaseModel):
    """One property of each atom or of the whole structure, told by its irreps: all that a head needs to know.

    `Property(name="polarisability", irreps="0e+2e", unit="A^3", pooling="sum")` is a new head. Values are numbers for
    "0e", vectors (x, y, z) for "1o", Cartesian tensors (3, 3) for 2e with or without 0e and 1e, and the components of
    e3nn's real basis, one after the other, for anything else.

    Args:
        name: a word, by which files and methods call it.
        irreps: "0e+1e+2e"; parity is exact, so that an odd kind vanishes where there is a centre of inversion.
        unit: of the values, for people to read.
        pooling: "none" for a value of each atom; "sum" or "mean" over atoms for one of the structure.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    irreps: str
    unit: str = ""
    pooling: Literal["none", "sum", "mean"] = "none"

    @field_validator("name")
    @classmethod
    def _word(cls, name: str) -> str:
        if not name.isidentifier():
            raise ValueError(f"{name!r} is no word of letters, digits and _")
        return name

    @field_validator("irreps")
    @classmethod
    def _canonical(cls, text: str) -> str:
        irreps = parse_irreps(text)
        if not irreps:
            raise ValueError(f"{text!r} is nothing; give irreps such as 0e+2e")
        return irreps_text(irreps)

    @property
    def kinds(self) -> tuple[Irrep, ...]:
        """Its irreps as numbers."""
        return parse_irreps(self.irreps)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one value."""
        kinds = {irrep.kind for irrep in self.kinds}
        single = all(irrep.channels == 1 for irrep in self.kinds)
        if single and kinds == {(0, 1)}:
            return ()
        if single and kinds == {(1, -1)}:
            return (3,)
        if single and (2, 1) in kinds and kinds <= _TENSOR:
            return (3, 3)
        return (sum(irrep.size * irrep.channels for irrep in self.kinds),)


SHIELDING = Property(name="shielding", irreps="0e+1e+2e", unit="ppm")
EFG = Property(name="efg", irreps="2e", unit="a.u.")


class HeadConfig(BaseModel):
    """Sizes of the heads and of their committee.

    Args:
        channels: of each kind of irrep that enter products.
        width: of the network of invariants.
        depth: its hidden layers.
        members: heads that are trained side by side from different starts; their spread tells the uncertainty.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: int = Field(default=32, ge=1)
    width: int = Field(default=64, ge=1)
    depth: int = Field(default=2, ge=1)
    members: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _bounded(self) -> HeadConfig:
        if self.members > 256:
            raise ValueError("a committee has at most 256 members")
        return self
