"""Features of a backbone that does not change: computed once, kept on disk, learnt from in minutes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxnmr.potential._backbone import BackboneConfig
from jaxnmr.potential._container import contents, pack, unpack
from jaxnmr.potential._irreps import Chunks
from jaxnmr.potential._model import species_of
from jaxnmr.potential._tensor_network import TensorConfig, backbone_chunks, feature_irreps, scalar_place
from jaxnmr.potential._weights import flatten
from jaxnmr.potential.training._batches import FeatureBatch, StructureBatch, StructureBatches
from jaxnmr.potential.training._domain import Seen
from jaxnmr.potential.training._samples import Sample
from jaxnmr.potential.training._scales import places

__all__ = ["digest", "even_scalars", "every_feature", "features", "refuse_pooled", "standard_of"]

# The version rises when the same backbone and structure give other features, so that files of before are not found.
_FORMAT, _VERSION = "jaxnmr-features", 2
# Atoms that go through the backbone together.
_ATOMS = 256
# Structures that tell where learnt atoms lie, unless an element has been met less often than so many times.
_STRUCTURES, _OF_EACH = 400, 200


def features(
    config: TensorConfig, backbone: dict, samples: Sequence[Sample], cache: Path | None = None
) -> tuple[FeatureBatch, np.ndarray]:
    """Features of every atom that has a label, from all layers.

    Args:
        config: the model.
        backbone: parameters of its backbone.
        samples: structures and labels.
        cache: folder in which each structure's features are kept, by what they depend on; None to compute them anyway. A
            file that cannot be read is computed anew.

    Returns:
        Features, species and labels of the atoms, in the samples' order; and the sample of each, (atom,).

    Raises:
        ValueError: a property of whole structures, which single atoms cannot teach; no label; as `StructureBatches`.
    """
    refuse_pooled(config)
    rows, labels, owner = [], [[] for _ in config.properties], []
    for k, sample in enumerate(samples):
        flat = [values.reshape(len(sample.structure), -1) for values in sample.values]
        there = np.any([~np.isnan(values).any(axis=1) for values in flat], axis=0)
        rows.append(np.flatnonzero(there))
        owner.append(np.full(int(there.sum()), k))
        for collected, values in zip(labels, sample.values, strict=True):
            collected.append(values[there])
    if not sum(map(len, rows)):
        raise ValueError("samples: no atom has a label; look at the names of the files' columns.")
    paths = [None] * len(samples) if cache is None else _paths(cache, config, backbone, samples, rows)
    ready: dict[int, tuple[tuple[np.ndarray, ...], np.ndarray]] = {}
    names = [irrep.name for irrep in feature_irreps(config.network)]
    for k, path in enumerate(paths):
        kept = None if path is None else _kept(path, names)
        if kept is not None:
            ready[k] = kept
    missing = [k for k in range(len(samples)) if k not in ready]
    for n, chunks, species in _computed(config, backbone, [samples[k] for k in missing], [rows[k] for k in missing]):
        ready[missing[n]], path = (chunks, species), paths[missing[n]]
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            pack(path, _FORMAT, _VERSION, "", dict(zip(names, chunks, strict=True)) | {"species": species})
    chunks = tuple(np.concatenate([ready[k][0][c] for k in range(len(samples))]) for c in range(len(names)))
    species = np.concatenate([ready[k][1] for k in range(len(samples))])
    values = tuple(np.concatenate(collected) for collected in labels)
    return FeatureBatch(chunks, species, values), np.concatenate(owner)


def refuse_pooled(config: TensorConfig) -> None:
    """Single atoms cannot teach properties of whole structures."""
    pooled = [prop.name for prop in config.properties if prop.pooling != "none"]
    if pooled:
        raise ValueError(f"frozen: {pooled[0]} is of whole structures; train it with the backbone (frozen = false).")


def every_feature(config: TensorConfig, backbone: dict, samples: Sequence[Sample]) -> FeatureBatch:
    """Features of all atoms, labelled or not, in no order that matters; without labels.

    Args:
        config: the model.
        backbone: parameters of its backbone.
        samples: structures.
    """
    rows = [np.arange(len(sample.structure)) for sample in samples]
    made = [(chunks, species) for _, chunks, species in _computed(config, backbone, samples, rows)]
    chunks = tuple(np.concatenate(parts) for parts in zip(*(chunks for chunks, _ in made), strict=True))
    return FeatureBatch(chunks, np.concatenate([species for _, species in made]), ())


def even_scalars(config: TensorConfig, backbone: dict, samples: Sequence[Sample], every: bool = False) -> Seen | None:
    """What a `Domain` is made of, from few structures and few numbers of each: those of atoms with a label.

    Args:
        config: the model.
        backbone: parameters of its backbone.
        samples: structures and labels.
        every: all atoms of structures that have any label, for properties of whole structures.

    Returns:
        None without any label.
    """
    rows = []
    for sample in samples:
        n = len(sample.structure)
        if every:
            there = np.full(n, any(not np.isnan(values).all() for values in sample.values))
        else:
            there = np.any([~np.isnan(values.reshape(n, -1)).any(axis=1) for values in sample.values], axis=0)
        rows.append(np.flatnonzero(there))
    # By chance, and on until each element has been met often enough.
    met, chosen = dict.fromkeys(range(len(config.network.elements)), 0), []
    for k in np.random.default_rng(0).permutation(len(samples)).tolist():
        mine = places(config.network, samples[k])[rows[k]]
        if mine.size and (len(chosen) < _STRUCTURES or any(met[z] < _OF_EACH for z in set(mine.tolist()))):
            chosen.append(k)
            for z in mine.tolist():
                met[z] += 1
    if not chosen:
        return None
    place = scalar_place(config.network)
    parts = [
        (chunks[place][:, 0, :], species, np.full(len(species), chosen[n]))
        for n, chunks, species in _computed(config, backbone, [samples[k] for k in chosen], [rows[k] for k in chosen])
    ]
    return Seen(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def standard_of(config: TensorConfig, batch: FeatureBatch) -> dict:
    """Centre and size of each channel over some atoms: the parameters "standard"."""
    made: dict = {}
    dtype = jnp.zeros(()).dtype
    for irrep, chunk in zip(feature_irreps(config.network), batch.chunks, strict=True):
        array = np.asarray(chunk, np.float64)
        own = {}
        if irrep.kind == (0, 1):
            centre = array.mean(axis=(0, 1))
            array, own["centre"] = array - centre[None, None, :], jnp.asarray(centre, dtype)
        size = np.sqrt(np.mean(array**2, axis=(0, 1)))
        # Channels that hardly change would bring noise, and surprises far from these atoms.
        least = 0.05 * np.sqrt(np.mean(size**2))
        made[irrep.name] = own | {"size": jnp.asarray(np.maximum(size, max(float(least), 1e-6)), dtype)}
    return made


def digest(*parts: bytes | str | np.ndarray) -> str:
    """A short fingerprint of what is given."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            found.update(str((part.shape, part.dtype.str)).encode())
            found.update(np.ascontiguousarray(part).tobytes())
        else:
            found.update(part.encode() if isinstance(part, str) else part)
        found.update(b"\0")
    return found.hexdigest()[:16]


def _computed(
    config: TensorConfig, backbone: dict, samples: Sequence[Sample], rows: Sequence[np.ndarray]
) -> Iterator[tuple[int, tuple[np.ndarray, ...], np.ndarray]]:
    """Each sample's number, features and species, as they come."""
    if not samples:
        return
    most = max(len(sample.structure) for sample in samples)
    batches = StructureBatches(config.network, config.properties, samples, max(1, _ATOMS // most))
    for members, batch in batches.ordered():
        made, species = _compute(config.network, backbone, batch)
        chunks, species = [np.asarray(chunk) for chunk in made], np.asarray(species)
        start = 0
        for k in members:
            wanted = start + rows[k]
            yield int(k), tuple(chunk[wanted] for chunk in chunks), species[wanted]
            start += len(samples[k].structure)


@partial(jax.jit, static_argnums=0)
def _compute(network: BackboneConfig, backbone: dict, batch: StructureBatch) -> tuple[Chunks, Array]:
    dtype = jax.tree.leaves(backbone)[0].dtype
    vectors = batch.graph.vectors(jnp.asarray(batch.positions, dtype), jnp.asarray(batch.cell, dtype))
    return backbone_chunks(network, backbone, vectors, batch.graph), species_of(network, batch.graph)


def _kept(path: Path, names: Sequence[str]) -> tuple[tuple[np.ndarray, ...], np.ndarray] | None:
    """Features and species of a file; None where there is none, or a damaged one, which is removed."""
    if not path.exists():
        return None
    try:
        _, arrays = unpack(contents(path), str(path), _FORMAT, _VERSION)
        return tuple(arrays[name] for name in names), arrays["species"]
    except (ValueError, KeyError):
        path.unlink()
        return None


def _paths(
    cache: Path, config: TensorConfig, backbone: dict, samples: Sequence[Sample], rows: Sequence[np.ndarray]
) -> list[Path]:
    """A file for each structure, so that other choices of structures find theirs."""
    parts = [np.asarray(array) for _, array in sorted(flatten(backbone).items())]
    common, paths = digest(str(_VERSION), config.network.model_dump_json(), *parts), []
    for sample, mine in zip(samples, rows, strict=True):
        structure = sample.structure
        cell = () if structure.cell is None else (np.asarray(structure.cell),)
        positions = np.asarray(structure.positions)
        own = digest(common, " ".join(structure.species), positions, str(structure.pbc), mine, *cell)
        paths.append(cache / f"features-{own}.safetensors")
    return paths
