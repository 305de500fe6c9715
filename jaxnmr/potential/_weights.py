"""A model as files keep it: configuration, parameters in NumPy, energy scale, card."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from jaxnmr.potential._card import ModelCard

__all__ = ["EnergyScale", "Weights", "flatten", "unflatten"]


class EnergyScale(NamedTuple):
    """From the network's number e for an atom to its energy: scale e + shift + reference of its element, eV."""

    references: np.ndarray
    scale: np.ndarray | np.float64
    shift: np.ndarray | np.float64


class Weights(NamedTuple):
    """All that a potential is made of, before it is one; parameters are nested by names, as flax keeps them."""

    config: Any
    params: dict
    scale: EnergyScale
    card: ModelCard


def flatten(tree: dict, prefix: str = "") -> dict[str, np.ndarray]:
    """Nested parameters as one level, "backbone/layer_0/mix/0e"."""
    flat: dict[str, np.ndarray] = {}
    for name, value in tree.items():
        path = f"{prefix}/{name}" if prefix else name
        if isinstance(value, dict):
            flat |= flatten(value, path)
        else:
            flat[path] = np.asarray(value)
    return flat


def unflatten(flat: dict[str, np.ndarray]) -> dict:
    """The inverse of `flatten`."""
    tree: dict = {}
    for path, value in flat.items():
        *parents, name = path.split("/")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[name] = value
    return tree
