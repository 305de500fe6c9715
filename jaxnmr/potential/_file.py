"""Model files: one safetensors file that says all about itself; Nequix's own are read too."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from jaxnmr._version import __version__
from jaxnmr.errors import missing_extra
from jaxnmr.potential._card import ModelCard
from jaxnmr.potential._potential import Potential
from jaxnmr.potential._weights import EnergyScale, Weights, flatten, unflatten
from jaxnmr.potential.nequip import NequipConfig, is_nqx, read_nqx

__all__ = ["FORMAT", "FORMAT_VERSION", "load_potential", "save_potential"]

FORMAT = "jaxnmr-potential"
FORMAT_VERSION = 1
_UNITS = {"length": "angstrom", "energy": "eV"}


class _Header(BaseModel):
    """The text of a model file; unknown entries are refused, since they could change what the numbers mean."""

    model_config = ConfigDict(extra="forbid")

    config: NequipConfig
    units: dict[str, str]
    card: ModelCard
    written_by: str


def load_potential(path: str | os.PathLike[str], dtype: Any = None) -> Potential:
    """A potential from a model file of this package (safetensors) or of Nequix (.nqx), recognised by what is in it.

    Args:
        path: the file.
        dtype: precision of the network, "float32" or "float64"; JAX's default unless given.

    Raises:
        ValueError: no such file, a file cut short, of another format or of a later version, or whose parameters do not
            belong to its configuration.
        ImportError: flax, e3nn-jax or safetensors is not installed.
    """
    name = os.fspath(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"path: cannot read {name}: {error.strerror or error}.") from None
    if is_nqx(content):
        return Potential.from_weights(read_nqx(content, name), dtype, f"path: {name}")
    if content[8:9] == b"{":
        return Potential.from_weights(_read(content, name), dtype, f"path: {name}")
    raise ValueError(f"path: {name} is in no known format; give a .safetensors of this package or a .nqx.")


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
    try:
        from safetensors.numpy import save
    except ImportError:
        raise missing_extra("safetensors", "atoms") from None
    header = _Header(config=potential.config, units=_UNITS, card=card or potential.card, written_by=f"jaxnmr {__version__}")
    arrays = {f"params/{name}": np.ascontiguousarray(array) for name, array in flatten(potential.params).items()}
    arrays |= {f"scale/{name}": np.asarray(value, np.float64) for name, value in potential.scale._asdict().items()}
    text = {"format": FORMAT, "format_version": str(FORMAT_VERSION), "model": header.model_dump_json()}
    _replace(Path(path), save(arrays, metadata=text))


def _read(content: bytes, name: str) -> Weights:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load
    except ImportError:
        raise missing_extra("safetensors", "atoms") from None
    try:
        arrays = load(content)
        text = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__", {})
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"path: {name} is cut short or damaged ({error}); copy it again.") from None
    if text.get("format") != FORMAT:
        raise ValueError(f"path: {name} is a safetensors file, but not of a {FORMAT}; give one that save_potential wrote.")
    version = text.get("format_version", "")
    if version != str(FORMAT_VERSION):
        raise ValueError(
            f"path: {name} has format version {version!r}, this package reads {FORMAT_VERSION}; use the jaxnmr "
            "that wrote it, or a later one."
        )
    try:
        header = _Header.model_validate_json(text.get("model", ""))
    except ValidationError as error:
        raise ValueError(f"path: the header of {name} does not describe a potential: {error}") from None
    if header.units != _UNITS:
        raise ValueError(f"path: {name} is in {header.units}; this package computes in {_UNITS}.")
    scale = _scale(arrays, header.config, name)
    params = {key.removeprefix("params/"): array for key, array in arrays.items() if key.startswith("params/")}
    return Weights(header.config, unflatten(params), scale, header.card)


def _scale(arrays: dict[str, np.ndarray], config: NequipConfig, name: str) -> EnergyScale:
    shapes = {"references": (len(config.elements),), "scale": (), "shift": ()}
    for key, shape in shapes.items():
        array = arrays.get(f"scale/{key}")
        if array is None or array.shape != shape:
            raise ValueError(f"path: {name} has no {key} of shape {shape} for its energies; the file is damaged.")
    return EnergyScale(*(arrays[f"scale/{key}"] for key in EnergyScale._fields))


def _replace(path: Path, content: bytes) -> None:
    try:
        handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise ValueError(f"path: cannot write to {path.parent}: {error.strerror or error}.") from None
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(beside, 0o644)  # mkstemp's are the owner's alone
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
