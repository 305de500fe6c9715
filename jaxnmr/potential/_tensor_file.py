"""Files of tensor models: one safetensors file that says all about itself."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from jaxnmr.potential._architectures import FOREIGN
from jaxnmr.potential._card import ModelCard
from jaxnmr.potential._container import WRITTEN_BY, Header, contents, is_container, pack, read_header, unpack
from jaxnmr.potential._domain import Domain
from jaxnmr.potential._shipped import shipped
from jaxnmr.potential._tensor_model import TensorModel
from jaxnmr.potential._tensor_network import Calibration, PropertyScale, TensorConfig
from jaxnmr.potential._weights import flatten, unflatten

__all__ = ["load_tensor_model", "save_tensor_model"]

FORMAT = "jaxnmr-tensors"
FORMAT_VERSION = 2
# Files of version 1 know no domain, and nothing of what is beyond it.
_READ = (1, 2)
_UNITS = {"length": "angstrom"}
_DOMAIN = "domain/atoms/"


class _Header(Header):
    config: TensorConfig


def load_tensor_model(path: str | os.PathLike[str], dtype: Any = None) -> TensorModel:
    """A tensor model from its file.

    Args:
        path: a .safetensors that `save_tensor_model` or `jaxnmr train` wrote; or "khco3", the small model that comes with
            the package, for demonstrations: it has learnt tensors of isolated bicarbonate dimers and knows KHCO3 only.
        dtype: precision of the network, "float32" or "float64"; JAX's default unless given.

    Raises:
        ValueError: no such file, a file cut short, of another format (a potential's too, of this package or foreign) or of
            a later version, or whose parameters do not belong to its configuration.
        ImportError: flax, e3nn-jax or safetensors is not installed.
    """
    path = shipped(path, tensors=True)
    name, content = os.fspath(path), contents(path)
    if not is_container(content):
        for foreign in FOREIGN:
            if foreign.recognises(content):
                what = f"begins as the weights of a potential do ({foreign.suffix}), not a tensor model"
                raise ValueError(f"path: {name} {what}; read it with load_potential.")
        raise ValueError(f"path: {name} is in no known format; give a .safetensors of a tensor model.")
    text, arrays = unpack(content, name, FORMAT, _READ)
    header = read_header(_Header, text, name, "a tensor model", _UNITS)
    # A property may be called "params": its own numbers are none of the parameters, which are one level deeper.
    own = {
        f"{prop.name}/{key}" for prop in header.config.properties for key in (*PropertyScale._fields, *Calibration._fields)
    }
    params = {
        key.removeprefix("params/"): array for key, array in arrays.items() if key.startswith("params/") and key not in own
    }
    try:
        scales, calibrations = [], []
        for prop in header.config.properties:
            scales.append(PropertyScale(*(arrays[f"{prop.name}/{key}"] for key in PropertyScale._fields)))
            old = {f"{prop.name}/beyond": np.zeros(())}
            numbers = ((old | arrays)[f"{prop.name}/{key}"].reshape(()) for key in Calibration._fields)
            calibrations.append(Calibration(*numbers))
    except (KeyError, ValueError) as error:
        raise ValueError(f"path: {name} lacks the scales of its properties ({error}); the file is damaged.") from None
    return TensorModel.from_parts(
        header.config,
        unflatten(params),
        scales,
        calibrations,
        header.card,
        domain=_domain(arrays, name),
        dtype=dtype,
        source=f"path: {name}",
    )


def _domain(arrays: dict[str, np.ndarray], name: str) -> Domain | None:
    """Where the learnt atoms lie, where the file says it."""
    # One level deeper than a property's own numbers, which may be called "domain".
    kept = {key.removeprefix(_DOMAIN): array for key, array in arrays.items() if key.startswith(_DOMAIN)}
    if not kept:
        return None
    missing = sorted(set(Domain._fields) - set(kept))
    if missing:
        raise ValueError(f"path: {name} lacks {', '.join(missing)} of the domain of its learnt atoms; the file is damaged.")
    return Domain(*(kept[key] for key in Domain._fields))


def save_tensor_model(model: TensorModel, path: str | os.PathLike[str], card: ModelCard | None = None) -> None:
    """Write a model file, first beside its place and then at once into it: no half-written file is ever found there.

    Args:
        model: the model; its numbers are kept in its precision.
        path: the file, ".safetensors" by custom.
        card: what the file says about the model; the model's own unless given.

    Raises:
        ValueError: the folder does not exist or cannot be written to.
        ImportError: safetensors is not installed.
    """
    header = _Header(config=model.config, units=_UNITS, card=card or model.card, written_by=WRITTEN_BY)
    arrays = {f"params/{name}": array for name, array in flatten(model.params).items()}
    for prop, scale, calibration in zip(model.properties, model.scales, model.calibrations, strict=True):
        both = scale._asdict() | calibration._asdict()
        arrays |= {f"{prop.name}/{key}": np.asarray(value) for key, value in both.items()}
    if model.domain is not None:
        arrays |= {f"{_DOMAIN}{key}": np.asarray(value) for key, value in model.domain._asdict().items()}
    pack(path, FORMAT, FORMAT_VERSION, header.model_dump_json(), arrays)
