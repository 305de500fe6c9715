"""Tensors of the observed nuclei in every state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxnmr.errors import warn
from jaxnmr.isotopes import isotope
from jaxnmr.potential import NOVEL
from jaxnmr.spins import selected
from jaxnmr.structure import Structure
from jaxnmr.workflow._config import RunConfig
from jaxnmr.workflow._records import TensorsOfStates

__all__ = ["tensors_in"]


def tensors_in(model: Any, states: Sequence[Structure], config: RunConfig) -> TensorsOfStates:
    """Tensors of the observed atoms in each state.

    Args:
        model: with `label(structure)`, and `uncertainty(structure, name)` where it has one.
        states: the first minimum, then those of the events.
        config: nucleus and atoms.

    Raises:
        ValueError: no such nucleus, an atom that is not there, tensors that are missing.
    """
    nucleus = isotope(config.experiment.isotope)
    labelled = [model.label(each) for each in states]
    nuclei = selected(labelled[0], nucleus, config.structure.atoms)
    shape = (len(states), len(nuclei))
    efg, errors = np.zeros((*shape, 3, 3)), []
    shielding = np.array([np.asarray(each.shielding)[nuclei] for each in labelled])
    if nucleus.is_quadrupolar:
        efg = np.array([np.asarray(each.efg)[nuclei] for each in labelled])
    for name in ("shielding", "efg"):
        told = hasattr(model, "uncertainty") and name in [prop.name for prop in model.properties]
        rows = [np.asarray(model.uncertainty(each, name))[nuclei] for each in states] if told else np.full(shape, np.nan)
        errors.append(np.array(rows, np.float64))
    if not (np.isfinite(shielding).all() and np.isfinite(efg).all()):
        raise ValueError(
            f"tensors.file: has no tensor for some {nucleus.symbol} in some minimum; name atoms that have them."
        )
    if getattr(model, "domain", None) is not None:
        _warn_of_far(np.array([np.asarray(model.novelty(each))[nuclei] for each in states]), nucleus.symbol)
    names = tuple(states[0].names[k] for k in nuclei)
    parts = _parts(model, states, np.asarray(nuclei))
    return TensorsOfStates(tuple(int(k) for k in nuclei), names, shielding, efg, errors[0], errors[1], parts)


def _warn_of_far(novelty: np.ndarray, symbol: str) -> None:
    """Nuclei whose surroundings the tensor model has learnt nothing like."""
    far = np.nanmax(np.where(np.isnan(novelty), -np.inf, novelty), axis=0)
    count = int((far > NOVEL).sum())
    if count:
        warn(
            f"tensors.file: the surroundings of {count} of {far.size} {symbol} are up to {far.max():.2g} times as far from "
            "those that the model has learnt as these reach; their tensors are extrapolated. Train it on such structures."
        )


def _parts(model: Any, states: Sequence[Structure], nuclei: np.ndarray) -> np.ndarray:
    """How the members of a committee part, by the parts of the shielding; ones where there is no committee.

    An isotropic part that is less certain than the others moves lines more than the size of the error says.
    """
    if not hasattr(model, "members"):
        return np.ones(3)
    each = np.array([np.asarray(model.members(state, "shielding"))[:, nuclei] for state in states])
    apart = each - each.mean(axis=1, keepdims=True)
    even = (apart + np.swapaxes(apart, -1, -2)) / 2
    isotropic = np.trace(apart, axis1=-2, axis2=-1)[..., None, None] / 3 * np.eye(3)
    sums = [np.square(part).sum(axis=(-1, -2)).mean() for part in (isotropic, apart - even, even - isotropic)]
    total = sum(sums)
    # Of nine numbers one is isotropic, three are antisymmetric, five symmetric and traceless.
    return np.sqrt(9 * np.array(sums) / (np.array([1, 3, 5]) * total)) if total > 0 else np.ones(3)
