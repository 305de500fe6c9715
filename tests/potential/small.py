"""A network that compiles in seconds, with weights from a fixed seed."""

import numpy as np

from jaxnmr.potential import ModelCard, NequipConfig, Potential
from jaxnmr.potential._model import _shapes
from jaxnmr.potential._weights import EnergyScale, Weights, unflatten

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


def small_potential(config=CONFIG, dtype=None):
    """A potential with random weights of the usual size."""
    rng = np.random.default_rng(0)
    # The radial network's matrices have no factor of their own, so theirs is here.
    size = {name: shape[0] ** -0.5 if "radial" in name else 1.0 for name, shape in _shapes(config).items()}
    flat = {name: size[name] * rng.normal(size=shape) for name, shape in _shapes(config).items()}
    references = -np.arange(1.0, len(config.elements) + 1)
    scale = EnergyScale(references, np.float64(0.8), np.float64(-4.3))
    return Potential.from_weights(Weights(config, unflatten(flat), scale, ModelCard(name="small")), dtype)
