"""Weights of Nequix: a line of JSON, then arrays in NumPy's format, one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from itertools import pairwise

import numpy as np
from pydantic import ValidationError

from jaxnmr.potential._card import ModelCard
from jaxnmr.potential._irreps import Irrep, gated
from jaxnmr.potential._paths import message_irreps, message_paths
from jaxnmr.potential._weights import EnergyScale, Weights
from jaxnmr.potential.nequip._config import NequipConfig

__all__ = ["is_nqx", "read_nqx"]

_MAGIC = b"\x93NUMPY"


def is_nqx(content: bytes) -> bool:
    """Whether a file begins as Nequix's do: a JSON object on the first line."""
    return content[:1] == b"{"


def read_nqx(content: bytes, path: str) -> Weights:
    """A Nequix model as configuration, parameters and energy scale.

    Args:
        content: the file.
        path: its name, for messages.

    Raises:
        ValueError: the file is cut short, has arrays of other shapes than its header says, or needs what is not
            supported (repulsion terms, charges).

    References:
        T. Koker, M. Kotak and T. Smidt, arXiv:2508.16067 (Nequix).
    """
    first, newline, rest = content.partition(b"\n")
    try:
        header = json.loads(first)
    except (UnicodeDecodeError, json.JSONDecodeError):
        header = None
    if not newline or not isinstance(header, dict) or "hidden_irreps" not in header:
        raise ValueError(f"path: {path} begins like a Nequix model, but its first line is not such a header; copy it again.")
    for feature in ("repulsion", "zbl", "charge_embedding", "spin_embedding"):
        if header.get(feature):
            raise ValueError(f"path: {path} needs {feature!r}, which is not supported; use a model without it.")
    config = _config(header, path)
    arrays = _Arrays(rest, path)
    references = arrays.take((len(config.elements),))
    backbone = {f"layer_{k}": layer for k, layer in enumerate(_layers(config, arrays))}
    scalars = config.outputs[-1][0].channels
    params = {"backbone": backbone, "energy": {"0e": arrays.take((scalars, 1))}}
    arrays.finish()
    scale = EnergyScale(
        references=references.astype(np.float64),
        scale=np.float64(header.get("scale", 1.0)),
        shift=np.float64(header.get("shift", 0.0)),
    )
    card = ModelCard(
        name=path.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".nqx"),
        description="Nequix foundation potential: https://github.com/atomicarchitects/nequix",
        data=json.dumps(header.get("train_path", "")),
        licence="MIT (Nequix)",
        reference="T. Koker, M. Kotak and T. Smidt, arXiv:2508.16067",
        training=json.dumps({k: v for k, v in header.items() if k not in ("atom_energies", "atomic_numbers")}),
    )
    return Weights(config, params, scale, card)


def _config(header: dict, path: str) -> NequipConfig:
    names = {
        "elements": "atomic_numbers",
        "cutoff": "cutoff",
        "l_max": "lmax",
        "hidden_irreps": "hidden_irreps",
        "n_layers": "n_layers",
        "n_basis": "radial_basis_size",
        "radial_width": "radial_mlp_size",
        "radial_depth": "radial_mlp_layers",
        "envelope_power": "radial_polynomial_p",
        "average_neighbors": "avg_n_neighbors",
        "element_skip": "index_weights",
        "layer_norm": "layer_norm",
    }
    missing = sorted({theirs for theirs in names.values() if theirs not in header} - {"layer_norm"})
    if missing:
        raise ValueError(f"path: the header of {path} lacks {', '.join(missing)}; give a model file of Nequix 0.2 or later.")
    values = {ours: header.get(theirs, False) for ours, theirs in names.items()}
    try:
        return NequipConfig(**{**values, "elements": tuple(sorted(values["elements"]))})
    except (ValidationError, TypeError) as error:
        raise ValueError(f"path: the header of {path} does not describe a network: {error}") from None


class _Arrays:
    """The arrays of a file in their order."""

    def __init__(self, content: bytes, path: str):
        self._stream, self._size, self._path, self._count = BytesIO(content), len(content), path, 0

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """The next one, which has to have this shape."""
        array = self._read()
        self._count += 1
        if array is None:
            raise ValueError(f"path: {self._path} is cut short: array {self._count} {shape} is missing; copy it again.")
        if array.shape != shape or array.dtype.kind != "f":
            raise ValueError(
                f"path: array {self._count} of {self._path} is {array.dtype} {array.shape}, but its header asks for {shape}"
                "; the file is of another version or damaged."
            )
        return array

    def finish(self) -> None:
        """What follows the weights (copies of settings in some files) has to be whole."""
        while self._stream.tell() < self._size:
            rest = self._stream.getvalue()[self._stream.tell() :]
            if not rest.strip():
                return
            if self._read() is None:
                raise ValueError(f"path: {self._path} is cut short or damaged after its weights; copy it again.")

    def _read(self) -> np.ndarray | None:
        if not self._stream.getvalue().startswith(_MAGIC, self._stream.tell()):
            return None
        try:
            return np.lib.format.read_array(self._stream, allow_pickle=False)
        except (ValueError, EOFError, OSError):
            return None


def _layers(config: NequipConfig, arrays: _Arrays) -> Iterator[dict]:
    """Each layer's parameters by the names that the flax module gives them, read in the file's order."""
    irreps: tuple[Irrep, ...] = (Irrep(len(config.elements), 0, 1),)
    for out in config.outputs:
        full = gated(out)
        paths = message_paths(irreps, config.l_max, full)
        columns = sum(path.out.channels for path in paths)
        sizes = [config.n_basis, *[config.radial_width] * config.radial_depth, columns]
        layer: dict = {f"radial_{k}": arrays.take((a, b)) for k, (a, b) in enumerate(pairwise(sizes))}
        layer["send"] = _linear(irreps, irreps, arrays)
        layer["mix"] = _linear(message_irreps(paths), full, arrays)
        layer["skip"] = _linear(irreps, full, arrays, len(config.elements) if config.element_skip else None)
        if config.layer_norm:
            layer["norm"] = {irrep.name: arrays.take((irrep.channels,)) for irrep in full}
        yield layer
        irreps = out


def _linear(
    irreps_in: tuple[Irrep, ...], irreps_out: tuple[Irrep, ...], arrays: _Arrays, n_elements: int | None = None
) -> dict:
    outs, weights = {irrep.kind: irrep for irrep in irreps_out}, {}
    for irrep in irreps_in:
        if irrep.kind in outs:
            shape = (irrep.channels, outs[irrep.kind].channels)
            weights[irrep.name] = arrays.take(shape if n_elements is None else (n_elements, *shape))
    return weights
