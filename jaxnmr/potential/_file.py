"""Model files: one safetensors file that says all about itself; Nequix's own are read too."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from jaxnmr.potential._architectures import FOREIGN, AnyBackbone
from jaxnmr.potential._backbone import BackboneConfig
from jaxnmr.potential._card import ModelCard
from jaxnmr.potential._container import WRITTEN_BY, Header, contents, is_container, pack, read_header, unpack
from jaxnmr.potential._potential import Potential
from jaxnmr.potential._shipped import shipped
from jaxnmr.potential._weights import EnergyScale, Weights, flatten, unflatten

__all__ = ["FORMAT", "FORMAT_VERSION", "load_potential", "save_potential"]

FORMAT = "jaxnmr-potential"
FORMAT_VERSION = 1
_UNITS = {"length": "angstrom", "energy": "eV"}


class _Header(Header):
    config: AnyBackbone


def load_potential(path: str | os.PathLike[str], dtype: Any = None) -> Potential:
    """A potential from a model file of this package (safetensors) or of Nequix (.nqx), recognised by what is in it.

    Args:
        path: the file; or "khco3", the small potential that comes with the package, for demonstrations: it imitates a
            foundation model on crystalline KHCO3 and knows nothing else.
        dtype: precision of the network, "float32" or "float64"; JAX's default unless given.

    Raises:
        ValueError: no such file, a file cut short, of another format or of a later version, or whose parameters do not
            belong to its configuration.
        ImportError: flax, e3nn-jax or safetensors is not installed.
    """
    path = shipped(path, tensors=False)
    name, content = os.fspath(path), contents(path)
    if is_container(content):
        return Potential.from_weights(_read(content, name), dtype, f"path: {name}")
    for foreign in FOREIGN:
        if foreign.recognises(content):
            return Potential.from_weights(foreign.read(content, name), dtype, f"path: {name}")
    others = " or a ".join(foreign.suffix for foreign in FOREIGN)
    raise ValueError(f"path: {name} is in no known format; give a .safetensors of this package or a {others}.")


def save_potential(potential: Potential, path: str | os.PathLike[str], card: ModelCard | None = None) -> None:
    """Write a model file, first beside its place and then at once into it: no half-written file is ever found there.

    Args:
        potential: the potential; parameters are kept in its precision, energy scale and references in double.
        path: the file, ".safetensors" by custom.
        card: what the file says about the model; the potential's own unless given.

    Raises:
        ValueError: the folder does not exist or cannot be written to.
        ImportError: safetensors is not installed.
    """
    header = _Header(config=potential.config, units=_UNITS, card=card or potential.card, written_by=WRITTEN_BY)
    arrays = {f"params/{name}": array for name, array in flatten(potential.params).items()}
    arrays |= {f"scale/{name}": np.asarray(value, np.float64) for name, value in potential.scale._asdict().items()}
    pack(path, FORMAT, FORMAT_VERSION, header.model_dump_json(), arrays)


def _read(content: bytes, name: str) -> Weights:
    text, arrays = unpack(content, name, FORMAT, FORMAT_VERSION)
    header = read_header(_Header, text, name, "a potential", _UNITS)
    scale = _scale(arrays, header.config, name)
    params = {key.removeprefix("params/"): array for key, array in arrays.items() if key.startswith("params/")}
    return Weights(header.config, unflatten(params), scale, header.card)


def _scale(arrays: dict[str, np.ndarray], config: BackboneConfig, name: str) -> EnergyScale:
    shapes = {"references": (len(config.elements),), "scale": (), "shift": ()}
    for key, shape in shapes.items():
        array = arrays.get(f"scale/{key}")
        if array is None or array.shape != shape:
            raise ValueError(f"path: {name} has no {key} of shape {shape} for its energies; the file is damaged.")
    return EnergyScale(*(arrays[f"scale/{key}"] for key in EnergyScale._fields))
