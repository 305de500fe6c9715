"""The state of a training on disk, to go on from as if nothing had happened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnmr.potential._container import contents, pack, unpack

__all__ = ["read_checkpoint", "write_checkpoint"]

_FORMAT, _VERSION = "jaxnmr-checkpoint", 1


def write_checkpoint(path: Path, state: Any, place: dict[str, int | float | str]) -> None:
    """Write all numbers of a pytree, and where in the training they belong."""
    arrays = {f"{k:06d}": np.asarray(leaf) for k, leaf in enumerate(jax.tree.leaves(state))}
    pack(path, _FORMAT, _VERSION, json.dumps(place), arrays)


def read_checkpoint(path: Path, like: Any, fingerprint: str) -> tuple[Any, dict[str, int | float | str]] | None:
    """The pytree and its place, or None where there is no checkpoint.

    Args:
        path: the file.
        like: a pytree of that structure.
        fingerprint: of the training; one of another is not taken up.

    Raises:
        ValueError: the checkpoint is of another training, or damaged.
    """
    if not path.exists():
        return None
    content = contents(path)
    try:
        text, arrays = unpack(content, str(path), _FORMAT, _VERSION)
        place = json.loads(text)
    except ValueError:
        raise ValueError(
            f"path: {path} is damaged, or no checkpoint of this version; remove it, or begin anew with --restart."
        ) from None
    leaves, structure = jax.tree.flatten(like)
    given = [arrays[name] for name in sorted(arrays)]
    same = len(given) == len(leaves) and all(np.shape(a) == np.shape(b) for a, b in zip(given, leaves, strict=False))
    if place.get("fingerprint") != fingerprint or not same:
        raise ValueError(
            f"path: {path} is the checkpoint of a training with other settings or data; remove it to begin anew "
            "(--restart), or train in another folder: there, from the model of this folder as model.start, to go on from "
            "what was learnt."
        )
    return jax.tree.unflatten(structure, [jnp.asarray(array) for array in given]), place
