"""The container of all model files: safetensors, whose header says what the numbers are."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from jaxnmr._version import __version__
from jaxnmr.errors import missing_extra
from jaxnmr.potential._card import ModelCard
from jaxnmr.saving import written_aside

# What stands in the headers of files that are written now.
WRITTEN_BY = f"jaxnmr {__version__}"
__all__ = ["WRITTEN_BY", "Header", "contents", "is_container", "pack", "read_header", "unpack"]


class Header(BaseModel):
    """The text of a model file; unknown entries are refused, since they could change what the numbers mean."""

    model_config = ConfigDict(extra="forbid")

    units: dict[str, str]
    card: ModelCard
    written_by: str


_H = TypeVar("_H", bound=Header)


def read_header(kind: type[_H], text: str, name: str, what: str, units: dict[str, str]) -> _H:
    """The header of a file.

    Args:
        kind: of the header.
        text: JSON.
        name: the file's, for messages.
        what: it describes, "a potential".
        units: those that are understood.

    Raises:
        ValueError: text of another kind, other units.
    """
    try:
        header = kind.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(f"path: the header of {name} does not describe {what}: {error}") from None
    if header.units != units:
        raise ValueError(f"path: {name} is in {header.units}; this package computes in {units}.")
    return header


def contents(path: str | os.PathLike[str]) -> bytes:
    """A file's bytes.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"path: cannot read {os.fspath(path)}: {error.strerror or error}.") from None


def is_container(content: bytes) -> bool:
    """Whether a file begins as safetensors do: a length, then JSON."""
    return content[8:9] == b"{"


def pack(path: str | os.PathLike[str], kind: str, version: int, header: str, arrays: dict[str, np.ndarray]) -> None:
    """Write a model file, first beside its place and then at once into it: no half-written file is ever found there.

    Args:
        path: the file.
        kind: what it holds, "jaxnmr-potential".
        version: of that format.
        header: JSON that tells the rest.
        arrays: by name.

    Raises:
        ValueError: the folder does not exist or cannot be written to.
        ImportError: safetensors is not installed.
    """
    try:
        from safetensors.numpy import save
    except ImportError:
        raise missing_extra("safetensors", "atoms") from None
    folder = Path(path).parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"path: cannot write to {folder}; make the folder, or name another.")
    text = {"format": kind, "format_version": str(version), "model": header}
    packed = save({name: np.asarray(array, order="C") for name, array in arrays.items()}, metadata=text)
    with written_aside(path) as aside:
        aside.write_bytes(packed)


def unpack(content: bytes, name: str, kind: str, version: int | tuple[int, ...]) -> tuple[str, dict[str, np.ndarray]]:
    """The header and the arrays of a model file.

    Args:
        content: the file.
        name: its name, for messages.
        kind: what it should hold.
        version: of the format, or all that are understood.

    Raises:
        ValueError: a file cut short, of another kind or of a later version.
        ImportError: safetensors is not installed.
    """
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
    found = text.get("format")
    if found != kind:
        raise ValueError(f"path: {name} {_other(found, kind)}.")
    known = [str(each) for each in (version if isinstance(version, tuple) else (version,))]
    if text.get("format_version", "") not in known:
        raise ValueError(
            f"path: {name} has format version {text.get('format_version', '')!r}, this package reads {' and '.join(known)}; "
            "use the jaxnmr that wrote it, or a later one."
        )
    return text.get("model", ""), arrays


# What the formats hold, and what would do with a file of them.
_READERS = {
    "jaxnmr-potential": ("a potential", "read it with load_potential"),
    "jaxnmr-tensors": ("a tensor model", "read it with load_tensor_model"),
    "jaxnmr-checkpoint": (
        "a checkpoint",
        "it is the state of a training that goes on when the same training is started again",
    ),
}


def _other(found: str | None, kind: str) -> str:
    """What a file of another kind than the wanted one is, and what would do."""
    if found not in _READERS:
        return f"is a safetensors file, but not of a {kind}; give one that jaxnmr wrote"
    what, advice = _READERS[found]
    return f"is {what}, not {_READERS[kind][0] if kind in _READERS else f'of a {kind}'}; {advice}"
