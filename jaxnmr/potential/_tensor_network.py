r"""What is compiled for tensors: backbone, committee of heads, scales, from coordinates to values with their spread.

The component of kind k of a property of atom i, from what head h makes of its features, is

$$T_{i k m} = t_{Z_i}\,\delta_{k,0e} + s_{Z_i k}\, h_{k m}(x_i)$$

with a mean and scales of each element, which come from the labels. A model's value is the mean over its heads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key
from pydantic import BaseModel, ConfigDict, field_validator

from jaxnmr.compiling import exact_products
from jaxnmr.errors import missing_extra
from jaxnmr.potential._architectures import AnyBackbone
from jaxnmr.potential._backbone import BackboneConfig
from jaxnmr.potential._cartesian import values
from jaxnmr.potential._domain import Domain, distance, excess
from jaxnmr.potential._evaluate import Cell, filled
from jaxnmr.potential._features import NodeFeatures
from jaxnmr.potential._irreps import Chunks, Irrep
from jaxnmr.potential._model import node_features, species_of
from jaxnmr.potential._property import HeadConfig, Property
from jaxnmr.structure import Graph

if TYPE_CHECKING:
    import flax.linen as nn

__all__ = [
    "BARE",
    "Calibration",
    "PropertyScale",
    "TensorConfig",
    "TensorNetwork",
    "backbone_chunks",
    "committee",
    "every_member",
    "feature_irreps",
    "head_shapes",
    "initial_heads",
    "property_values",
    "root_mean_square",
    "scalar_place",
    "scalars_of",
    "spread",
    "summary",
    "typical_size",
    "unit_standard",
]


# Where features are held back, in sizes: 0.5 % at three, a fifth at the mark itself.
_FAR = 8.0
# What each member of the committee makes of each atom, by irreps.
MemberChunks = tuple[Float[Array, "member atom _ _"], ...]


class TensorConfig(BaseModel):
    """What defines a tensor model, apart from its weights.

    Args:
        network: the backbone.
        properties: what is predicted.
        heads: sizes of the heads.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: AnyBackbone
    properties: tuple[Property, ...]
    heads: HeadConfig = HeadConfig()

    @field_validator("properties")
    @classmethod
    def _named(cls, properties: tuple[Property, ...]) -> tuple[Property, ...]:
        names = [each.name for each in properties]
        if not names or len(set(names)) != len(names):
            raise ValueError("give at least one property, each name once")
        return properties


class PropertyScale(NamedTuple):
    """Where a property lies for each element, from the labels it was trained on.

    Attributes:
        mean: of the components of even scalars, (element, channel); none, if the property has none.
        scale: root mean square of a component of each kind, (element, kind).
        count: number of labels, (element,); the model says nothing of elements without.
    """

    mean: Float[Array | np.ndarray, "element _"]
    scale: Float[Array | np.ndarray, "element _"]
    count: Float[Array | np.ndarray, " element"]


class Calibration(NamedTuple):
    """From the spread of a committee to an uncertainty: variance = factor^2 spread^2 + floor^2 scale^2.

    Beyond the learnt atoms the variance grows with the distance from them, by `excess` with the number `beyond`, times
    scale^2. A factor of one with a floor of zero, the bare spread, stands where no held-out data have fitted anything.
    """

    factor: Float[Array | np.ndarray, ""]
    floor: Float[Array | np.ndarray, ""]
    beyond: Float[Array | np.ndarray, ""] = np.zeros(())

    @property
    def bare(self) -> Bool[Array | np.ndarray, ""]:
        """Whether nothing was fitted; an array, for it is asked under jit too."""
        return (jnp.asarray(self.factor) == 1) & (jnp.asarray(self.floor) == 0)


# What stands where nothing was fitted.
BARE = Calibration(np.ones(()), np.zeros(()))


class TensorNetwork(eqx.Module):
    """What a tensor model computes with; models that differ in nothing of `config` share what is compiled.

    Args:
        config: sizes.
        params: "backbone", "standard" (centre and size of the features) and "heads" (each with an axis of members).
        scales: of each property.
        calibrations: of each property.
        domain: where the learnt atoms lie; None for models of before it was kept.
    """

    config: TensorConfig = eqx.field(static=True)
    params: Any
    scales: tuple[PropertyScale, ...]
    calibrations: tuple[Calibration, ...]
    domain: Domain | None = None

    @property
    def dtype(self) -> np.dtype:
        """Precision of the parameters."""
        return jax.tree.leaves(self.params)[0].dtype


def feature_irreps(config: BackboneConfig) -> tuple[Irrep, ...]:
    """The features of all layers together, each kind once."""
    totals: dict[tuple[int, int], int] = {}
    for irreps in config.outputs:
        for irrep in irreps:
            totals[irrep.kind] = totals.get(irrep.kind, 0) + irrep.channels
    joined = [Irrep(channels, *kind) for kind, channels in totals.items()]
    return tuple(sorted(joined, key=lambda irrep: irrep.order))


def joined(config: BackboneConfig, features: tuple[NodeFeatures, ...]) -> Chunks:
    """Features of all layers side by side, in `feature_irreps`."""
    found: dict[tuple[int, int], list[Array]] = {}
    for irreps, layer in zip(config.outputs, features, strict=True):
        for irrep, chunk in zip(irreps, layer.chunks, strict=True):
            found.setdefault(irrep.kind, []).append(chunk)
    return tuple(jnp.concatenate(found[irrep.kind], axis=-1) for irrep in feature_irreps(config))


def backbone_chunks(
    config: BackboneConfig, backbone: dict, vectors: Float[Array, "atom neighbor 3"], graph: Graph
) -> Chunks:
    """Features of all layers from the edges."""
    return joined(config, node_features(config, {"backbone": backbone}, vectors, graph))


@exact_products
def committee(config: TensorConfig, params: dict, chunks: Chunks, species: Int[Array, " atom"]) -> tuple[MemberChunks, ...]:
    """What each head makes of the features, of the order of one: for each property and kind (member, atom, 2l + 1, channel).

    Args:
        config: sizes.
        params: "standard" and "heads".
        chunks: features of all layers.
        species: each atom's place among the elements.
    """
    module, irreps = _heads(config), feature_irreps(config.network)
    even = _standardised(irreps, params["standard"], chunks)
    made: Any = jax.vmap(lambda member: module.apply({"params": member}, even, species))(params["heads"])
    return made


@exact_products
def property_values(
    config: TensorConfig,
    scales: tuple[PropertyScale, ...],
    numbers: tuple[MemberChunks, ...],
    species: Int[Array, " atom"],
    graph: Graph | None,
) -> tuple[Float[Array, "member _ ..."], ...]:
    """Values of each property by each member, (member, atom or structure, *shape), in its unit.

    Args:
        config: sizes.
        scales: of each property.
        numbers: from `committee`.
        species: each atom's place among the elements.
        graph: which atoms are real and to which structure they belong; None where nothing is pooled.
    """
    results = []
    for prop, scale, chunks in zip(config.properties, scales, numbers, strict=True):
        dtype, parts = chunks[0].dtype, []
        # Not known here: elements that filled up or are unknown take any place, and are put aside by the caller.
        place = jnp.maximum(species, 0)
        for k, (irrep, chunk) in enumerate(zip(prop.kinds, chunks, strict=True)):
            part = chunk * jnp.asarray(scale.scale, dtype)[place, k][None, :, None, None]
            if irrep.kind == (0, 1):
                part = part + jnp.asarray(scale.mean, dtype)[place][None, :, None, :]
            parts.append(part)
        if prop.pooling != "none":
            if graph is None:
                raise ValueError(f"graph: {prop.name} is of whole structures; give their graph.")
            parts = [_pooled(part, graph, prop.pooling == "mean") for part in parts]
        results.append(jax.vmap(lambda *each, prop=prop: values(prop, each))(*parts))
    return tuple(results)


@jax.jit
@exact_products
def summary(
    network: TensorNetwork, positions: Array, cell: Cell | None, graph: Graph
) -> tuple[tuple[Array, Float[Array, " _"], Float[Array, " _"]], ...]:
    """Mean over the committee, calibrated uncertainty, novelty of each property: (atom or structure, *shape), (...,) twice.

    NaN for elements without labels, and for structures that have such in pooled properties; zero for what fills up. The
    uncertainty is NaN as well where nothing tells of it: of a single member that no data have calibrated.
    """
    config, found = network.config, []
    every, species, chunks = _each_member(network, positions, cell, graph)
    far = None
    if network.domain is not None:
        far = distance(network.domain, scalars_of(config.network, chunks), jnp.maximum(species, 0))
    for prop, scale, calibration, each in zip(config.properties, network.scales, network.calibrations, every, strict=True):
        known, size = jnp.asarray(scale.count)[jnp.maximum(species, 0)] > 0, typical_size(prop, scale)
        known, real, size = known & (species >= 0), jnp.asarray(graph.is_atom), size[jnp.maximum(species, 0)]
        mine = far
        if prop.pooling != "none":  # no element may be unknown; one size serves them all
            mine = None if far is None else tuple(root_mean_square(part, real, graph) for part in far)
            known = _count(real & ~known, graph) == 0
            real, size = _count(real, graph) > 0, jnp.broadcast_to(typical_size(prop, scale)[0], known.shape)
        uncertain = _calibrated(spread(each), size.astype(each.dtype), calibration, mine)
        if each.shape[0] == 1:  # its spread of zero says nothing
            uncertain = jnp.where(calibration.bare, jnp.nan, uncertain)
        new = jnp.full_like(uncertain, jnp.nan) if mine is None else mine[0] / mine[1]
        found.append((_masked(each.mean(axis=0), known, real), _masked(uncertain, known, real), _masked(new, known, real)))
    return tuple(found)


@jax.jit
@exact_products
def every_member(
    network: TensorNetwork, positions: Array, cell: Cell | None, graph: Graph
) -> tuple[Float[Array, "member _ ..."], ...]:
    """Values of each property by each member of the committee, whatever is known of the elements."""
    return _each_member(network, positions, cell, graph)[0]


def _each_member(
    network: TensorNetwork, positions: Array, cell: Cell | None, graph: Graph
) -> tuple[tuple[Array, ...], Int[Array, " atom"], Chunks]:
    config = network.config
    positions, cell = filled(positions, cell, graph, network.dtype)
    species = species_of(config.network, graph)
    chunks = backbone_chunks(config.network, network.params["backbone"], graph.vectors(positions, cell), graph)
    numbers = committee(config, network.params, chunks, jnp.maximum(species, 0))
    return property_values(config, network.scales, numbers, species, graph), species, chunks


def scalars_of(config: BackboneConfig, chunks: Chunks) -> Float[Array, "atom channel"]:
    """The even scalars among the features of all layers, by which a `Domain` knows atoms."""
    return chunks[scalar_place(config)][:, 0, :]


def scalar_place(config: BackboneConfig) -> int:
    """Which of `feature_irreps` are the even scalars."""
    return [irrep.kind for irrep in feature_irreps(config)].index((0, 1))


def spread(each: Float[Array, "member _ ..."]) -> Float[Array, " _"]:
    """Standard deviation over the members of one element of the value: the root mean square over its elements."""
    members = each.shape[0]
    if members == 1:
        return jnp.zeros(each.shape[1], each.dtype)
    square = jnp.square(each - each.mean(axis=0, keepdims=True)).sum(axis=0) / (members - 1)
    square = square.reshape(square.shape[0], -1).mean(axis=-1)
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


def typical_size(prop: Property, scale: PropertyScale) -> Float[Array, " element"]:
    """Root mean square of one element of the value about its mean, for each element of the periodic table."""
    weights = np.array([irrep.size * irrep.channels for irrep in prop.kinds], np.float64) / max(1, int(np.prod(prop.shape)))
    scales = jnp.asarray(scale.scale)
    return jnp.sqrt(jnp.square(scales) @ jnp.asarray(weights, scales.dtype))


def unit_standard(config: BackboneConfig) -> dict:
    """Centres of zero and sizes of one: features as they are."""
    dtype = jnp.zeros(()).dtype
    made: dict = {}
    for irrep in feature_irreps(config):
        made[irrep.name] = {"size": jnp.ones(irrep.channels, dtype)}
        if irrep.kind == (0, 1):
            made[irrep.name]["centre"] = jnp.zeros(irrep.channels, dtype)
    return made


def initial_heads(config: TensorConfig, key: Key[Array, ""]) -> dict:
    """Parameters of all members to start from, each with an axis of members."""
    chunks, species = _example(config)
    module = _heads(config)
    start = jax.jit(jax.vmap(lambda key: module.init(key, chunks, species)["params"]))
    made: Any = start(jax.random.split(key, config.heads.members))
    return made


def head_shapes(config: TensorConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the parameters "standard" and "heads"."""
    made = jax.eval_shape(
        lambda: {"standard": unit_standard(config.network), "heads": initial_heads(config, jax.random.key(0))}
    )
    leaves = jax.tree_util.tree_flatten_with_path(made)[0]
    return {"/".join(str(key.key) for key in path): leaf.shape for path, leaf in leaves}


def _example(config: TensorConfig) -> tuple[Chunks, Int[Array, " atom"]]:
    chunks = tuple(jnp.ones((1, irrep.size, irrep.channels)) for irrep in feature_irreps(config.network))
    return chunks, jnp.zeros(1, jnp.int32)


def _heads(config: TensorConfig) -> nn.Module:
    try:
        from jaxnmr.potential._heads import Heads
    except ImportError as error:
        raise missing_extra(error.name or "flax", "atoms") from None
    outputs = tuple(prop.kinds for prop in config.properties)
    return Heads(feature_irreps(config.network), outputs, config.heads, len(config.network.elements))


def _standardised(irreps: tuple[Irrep, ...], standard: dict, chunks: Chunks) -> Chunks:
    even = []
    for irrep, chunk in zip(irreps, chunks, strict=True):
        own = jax.lax.stop_gradient(standard[irrep.name])
        if irrep.kind == (0, 1):
            chunk = chunk - own["centre"][None, None, :]
        chunk = chunk / own["size"][None, None, :]
        # Beyond what training has seen values grow no further: products of three far ones would be a million.
        square = jnp.mean(chunk**2, axis=1, keepdims=True) / _FAR**2
        even.append(chunk * (1 + square**2) ** -0.25)
    return tuple(even)


def _pooled(part: Float[Array, "member atom _ _"], graph: Graph, mean: bool) -> Float[Array, "member structure _ _"]:
    owner, real = jnp.asarray(graph.structure), jnp.asarray(graph.is_atom)
    kept = jnp.where(real[None, :, None, None], part, 0.0)
    total = jax.vmap(lambda each: jax.ops.segment_sum(each, owner, graph.n_structures))(kept)
    if not mean:
        return total
    count = jnp.maximum(jax.ops.segment_sum(real.astype(part.dtype), owner, graph.n_structures), 1.0)
    return total / count[None, :, None, None]


def _count(atoms: Array, graph: Graph) -> Array:
    """How many of these atoms each structure has."""
    return jax.ops.segment_sum(atoms.astype(jnp.int32), jnp.asarray(graph.structure), graph.n_structures)


def root_mean_square(each: Float[Array, " atom"], real: Array, graph: Graph) -> Float[Array, " structure"]:
    """Of the atoms of each structure."""
    total = jax.ops.segment_sum(jnp.where(real, each**2, 0.0), jnp.asarray(graph.structure), graph.n_structures)
    mean = total / jnp.maximum(_count(real, graph), 1).astype(each.dtype)
    return jnp.where(mean > 0, jnp.sqrt(jnp.where(mean > 0, mean, 1.0)), 0.0)


def _calibrated(
    spread: Float[Array, " _"], size: Float[Array, " _"], calibration: Calibration, far: tuple[Array, ...] | None
) -> Float[Array, " _"]:
    factor, floor, beyond = (jnp.asarray(value, spread.dtype) for value in calibration)
    square = (factor * spread) ** 2 + (floor * size) ** 2
    if far is not None:
        away, end = far
        square = square + excess(away, end, beyond) * size**2
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


def _masked(given: Float[Array, "n ..."], known: Array, real: Array) -> Float[Array, "n ..."]:
    shape = (-1,) + (1,) * (given.ndim - 1)
    return jnp.where(real.reshape(shape), jnp.where(known.reshape(shape), given, jnp.nan), 0.0)
