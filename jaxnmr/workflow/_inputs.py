"""What a run starts from, read and checked before any work: atoms, models, and digests of both."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxnmr.dynamics import Surface
from jaxnmr.errors import warn
from jaxnmr.isotopes import Isotope, isotope
from jaxnmr.potential import load_potential, load_tensor_model
from jaxnmr.structure import Structure
from jaxnmr.workflow._compare import measured_of
from jaxnmr.workflow._config import RunConfig
from jaxnmr.workflow._crystal import check_atoms, crystal, elsewhere, ends_of, is_heavier, weighed
from jaxnmr.workflow._folder import digest_of_file
from jaxnmr.workflow._heard import listening, repeated, sentences
from jaxnmr.workflow._hops import Event, moved_groups, proton_hops
from jaxnmr.workflow._likeness import likeness_of
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
        names_digest: of the atoms' names.
        masses_digest: of the masses, and of which atoms are held.
        surface_digest: of the potential.
        tensors_digest: of the tensor model.
        remarks: on what was read, and on what was chosen where the files say nothing.
    """

    structure: Structure
    surface: Surface
    tensors: Any
    events: tuple[Event, ...]
    atoms_digest: str
    ends_digest: str
    names_digest: str
    masses_digest: str
    surface_digest: str
    tensors_digest: str
    remarks: tuple[str, ...] = ()


def prepared(config: RunConfig, potential: Any = None, tensors: Any = None) -> Inputs:
    """Read everything.

    Args:
        config: what to do.
        potential: a `Surface`, or what `jaxnmr.load_potential` gives, instead of the file.
        tensors: anything with `label(structure)`, instead of the file.

    Raises:
        ValueError: files that are not there or cannot be read, the nucleus, an observed atom or an element missing in
            structure or model, no hydrogen bond, ends that do not fit, a measured spectrum beside the axis.
    """
    caught: list[warnings.WarningMessage] = []
    try:
        with listening(caught):
            found = _prepared(config, potential, tensors)
    finally:
        repeated(caught)
    return replace(found, remarks=(*sentences(caught), *found.remarks))


def _prepared(config: RunConfig, potential: Any, tensors: Any) -> Inputs:
    cell, structure = crystal(config)
    nucleus = isotope(config.experiment.isotope)
    check_atoms(structure, nucleus, config.structure.atoms)
    measured_of(config)  # what cannot be compared is refused now, and not after hours
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
    # Of a model given in Python nothing is known that it does not tell.
    for name in ("shielding", "efg") if nucleus.is_quadrupolar else ("shielding",):
        if hasattr(model, "predicts") and nucleus.symbol not in model.predicts(name):
            raise ValueError(f"tensors.file: has learnt no {name} of {nucleus.symbol}; use one that has.")
        irreps = {each.name: each.irreps for each in getattr(model, "properties", ()) if each.shape != (3, 3)}
        if name in irreps:
            raise ValueError(
                f"tensors.file: its {name} has the irreps {irreps[name]}, no tensors of atoms, and there are no line shapes "
                "without; use a model of whole tensors."
            )
    unknown = [symbol for symbol in structure.elements if symbol not in getattr(model, "elements", structure.elements)]
    if unknown:
        raise ValueError(f"tensors.file: does not know {', '.join(unknown)}; use a model that was trained on them.")
    if isinstance(given, Surface):
        surface, remarks = given, _of_masses(given, structure, nucleus)
    else:
        structure, remarks = weighed(structure, nucleus)
        surface = Surface.from_potential(given, structure)
    check_sampling(config.sample, surface, model)
    ends = ends_of(cell, structure, config.motion.ends)
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
        hashlib.sha256(repr(structure.names).encode()).hexdigest(),
        _digest_of_masses(surface),
        _digest(given, None if potential is not None else config.potential.file, "potential"),
        _digest(model, None if tensors is not None else config.tensors.file, "tensors"),
        remarks,
    )


def _of_masses(surface: Surface, structure: Structure, nucleus: Isotope) -> tuple[str, ...]:
    """Whether a surface that came with its own masses has others than the observed isotope."""
    if surface.masses is None:
        return ()
    masses, named = np.asarray(surface.masses, np.float64), structure.isotopes or (None,) * len(structure)
    mine = [k for k, symbol in enumerate(structure.species) if symbol == nucleus.symbol and named[k] in (None, nucleus.name)]
    other = [float(masses[k]) for k in mine if is_heavier(float(masses[k]), nucleus)]
    if not other:
        return ()
    return (
        f"experiment.isotope: {nucleus.name} is observed, and the surface that was given has {nucleus.symbol} of "
        f"{other[0]:g} amu; give it the masses of the sample.",
    )


def _digest_of_masses(surface: Surface) -> str:
    masses = b"" if surface.masses is None else np.asarray(surface.masses, np.float64).tobytes()
    return hashlib.sha256(masses + repr(surface.fixed).encode()).hexdigest()


def _digest_of_atoms(structures: Sequence[Structure]) -> str:
    """What energies depend on: masses and names count apart, where something depends on them."""
    total = hashlib.sha256()
    for each in structures:
        total.update(repr((each.species, each.pbc)).encode())
        total.update(np.asarray(each.positions, np.float64).tobytes())
        if each.cell is not None:
            total.update(np.asarray(each.cell, np.float64).tobytes())
    return total.hexdigest()


def _digest(model: Any, path: Path | None, name: str) -> str:
    # A model that comes with the package is known by its name, which is no file.
    if path is not None and path.is_file():
        return digest_of_file(path)
    digest, blind = likeness_of(model)
    if blind:
        warn(
            f"{name}: {', '.join(blind)} cannot be looked into, so that a run that is taken up again does not see when that "
            "has changed; name another output.folder then, or make everything anew with force=True."
        )
    return digest
