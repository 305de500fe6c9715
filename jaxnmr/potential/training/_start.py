"""Models to start training from: anew, or on what another model has learnt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxnmr.potential._backbone import BackboneConfig
from jaxnmr.potential._card import ModelCard
from jaxnmr.potential._model import energy_channels, initial_backbone
from jaxnmr.potential._potential import Potential
from jaxnmr.potential._prepare import LEAST_DISTANCE
from jaxnmr.potential._property import HeadConfig, Property
from jaxnmr.potential._tensor_model import TensorModel
from jaxnmr.potential._tensor_network import PropertyScale, TensorConfig, initial_heads
from jaxnmr.potential._weights import EnergyScale, Weights
from jaxnmr.potential.training._frozen import every_feature, features, standard_of
from jaxnmr.potential.training._samples import Sample
from jaxnmr.potential.training._scales import composition, energy_scale, property_scale
from jaxnmr.structure import ELEMENTS, atomic_numbers, neighbor_pairs

__all__ = [
    "average_neighbors",
    "check_atoms",
    "elements_of",
    "keeps_heads",
    "new_potential",
    "new_tensor_model",
    "shifted_potential",
]

# Structures whose features tell the size of features where the backbone is trained along.
_FOR_STANDARD = 32


def elements_of(samples: Sequence[Sample]) -> tuple[int, ...]:
    """Atomic numbers of all elements that are there."""
    return tuple(sorted({int(z) for sample in samples for z in atomic_numbers(sample.structure)}))


def average_neighbors(samples: Sequence[Sample], cutoff: float) -> float:
    """Mean number of neighbours over the atoms of at most 50 structures."""
    some = samples[:: max(1, len(samples) // 50)]
    pairs = sum(neighbor_pairs(sample.structure, cutoff)[0].size for sample in some)
    return max(1.0, pairs / sum(len(sample.structure) for sample in some))


def new_potential(config: BackboneConfig, samples: Sequence[Sample], *, seed: int = 0) -> Potential:
    """A potential with random weights whose energy scale and references fit the labels.

    Args:
        config: sizes and elements.
        samples: what will be learnt from.
        seed: of the weights.

    Raises:
        ValueError: atoms that the configuration does not name, or that overlap.
    """
    check_atoms(config, samples)
    one, two = jax.random.split(jax.random.key(seed))
    channels = energy_channels(config)
    params = {"backbone": initial_backbone(config, one), "energy": {"0e": 0.1 * jax.random.normal(two, (channels, 1))}}
    return Potential.from_weights(Weights(config, params, energy_scale(config, samples), ModelCard()))


def shifted_potential(potential: Potential, samples: Sequence[Sample]) -> Potential:
    """A potential whose references are moved to the energies of the samples, for they often count from another zero.

    Args:
        potential: as it was trained elsewhere.
        samples: what will be learnt from.

    Raises:
        ValueError: atoms that the model does not know, or that overlap.
    """
    check_atoms(potential.config, samples)
    labelled = [sample for sample in samples if np.isfinite(sample.energy)]
    if not labelled:
        return potential
    differences = np.array([sample.energy - potential.energy(sample.structure) for sample in labelled])
    moved = np.linalg.lstsq(composition(potential.config, labelled), differences, rcond=1e-8)[0]
    scale = EnergyScale(np.asarray(potential.scale.references) + moved, potential.scale.scale, potential.scale.shift)
    return Potential(potential.config, potential.params, scale, potential.card)


def new_tensor_model(
    backbone: BackboneConfig | Potential | TensorModel,
    properties: Sequence[Property],
    samples: Sequence[Sample],
    *,
    heads: HeadConfig | None = None,
    seed: int = 0,
    cache: Path | None = None,
) -> TensorModel:
    """A tensor model on a new backbone or on that of another model, with random heads that are scaled to the labels.

    Heads that fit are not thrown away: of a tensor model with the same properties (in the same order) and sizes of heads,
    the heads, the standard of their features, their scales and calibrations are kept (see `keeps_heads`). Only elements of
    which it had no label are scaled to those that are there now. With other properties or sizes, heads begin anew.

    Args:
        backbone: sizes of a new one, or a model whose own is taken.
        properties: what is to be predicted, in the order of the samples' values.
        samples: what will be learnt from.
        heads: their sizes; unless given those of the tensor model whose properties these are, or the usual ones.
        seed: of the weights.
        cache: folder of features as `train` keeps them.

    Raises:
        ValueError: a property without any label, atoms that the model does not know, or that overlap.
    """
    if isinstance(backbone, BackboneConfig):
        network, key = backbone, jax.random.key(seed)
        weights = initial_backbone(network, jax.random.fold_in(key, 1))
    else:
        network = backbone.config if isinstance(backbone, Potential) else backbone.config.network
        weights = backbone.params["backbone"]
    kept = isinstance(backbone, TensorModel) and keeps_heads(backbone, properties, heads)
    if heads is None:
        heads = backbone.config.heads if isinstance(backbone, TensorModel) and kept else HeadConfig()
    config = TensorConfig(network=network, properties=tuple(properties), heads=heads)
    check_atoms(network, samples)
    scales = [property_scale(network, prop, place, samples) for place, prop in enumerate(properties)]
    if isinstance(backbone, TensorModel) and kept:
        scales = [_joined(old, new) for old, new in zip(backbone.scales, scales, strict=True)]
        return TensorModel.from_parts(
            config, backbone.params, scales, backbone.calibrations, backbone.card, domain=backbone.domain
        )
    params = {
        "backbone": jax.tree.map(jnp.asarray, weights),
        "heads": initial_heads(config, jax.random.key(seed)),
    }
    some = samples[:: max(1, len(samples) // _FOR_STANDARD)]
    if all(prop.pooling == "none" for prop in properties):
        seen = features(config, params["backbone"], some, cache)[0]
    else:  # all atoms have their part in a property of the structure
        seen = every_feature(config, params["backbone"], some)
    params["standard"] = standard_of(config, seen)
    # What is built on another model stays under its licence and is cited with it.
    card = None if isinstance(backbone, BackboneConfig) else backbone.card
    return TensorModel.from_parts(config, params, scales, card=card)


def keeps_heads(start: TensorModel, properties: Sequence[Property], heads: HeadConfig | None = None) -> bool:
    """Whether `new_tensor_model` goes on with the heads of a tensor model, or begins with new ones.

    Args:
        start: the tensor model.
        properties: what is to be predicted.
        heads: sizes of the heads; None for those of the model.
    """
    return tuple(properties) == start.properties and heads in (None, start.config.heads)


def _joined(old: PropertyScale, new: PropertyScale) -> PropertyScale:
    """Scales that heads have learnt with, and those of elements which are new to them."""
    known = np.asarray(old.count) > 0
    both = [np.where(known.reshape(-1, *(1,) * (np.ndim(a) - 1)), a, b) for a, b in zip(old, new, strict=True)]
    return PropertyScale(*both)


def check_atoms(config: BackboneConfig, samples: Sequence[Sample]) -> None:
    """Refuses structures that a model cannot take, before hours have gone into others.

    Args:
        config: whose elements and cutoff count.
        samples: all that the model will meet: to learn from, to choose by, to be tested on.

    Raises:
        ValueError: an element that the model does not know, or atoms nearer than 0.3 Å, with the frame's name.
    """
    for sample in samples:
        strange = sorted(set(atomic_numbers(sample.structure).tolist()) - set(config.elements))
        if strange:
            raise ValueError(
                f"{sample.source}: has {', '.join(ELEMENTS[z - 1] for z in strange)}, which the model does not know; "
                "drop the frame, or train a new model on frames with that element."
            )
        distances = neighbor_pairs(sample.structure, config.cutoff)[3]
        if distances.size and distances.min() < LEAST_DISTANCE:
            raise ValueError(f"{sample.source}: two atoms are {distances.min():.2g} Å apart; correct the frame, or drop it.")
