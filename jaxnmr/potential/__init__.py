"""Networks of atoms: potentials and tensor models, foundation models and one's own, their files, and what they share."""

from jaxnmr.potential._architectures import add_architecture
from jaxnmr.potential._backbone import Backbone, BackboneConfig
from jaxnmr.potential._calculator import calculator
from jaxnmr.potential._card import ModelCard
from jaxnmr.potential._domain import NOVEL
from jaxnmr.potential._features import NodeFeatures
from jaxnmr.potential._file import load_potential, save_potential
from jaxnmr.potential._potential import Evaluation, Potential
from jaxnmr.potential._property import EFG, SHIELDING, HeadConfig, Property
from jaxnmr.potential._tensor_file import load_tensor_model, save_tensor_model
from jaxnmr.potential._tensor_model import Prediction, TensorModel
from jaxnmr.potential._tensor_network import Calibration, PropertyScale, TensorConfig
from jaxnmr.potential.nequip import NequipConfig

__all__ = [
    "EFG",
    "NOVEL",
    "SHIELDING",
    "Backbone",
    "BackboneConfig",
    "Calibration",
    "Evaluation",
    "HeadConfig",
    "ModelCard",
    "NequipConfig",
    "NodeFeatures",
    "Potential",
    "Prediction",
    "Property",
    "PropertyScale",
    "TensorConfig",
    "TensorModel",
    "add_architecture",
    "calculator",
    "load_potential",
    "load_tensor_model",
    "save_potential",
    "save_tensor_model",
]
