"""What a model file says about itself, beside its numbers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["ModelCard"]


class ModelCard(BaseModel):
    """Where a model comes from and what may be done with it; every entry is plain text.

    Args:
        name: a short name.
        description: what it was made for, and what it is not good for.
        data: what it was trained on.
        data_licence: licence of these data.
        licence: licence of the weights.
        reference: what to cite.
        training: how it was trained: the settings, as text (JSON where a program wrote them).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = ""
    description: str = ""
    data: str = ""
    data_licence: str = ""
    licence: str = ""
    reference: str = ""
    training: str = ""
