"""Neural-network potentials: foundation models and one's own, their files, and what of them heads share."""

from jaxnmr.potential._calculator import calculator
from jaxnmr.potential._card import ModelCard
from jaxnmr.potential._features import Backbone, NodeFeatures
from jaxnmr.potential._file import load_potential, save_potential
from jaxnmr.potential._potential import Evaluation, Potential
from jaxnmr.potential.nequip import NequipConfig

__all__ = [
    "Backbone",
    "Evaluation",
    "ModelCard",
    "NequipConfig",
    "NodeFeatures",
    "Potential",
    "calculator",
    "load_potential",
    "save_potential",
]
