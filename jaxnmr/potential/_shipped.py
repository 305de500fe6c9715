"""The models that come with the package, by their names."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

__all__ = ["shipped"]

_POTENTIALS = {"khco3": "khco3-potential.safetensors"}
_TENSORS = {"khco3": "khco3-tensors.safetensors"}


def shipped(path: str | os.PathLike[str], *, tensors: bool) -> str | os.PathLike[str]:
    """Where the model of a name lies; what is given where there is no such name, or a file of it.

    Args:
        path: a name or a path.
        tensors: whether a tensor model is meant, or a potential.
    """
    known = _TENSORS if tensors else _POTENTIALS
    name = os.fspath(path)
    if name not in known or Path(name).exists():
        return path
    return Path(str(files("jaxnmr") / "data" / known[name]))
