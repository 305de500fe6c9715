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
from jaxnmr.dynamics._surface import Surface
from jaxnmr.dynamics._system import MDState, System
from jaxnmr.saving import written_aside

__all__ = ["Saved", "load", "save", "settings_of"]

Parts = tuple[MDState, Sums | None, First]


class Saved(NamedTuple):
    """A checkpoint as read."""

    path: str
    positions: np.ndarray
    cell: np.ndarray | None
    leaves: list[np.ndarray]
    series: Series
    grown: list[Any]
    settings: dict[str, Any]

    def restored(
        self, like: Parts, settings: dict[str, Any], surface: Surface
    ) -> tuple[MDState, Sums | None, First, Series]:
        """State, sums and the rest, put into what a run that begins at the saved positions and cell would start with.

        Raises:
            ValueError: arguments, or a surface, that are not those of the first run.
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
        self._check_energy(like[0], state, first, surface)
        return state, sums, first, self.series

    def _check_energy(self, now: MDState, then: MDState, first: First, surface: Surface) -> None:
        if now.neighbors is not None and np.asarray(now.neighbors.overflowed).any():
            return  # nothing to compare with yet: the list is grown as soon as the run goes on
        here, there = np.asarray(now.energy, np.float64), np.asarray(then.energy, np.float64)
        # Programs compiled in another way, or for another device, round differently; the coarsest numbers decide. What is
        # far below kT moves nobody.
        floats = [x.dtype for x in jax.tree.leaves((surface, then)) if eqx.is_inexact_array(x)]
        rounding = 300 * max(float(jnp.finfo(dtype).eps) for dtype in floats)
        pull = np.abs(np.asarray(then.gradient, np.float64)).sum(axis=(-2, -1))
        apart, slight = np.abs(here - there), 0.01 * np.asarray(first.thermal, np.float64)
        if (apart <= rounding * (np.abs(there) + pull) + slight).all():
            return
        k = int(np.argmax(apart))
        replica = f" of replica {k}" if apart.ndim else ""
        raise ValueError(
            f"resume: {self.path} was written on another surface: its last energy{replica} is {there.ravel()[k]:.10g}, that "
            f"of this surface at the same positions {here.ravel()[k]:.10g}, {apart.ravel()[k]:.3g} apart; give the surface "
            "of the first run, or start anew from its positions and velocities."
        )


def settings_of(method: Any, system: System, run: dict[str, Any]) -> dict[str, Any]:
    """All that a run goes on with only if it is the same: the method's numbers, masses and atoms held, and the run's own."""
    numbers = {field.name: getattr(method, field.name) for field in dataclasses.fields(method)}
    told = {name: value if isinstance(value, int) else np.asarray(value).tolist() for name, value in numbers.items()}
    digest = hashlib.sha256(np.asarray(system.masses, np.float64).tobytes() + np.asarray(system.free, bool).tobytes())
    atoms = {"masses and fixed atoms of digest": digest.hexdigest()[:12], "centred": system.centred}
    return run | {"method": type(method).__name__} | told | atoms | {"boltzmann": float(system.boltzmann)}


def save(path: str | os.PathLike[str], parts: Parts, series: Series, grown: list[Any], settings: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    arrays: dict[str, Any] = {"positions": np.asarray(parts[0].positions)}
    arrays |= {f"leaf{k}": np.asarray(leaf) for k, leaf in enumerate(jax.tree.leaves(eqx.filter(parts, eqx.is_array)))}
    arrays |= {f"series_{name}": part for name, part in series._asdict().items()}
    if parts[0].cell is not None:
        arrays["cell"] = np.asarray(parts[0].cell)
    for k, (at, cell) in enumerate(grown):
        arrays |= {f"grown{k}": at} | ({} if cell is None else {f"grown_cell{k}": cell})
    arrays["settings"] = np.frombuffer(json.dumps(settings).encode(), np.uint8)
    with written_aside(path) as aside, open(aside, "wb") as file:
        # No `allow_pickle`: NumPy below 2.1 would write it as an array of that name.
        np.savez(file, **arrays)


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
    return Saved(os.fspath(path), parts["positions"], parts.get("cell"), leaves, series, grown, settings)
