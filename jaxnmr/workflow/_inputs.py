"""What a run starts from, read and checked before any work: atoms, models, and digests of both."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jaxnmr.dynamics import Surface
from jaxnmr.isotopes import isotope
from jaxnmr.potential import load_potential, load_tensor_model
from jaxnmr.structure import Structure, read, supercell
from jaxnmr.workflow._config import RunConfig
from jaxnmr.workflow._folder import digest_of_file
from jaxnmr.workflow._hops import Event, moved_groups, proton_hops
from jaxnmr.workflow._sample import check_sampling

__all__ = ["Inputs", "elsewhere", "prepared"]


@dataclass(frozen=True)
class Inputs:
    """Atoms and models, and digests of them.

    Attributes:
        structure: the atoms.
        surface: that they move on.
        tensors: the model.
        events: the hops to look for.
        atoms_digest: of elements, positions and cell.
        ends_digest: of the minima given as files.
        surface_digest: of the potential.
        tensors_digest: of the tensor model.
    """

    structure: Structure
    surface: Surface
    tensors: Any
    events: tuple[Event, ...]
    atoms_digest: str
    ends_digest: str
    surface_digest: str
    tensors_digest: str


def prepared(config: RunConfig, potential: Any = None, tensors: Any = None) -> Inputs:
    """Read everything.

    Args:
        config: what to do.
        potential: a `Surface`, or what `jaxnmr.load_potential` gives, instead of the file.
        tensors: anything with `label(structure)`, instead of the file.

    Raises:
        ValueError: files that are not there or cannot be read, the nucleus or an element missing in structure or model,
            no hydrogen bond, ends that do not fit.
    """
    structure = _read(config)
    nucleus = isotope(config.experiment.isotope)
    if nucleus.symbol not in structure.species:
        raise ValueError(
            f"experiment.isotope: {config.structure.file} has no {nucleus.symbol}; it has {', '.join(structure.elements)}."
        )
    given = potential
    if given is None:
        if config.potential.file is None:
            raise ValueError("potential.file: is missing; name a model file.")
        given = load_potential(config.potential.file)
    unknown = [symbol for symbol in structure.elements if symbol not in getattr(given, "elements", structure.elements)]
    if unknown:
        raise ValueError(f"potential.file: does not know {', '.join(unknown)}; use a potential that was trained on them.")
    model = tensors
    if model is None:
        if config.tensors.file is None:
            raise ValueError("tensors.file: is missing; name a model file.")
        model = load_tensor_model(config.tensors.file)
        for name in ("shielding", "efg") if nucleus.is_quadrupolar else ("shielding",):
            if nucleus.symbol not in model.predicts(name):
                raise ValueError(f"tensors.file: has learnt no {name} of {nucleus.symbol}; use one that has.")
        unknown = [symbol for symbol in structure.elements if symbol not in model.elements]
        if unknown:
            raise ValueError(f"tensors.file: does not know {', '.join(unknown)}; use a model that was trained on them.")
    surface = given if isinstance(given, Surface) else Surface.from_potential(given, structure)
    check_sampling(config.sample, surface, model)
    ends = [read(path) for path in config.motion.ends]
    events: Sequence[Event] = ()
    if ends:
        events = moved_groups(structure, ends)
    elif config.motion.hops == "protons":
        events = proton_hops(structure)
    return Inputs(
        structure,
        surface,
        model,
        tuple(events),
        _digest_of_atoms([structure]),
        _digest_of_atoms(ends),
        _digest(given, None if potential is not None else config.potential.file),
        _digest(model, None if tensors is not None else config.tensors.file),
    )


def elsewhere(structure: Structure, positions: np.ndarray) -> Structure:
    """The same atoms at other positions, without tensors."""
    return Structure(
        structure.species,
        positions,
        structure.cell,
        structure.pbc,
        labels=structure.labels,
        indices=structure.indices,
        isotopes=structure.isotopes,
    )


def _read(config: RunConfig) -> Structure:
    asked = config.structure
    found = read(asked.file) if asked.frame is None else read(asked.file, frame=asked.frame)
    return supercell(found, asked.supercell_a) if asked.supercell_a > 0 else found


def _digest_of_atoms(structures: Sequence[Structure]) -> str:
    total = hashlib.sha256()
    for each in structures:
        total.update(repr((each.species, each.pbc, each.isotopes)).encode())
        total.update(np.asarray(each.positions, np.float64).tobytes())
        if each.cell is not None:
            total.update(np.asarray(each.cell, np.float64).tobytes())
    return total.hexdigest()


def _digest(model: Any, path: Path | None) -> str:
    # A model that comes with the package is known by its name, which is no file.
    return digest_of_file(path) if path is not None and path.is_file() else _digest_of_model(model)


def _digest_of_model(model: Any) -> str:
    """Of an object given in Python: its arrays and the code of its functions, not what that code reaches elsewhere."""
    total = hashlib.sha256(type(model).__qualname__.encode())
    whole = model if isinstance(model, eqx.Module) else vars(model) if hasattr(model, "__dict__") else model
    # A neighbour list belongs to the atoms, which count by themselves.
    for path, leaf in jax.tree_util.tree_leaves_with_path(whole):
        name = jax.tree_util.keystr(path)
        if "neighbors" in name:
            continue
        total.update(name.encode())
        if eqx.is_array_like(leaf):
            total.update(np.asarray(leaf).tobytes())
        elif callable(leaf):
            _add_code(total, leaf)
    for name in ("label", "tensor_fn", "energy_fn"):
        _add_code(total, getattr(type(model), name, None) or getattr(model, name, None))
    for name in ("fixed", "species", "force_step", "config"):
        total.update(repr(getattr(model, name, None)).encode())
    return total.hexdigest()


def _add_code(total: Any, function: Any) -> None:
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is not None:
        constants = [each for each in code.co_consts if isinstance(each, int | float | str | bytes | tuple)]
        total.update(code.co_code + repr((code.co_names, constants)).encode())
