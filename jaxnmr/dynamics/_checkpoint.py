"""Checkpoints of a run: everything that the rest of it follows from, in one .npz file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import zipfile
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxnmr.dynamics._block import First, Series
from jaxnmr.dynamics._observe import Sums
from jaxnmr.dynamics._system import MDState, System
from jaxnmr.saving import written_aside

__all__ = ["Saved", "load", "save", "settings_of"]

Parts = tuple[MDState, Sums | None, First]


class Saved(NamedTuple):
    """A checkpoint as read."""

    path: str
    positions: np.ndarray
    leaves: list[np.ndarray]
    series: Series
    grown: list[Any]
    settings: dict[str, Any]

    def restored(self, like: Parts, settings: dict[str, Any]) -> tuple[MDState, Sums | None, First, Series]:
        """State, sums and the rest, put into what a run from the beginning would start with.

        Raises:
            ValueError: arguments that are not those of the first run.
        """
        # Files are written only where they were asked for, so not each setting is in both.
        for name, value in settings.items():
            if name in self.settings and self.settings[name] != value:
                raise ValueError(
                    f"resume: {self.path} was written with {name} {self.settings[name]}, now it is {value}; give the "
                    "same, or start anew from its positions and velocities."
                )
        arrays, rest = eqx.partition(like, eqx.is_array)
        now, tree = jax.tree.flatten(arrays)
        if len(now) != len(self.leaves) or any(
            a.shape != b.shape or a.dtype != b.dtype for a, b in zip(now, self.leaves, strict=False)
        ):
            raise ValueError(
                f"resume: {self.path} does not fit; give the same observe and precision, and a surface made from the same "
                "structure as at first (its neighbour list then has the same sizes)."
            )
        state, sums, first = eqx.combine(jax.tree.unflatten(tree, [jnp.asarray(leaf) for leaf in self.leaves]), rest)
        return state, sums, first, self.series


def settings_of(method: Any, system: System, run: dict[str, Any]) -> dict[str, Any]:
    """All that a run goes on with only if it is the same: the method's numbers, masses and atoms held, and the run's own."""
    numbers = {field.name: getattr(method, field.name) for field in dataclasses.fields(method)}
    told = {name: value if isinstance(value, int) else np.asarray(value).tolist() for name, value in numbers.items()}
    digest = hashlib.sha256(np.asarray(system.masses, np.float64).tobytes() + np.asarray(system.free, bool).tobytes())
    atoms = {"masses and fixed atoms of digest": digest.hexdigest()[:12], "centred": system.centred}
    return run | {"method": type(method).__name__} | told | atoms | {"boltzmann": float(system.boltzmann)}


def save(path: str | os.PathLike[str], parts: Parts, series: Series, grown: list[Any], settings: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    arrays = {"positions": np.asarray(parts[0].positions)}
    arrays |= {f"leaf{k}": np.asarray(leaf) for k, leaf in enumerate(jax.tree.leaves(eqx.filter(parts, eqx.is_array)))}
    arrays |= {f"series_{name}": part for name, part in series._asdict().items()}
    for k, (at, cell) in enumerate(grown):
        arrays |= {f"grown{k}": at} | ({} if cell is None else {f"grown_cell{k}": cell})
    arrays["settings"] = np.frombuffer(json.dumps(settings).encode(), np.uint8)
    with written_aside(path) as aside, open(aside, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load(path: str | os.PathLike[str]) -> Saved:
    """Read a checkpoint.

    Raises:
        ValueError: a file that is cut short, or something else.
        OSError: no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            parts = {name: file[name] for name in file.files}
        settings = json.loads(parts["settings"].tobytes())
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError) as error:
        raise ValueError(f"resume: {os.fspath(path)} is cut short or no checkpoint of md ({error}); start anew.") from None
    leaves = [parts[f"leaf{k}"] for k in range(sum(name.startswith("leaf") for name in parts))]
    series = Series(*(parts[f"series_{name}"] for name in Series._fields))
    grown, k = [], 0
    while f"grown{k}" in parts:
        grown.append((parts[f"grown{k}"], parts.get(f"grown_cell{k}")))
        k += 1
    return Saved(os.fspath(path), parts["positions"], leaves, series, grown, settings)
