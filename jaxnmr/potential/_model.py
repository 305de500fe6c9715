"""The flax module that a configuration stands for: a backbone and an energy head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxnmr.compiling import exact_products
from jaxnmr.errors import missing_extra
from jaxnmr.potential._backbone import BackboneConfig
from jaxnmr.potential._features import NodeFeatures
from jaxnmr.potential._irreps import irreps_text
from jaxnmr.potential._weights import flatten
from jaxnmr.structure import Graph

if TYPE_CHECKING:
    import flax.linen as nn

__all__ = [
    "backbone_shapes",
    "check_params",
    "check_shapes",
    "energy_channels",
    "initial_backbone",
    "model_shapes",
    "node_features",
    "node_numbers",
    "species_of",
]


def species_of(config: BackboneConfig, graph: Graph) -> Int[Array, " atom"]:
    """Each atom's place among the elements that a model knows; -1 for one it does not know, 0 for one that fills up."""
    table = np.full(119, -1, np.int32)
    table[list(config.elements)] = np.arange(len(config.elements))
    table[0] = 0
    return jnp.asarray(table)[jnp.asarray(graph.numbers)]


@exact_products
def node_features(
    config: BackboneConfig, params: dict, vectors: Float[Array, "atom neighbor 3"], graph: Graph
) -> tuple[NodeFeatures, ...]:
    """Features of each atom after each layer: the contract between architectures and heads.

    Raises:
        TypeError: an architecture that hands over other features than its configuration promises.
    """
    species = species_of(config, graph)
    made: Any = _backbone(config).apply({"params": params["backbone"]}, vectors, jnp.asarray(graph.neighbors), species)
    promised = [irreps_text(irreps) for irreps in config.outputs]
    given = [layer.irreps for layer in made]
    shapes = [[(graph.n_atoms, irrep.size, irrep.channels) for irrep in irreps] for irreps in config.outputs]
    if given != promised or [[chunk.shape for chunk in layer.chunks] for layer in made] != shapes:
        raise TypeError(
            f"the network of architecture {config.architecture!r} made features {given} in other numbers or shapes than its "
            f"configuration's outputs, {promised}: for each irrep an array (atom, 2l + 1, channel)."
        )
    return made


@exact_products
def node_numbers(
    config: BackboneConfig, params: dict, vectors: Float[Array, "atom neighbor 3"], graph: Graph
) -> Float[Array, " atom"]:
    """The energy head's number for each atom, before scale, shift and references."""
    last = node_features(config, params, vectors, graph)[-1]
    scalars = dict(zip((irrep.kind for irrep in config.outputs[-1]), last.chunks, strict=True))[(0, 1)]
    weights = params["energy"]["0e"]
    return (scalars @ weights)[:, 0, 0] * np.asarray(weights.shape[0] ** -0.5, weights.dtype)


def check_params(config: BackboneConfig, params: dict, source: str) -> None:
    """Refuses parameters that are not those of the configuration.

    Raises:
        ValueError: names that are missing or not known, or shapes that differ.
    """
    check_shapes(model_shapes(config), params, source)


def check_shapes(expected: dict[str, tuple[int, ...]], params: dict, source: str) -> None:
    """Refuses parameters of other names or shapes; see `check_params`."""
    given = {name: array.shape for name, array in flatten(params).items()}
    missing, unknown = sorted(expected.keys() - given.keys()), sorted(given.keys() - expected.keys())
    if missing or unknown:
        lacks = f"lacks {missing[0]} and {len(missing) - 1} more" if missing else f"has {unknown[0]}, which is not known"
        raise ValueError(f"{source} {lacks}; its parameters do not belong to its configuration.")
    for name, shape in expected.items():
        if given[name] != shape:
            raise ValueError(f"{source}: {name} has shape {given[name]}, but its configuration asks for {shape}.")


def backbone_shapes(config: BackboneConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the parameters under "backbone"."""
    made = jax.eval_shape(lambda: _backbone(config).init(jax.random.key(0), *_example())["params"])
    leaves = jax.tree_util.tree_flatten_with_path(made)[0]
    return {"backbone/" + "/".join(str(key.key) for key in path): leaf.shape for path, leaf in leaves}


def model_shapes(config: BackboneConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the parameters of a potential: backbone and energy head."""
    return backbone_shapes(config) | {"energy/0e": (energy_channels(config), 1)}


def energy_channels(config: BackboneConfig) -> int:
    """Even scalars of the last layer, from which energies are made."""
    channels = sum(irrep.channels for irrep in config.outputs[-1] if irrep.kind == (0, 1))
    if not channels:
        raise ValueError(
            f"config: the last layer of {config.architecture!r} lacks even scalars (0e), which carry the energy."
        )
    return channels


def initial_backbone(config: BackboneConfig, key: Key[Array, ""]) -> dict:
    """Parameters to start training from, with the names of `backbone_shapes` below "backbone"."""
    made: Any = jax.jit(_backbone(config).init)(key, *_example())
    return made["params"]


def _example() -> tuple[Array, Array, Array]:
    """One atom with one neighbour."""
    return jnp.ones((1, 1, 3)), jnp.zeros((1, 1), jnp.int32), jnp.zeros(1, jnp.int32)


def _backbone(config: BackboneConfig) -> nn.Module:
    try:
        module: Any = config.module()
    except ImportError as error:
        raise missing_extra(error.name or "flax", "atoms") from None
    return module
