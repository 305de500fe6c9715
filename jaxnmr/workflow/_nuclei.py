"""Tensors of the observed nuclei in every state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxnmr.isotopes import isotope
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
    names = tuple(states[0].names[k] for k in nuclei)
    return TensorsOfStates(tuple(int(k) for k in nuclei), names, shielding, efg, errors[0], errors[1])
