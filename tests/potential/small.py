"""A network that compiles in seconds, with weights from a fixed seed, and structures that it labels."""

import jax
import numpy as np

from jaxnmr.potential import (
    EFG,
    SHIELDING,
    BackboneConfig,
    Calibration,
    HeadConfig,
    ModelCard,
    NequipConfig,
    Potential,
    PropertyScale,
    TensorConfig,
    TensorModel,
)
from jaxnmr.potential._model import initial_backbone, model_shapes
from jaxnmr.potential._tensor_network import initial_heads, unit_standard
from jaxnmr.potential._weights import EnergyScale, Weights, unflatten
from jaxnmr.potential.training import Sample
from jaxnmr.structure import Structure

CONFIG = NequipConfig(
    elements=(1, 8, 14),
    cutoff=4.0,
    l_max=1,
    hidden_irreps="6x0e+4x1o",
    n_layers=2,
    radial_width=8,
    radial_depth=1,
    average_neighbors=20.0,
)


def small_potential(config: BackboneConfig = CONFIG, dtype=None):
    """A potential with random weights of the usual size."""
    rng = np.random.default_rng(0)
    # The radial network's matrices have no factor of their own, so theirs is here.
    size = {name: shape[0] ** -0.5 if "radial" in name else 1.0 for name, shape in model_shapes(config).items()}
    flat = {name: size[name] * rng.normal(size=shape) for name, shape in model_shapes(config).items()}
    references = -np.arange(1.0, len(config.elements) + 1)
    scale = EnergyScale(references, np.float64(0.8), np.float64(-4.3))
    return Potential.from_weights(Weights(config, unflatten(flat), scale, ModelCard(name="small")), dtype)


TENSORS = NequipConfig(**CONFIG.model_dump() | {"hidden_irreps": "6x0e+4x1o+3x2e", "l_max": 2})


def small_tensor_model(properties=(SHIELDING, EFG), network: BackboneConfig = TENSORS, members=3, seed=0, dtype=None):
    """A tensor model with random weights, of ordinary means and sizes."""
    config = TensorConfig(
        network=network, properties=properties, heads=HeadConfig(channels=4, width=8, depth=1, members=members)
    )
    rng = np.random.default_rng(seed)
    params = {
        "backbone": initial_backbone(network, jax.random.key(seed)),
        "standard": unit_standard(network),
        "heads": initial_heads(config, jax.random.key(seed)),
    }
    for name, standard in params["standard"].items():  # features of random weights are small, but for the scalars
        standard["size"] = standard["size"] * (1.0 if name == "0e" else 0.02)
    n, scales = len(network.elements), []
    for prop in properties:
        even = sum(irrep.channels for irrep in prop.kinds if irrep.kind == (0, 1))
        mean, scale = 100 * rng.normal(size=(n, even)), rng.uniform(5, 20, size=(n, len(prop.kinds)))
        scales.append(PropertyScale(mean, scale, np.full(n, 10.0)))
    calibrations = [Calibration(np.asarray(1.5), np.asarray(0.01)) for _ in properties]
    return TensorModel.from_parts(config, params, scales, calibrations, ModelCard(name="small"), dtype=dtype)


CELL = np.array([[4.1, 0.0, 0.0], [-0.9, 3.9, 0.0], [0.4, 0.7, 4.4]])


def crystals(count, seed=0):
    """Four atoms in a small oblique cell, each time a little elsewhere."""
    rng = np.random.default_rng(seed)
    grid = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    return [Structure(["Si", "O", "O", "H"], (grid + 0.03 * rng.normal(size=(4, 3))) @ CELL, CELL) for _ in range(count)]


def labelled(potential, structures):
    """Samples with a potential's energies, forces and stresses."""
    samples = []
    for structure in structures:
        result = potential.energy_forces_stress(structure)
        stress = np.full((3, 3), np.nan) if result.stress is None else result.stress
        samples.append(Sample(structure, result.energy, result.forces, stress, (), "made"))
    return samples
