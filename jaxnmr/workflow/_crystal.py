"""The atoms of a run: read, repeated, with the masses that the experiment means, and the minima that go with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import jax.numpy as jnp
import numpy as np

from jaxnmr.dynamics import Surface
from jaxnmr.isotopes import Isotope
from jaxnmr.spins import selected
from jaxnmr.structure import Structure, read, supercell
from jaxnmr.workflow._config import RunConfig
from jaxnmr.workflow._hops import fragments, nearest_steps

__all__ = ["check_atoms", "crystal", "elsewhere", "ends_of", "weighed"]

# Where the observed isotope is heavier or lighter than the element by more than this share, the sample was made of it.
_HEAVIER = 0.1
# An atom that goes farther has moved, Å; as in `moved_groups`.
_FAR = 0.3
Found = TypeVar("Found")


def crystal(config: RunConfig) -> tuple[Structure, Structure]:
    """The atoms as they stand in the file, and repeated as the run is asked to.

    Raises:
        ValueError: a file that is not there or cannot be read, no cell to repeat.
    """
    asked = config.structure
    found = _told("structure.file", lambda: read(asked.file) if asked.frame is None else read(asked.file, frame=asked.frame))
    if asked.supercell_a == 0:
        return found, found
    return found, _told("structure.supercell_a", lambda: supercell(found, asked.supercell_a))


def weighed(structure: Structure, nucleus: Isotope) -> tuple[Structure, tuple[str, ...]]:
    """The atoms with the observed isotope written to those of its element, where the file says of none what it is.

    A deuterium spectrum is of a deuterated sample, and deuterons hop and swing more slowly than protons. Where the isotope
    and the element differ by less than a tenth, as 17O and oxygen, most neighbours are of the common isotope, and rates
    differ by some per cent: masses stay those of the element.

    Args:
        structure: the atoms.
        nucleus: what is observed.

    Returns:
        The atoms, and remarks on what was chosen.
    """
    named = structure.isotopes or (None,) * len(structure)
    mine = [k for k, symbol in enumerate(structure.species) if symbol == nucleus.symbol]
    plain = [k for k in mine if named[k] is None]
    if not plain or not is_heavier(standard_mass(nucleus.symbol), nucleus):
        return structure, ()
    if len(plain) < len(mine):
        return structure, (
            f"structure.file: {len(plain)} of {len(mine)} {nucleus.symbol} say no isotope beside others that do; they keep "
            f"the mass of the element. Label them if they are {nucleus.name}.",
        )
    isotopes = tuple(nucleus.name if k in mine else name for k, name in enumerate(named))
    return elsewhere(structure, np.asarray(structure.positions), isotopes), (
        f"structure.file: says no isotope of {nucleus.symbol}; all {len(mine)} have the mass of {nucleus.name}, which is "
        "observed. Label the atoms where some are of another isotope.",
    )


def standard_mass(symbol: str) -> float:
    """Standard atomic weight of an element, amu."""
    return float(np.asarray(Surface(jnp.sum, species=(symbol,)).masses)[0])


def is_heavier(mass: float, nucleus: Isotope) -> bool:
    """Whether an isotope's mass is another one by more than a tenth."""
    return abs(nucleus.mass_number / mass - 1) > _HEAVIER


def check_atoms(structure: Structure, nucleus: Isotope, atoms: Sequence[int | str] | None) -> None:
    """Refuse observed atoms that are not there, before any model has been asked for their tensors.

    Raises:
        ValueError: no atom of the isotope, an atom that is not there or of another element, one that came twice.
    """
    zeros = np.zeros((len(structure), 3, 3))
    whole = Structure(
        structure.species,
        np.asarray(structure.positions),
        labels=structure.labels,
        indices=structure.indices,
        isotopes=structure.isotopes,
        shielding=zeros,
        efg=zeros,
        source=structure.source,
    )
    try:
        selected(whole, nucleus, atoms)
    except ValueError as error:
        table = "structure." if str(error).startswith("atoms:") else "experiment."
        raise ValueError(f"{table}{error}") from None


def ends_of(cell: Structure, whole: Structure, paths: Sequence[Path]) -> list[Structure]:
    """The minima given as files; of one cell repeated as the structure is, one event for each copy.

    An end of the cell means that all its copies hop at once, since they repeat. In a larger cell they need not, and a
    barrier of them all would be the sum of theirs: so each copy has an end of its own, in which the others rest.

    Args:
        cell: the atoms as read.
        whole: repeated.
        paths: files.

    Raises:
        ValueError: files that are not there, other atoms, another cell.
    """
    found: list[Structure] = []
    for k, path in enumerate(paths):
        end = _told(f"motion.ends[{k}]", lambda path=path: read(path))
        if len(end) == len(whole):
            found.append(end)
        elif len(end) == len(cell):
            found += _copies(cell, whole, end, k)
        else:
            raise ValueError(
                f"motion.ends[{k}]: has {len(end)} atoms; the structure has {len(cell)}"
                + (f", and {len(whole)} repeated by structure.supercell_a" if len(whole) > len(cell) else "")
                + "; give as many, in the same order."
            )
    return found


def elsewhere(structure: Structure, positions: np.ndarray, isotopes: Sequence[str | None] | None = None) -> Structure:
    """The same atoms at other positions, without tensors; with other isotopes if they are given."""
    return Structure(
        structure.species,
        positions,
        structure.cell,
        structure.pbc,
        labels=structure.labels,
        indices=structure.indices,
        isotopes=structure.isotopes if isotopes is None else isotopes,
        source=structure.source,
    )


def _copies(cell: Structure, whole: Structure, end: Structure, k: int) -> list[Structure]:
    """An end for each copy of the cell: what moved in the one moves there, with the nearest images of what moves along."""
    if end.species != cell.species:
        raise ValueError(f"motion.ends[{k}]: has other atoms than the structure, or in another order; correct it.")
    if end.cell is None or not np.allclose(np.asarray(end.cell), np.asarray(cell.cell), atol=1e-4):
        raise ValueError(f"motion.ends[{k}]: has another cell than the structure; minimise both in one cell.")
    n, copies, start = len(cell), len(whole) // len(cell), np.asarray(whole.positions, np.float64)
    step = nearest_steps(np.asarray(end.positions, np.float64) - np.asarray(cell.positions, np.float64), cell)
    far = np.flatnonzero(np.linalg.norm(step, axis=1) > _FAR)
    if not len(far):
        raise ValueError(f"motion.ends[{k}]: no atom is {_FAR} Å from where it was; give another minimum.")
    steps, molecule = np.tile(step, (copies, 1)), fragments(whole)
    # A network holds several images of one atom: of it the atoms that move go, and not all that hangs together.
    endless = {int(m) for m in range(molecule.max() + 1) if np.bincount(np.flatnonzero(molecule == m) % n).max() > 1}
    found: dict[bytes, Structure] = {}
    for copy in range(copies):
        seed, inside = copy * n + far[0], np.zeros(len(whole), bool)
        for atom in far:
            images = atom + n * np.arange(copies)
            if inside[images].any():
                continue
            near = images[np.argmin(np.linalg.norm(nearest_steps(start[images] - start[seed], whole), axis=1))]
            inside |= np.arange(len(whole)) == near if int(molecule[near]) in endless else molecule == molecule[near]
        found.setdefault(inside.tobytes(), elsewhere(whole, start + steps * inside[:, None]))
    return list(found.values())


def _told(key: str, make: Callable[[], Found]) -> Found:
    """What is read; a refusal names the key of the configuration that it comes from.

    Raises:
        ValueError: whatever was wrong.
    """
    try:
        return make()
    except ValueError as error:
        raise ValueError(f"{key}: {str(error).removeprefix('path: ')}") from None
    except OSError as error:
        raise ValueError(f"{key}: {error.filename or ''} cannot be read ({error.strerror or error}); correct it.") from None
