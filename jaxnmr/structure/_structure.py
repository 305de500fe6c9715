"""The atoms' type: what is where, and the shielding and field-gradient tensor of each atom."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxnmr.errors import is_concrete, missing_extra, near
from jaxnmr.isotopes import isotope
from jaxnmr.rotations import Numeric
from jaxnmr.structure._elements import ELEMENTS

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Structure", "lattice_of"]

Numbers = Array | np.ndarray


class Structure(eqx.Module):
    r"""Atoms of a crystal or a molecule, with the tensors that a calculation gave them.

    Arrays are kept in float64 NumPy whether or not JAX runs in double precision, since a file's digits are worth
    keeping (a shielding of 8000 ppm in float32 is good to 1e-3 ppm only); traced arrays stay traced. They are leaves of
    a pytree, names are static.

    The first index of a shielding is that of the applied field: $B^{ind}_j = -B_i\sigma_{ij}$, so that the Zeeman
    energy is $-\gamma\hbar\, B_i (1 - \sigma)_{ij} I_j$: the order in which files print it (see `read`) and ASE keeps it.

    Args:
        species: symbol of each element, "Si".
        positions: cartesian, Å, (atom, 3).
        cell: lattice vectors in rows, Å, (3, 3); None without a lattice.
        pbc: along which lattice vectors the atoms repeat; along all where there is a cell, unless said otherwise.
        labels: the site of each atom, as "O1" of a crystal structure; the species unless given. No blanks.
        indices: number of each atom among those of its label; counted from 1 unless given. Label and index together
            are an atom's name, "O1_4".
        isotopes: nucleus of each atom, "17O", or None for natural abundance.
        shielding: absolute magnetic shieldings, ppm, (atom, 3, 3), NaN where an atom has none.
        efg: electric field gradients, atomic units (9.717e21 V/m²), (atom, 3, 3), NaN where an atom has none.
        source: where this comes from, such as a file's name.
        code: program and version that computed the tensors.

    Raises:
        ValueError: an unknown element or isotope, shapes that do not fit, positions that are not finite, a cell
            without volume, periodicity without a cell, a tensor with only some of its elements, two atoms of one name.
    """

    species: tuple[str, ...] = eqx.field(static=True)
    positions: Float[Numbers, "atom 3"]
    cell: Float[Numbers, "3 3"] | None
    pbc: tuple[bool, bool, bool] = eqx.field(static=True)
    labels: tuple[str, ...] = eqx.field(static=True)
    indices: tuple[int, ...] = eqx.field(static=True)
    isotopes: tuple[str | None, ...] | None = eqx.field(static=True)
    shielding: Float[Numbers, "atom 3 3"]
    efg: Float[Numbers, "atom 3 3"]
    source: str = eqx.field(static=True)
    code: str = eqx.field(static=True)

    def __init__(
        self,
        species: Sequence[str],
        positions: Numeric,
        cell: Numeric | None = None,
        pbc: bool | Sequence[bool] | None = None,
        *,
        labels: Sequence[str] | None = None,
        indices: Sequence[int] | None = None,
        isotopes: Sequence[str | None] | None = None,
        shielding: Numeric | None = None,
        efg: Numeric | None = None,
        source: str = "",
        code: str = "",
    ):
        n = len(species)
        if n == 0:
            raise ValueError("species: got no atom; give one symbol for each.")
        self.species = tuple(species)
        self.positions = _numbers("positions", positions, (n, 3))
        self.cell = None if cell is None else _numbers("cell", cell, (3, 3))
        periodic = (cell is not None) if pbc is None else pbc
        self.pbc = _three(periodic)
        self.labels = self.species if labels is None else tuple(labels)
        self.indices = _counted(self.labels) if indices is None else tuple(int(i) for i in indices)
        self.isotopes = None if isotopes is None else tuple(None if i is None else isotope(i).name for i in isotopes)
        self.shielding = _tensors("shielding", shielding, n)
        self.efg = _tensors("efg", efg, n)
        self.source = source
        self.code = code

    def __check_init__(self):
        n = len(self.species)
        for symbol in self.species:
            if symbol not in ELEMENTS:
                raise ValueError(f"species: got {symbol!r}{near(symbol, ELEMENTS)}; give symbols of elements, as 'Si'.")
        for name, given in (("labels", self.labels), ("indices", self.indices), ("isotopes", self.isotopes)):
            if given is not None and len(given) != n:
                raise ValueError(f"{name}: {len(given)} came for {n} atoms; give one for each.")
        for label in self.labels:
            if not label or any(c.isspace() or c == "#" for c in label):
                raise ValueError(f"labels: got {label!r}; a label has at least one character, no blank and no '#'.")
        if len(set(zip(self.labels, self.indices, strict=True))) != n:
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise ValueError(f"indices: two atoms are called {twice!r}; give indices that tell them apart.")
        for symbol, nucleus in zip(self.species, self.isotopes or (), strict=False):
            if nucleus is not None and isotope(nucleus).symbol != symbol:
                raise ValueError(f"isotopes: got {nucleus!r} for an atom of {symbol}; give a nucleus of that element.")
        if any(self.pbc) and self.cell is None:
            raise ValueError(f"pbc: got {self.pbc} without a cell; give cell, or pbc=False.")
        self._check_values()

    def _check_values(self):
        if is_concrete(self.positions) and not np.isfinite(np.asarray(self.positions)).all():
            raise ValueError("positions: not finite; check their source.")
        if self.cell is not None and is_concrete(self.cell):
            cell = np.asarray(self.cell, dtype=np.float64)
            volume = abs(np.linalg.det(cell))
            if not volume > 1e-6 * np.linalg.norm(cell, axis=1).prod():
                raise ValueError(f"cell: got {cell.tolist()}, which has no volume; give three lattice vectors in rows.")
        for name, value in (("shielding", self.shielding), ("efg", self.efg)):
            if is_concrete(value):
                missing = np.isnan(np.asarray(value)).sum(axis=(1, 2))
                part = (missing > 0) & (missing < 9) | np.isinf(np.asarray(value)).any(axis=(1, 2))
                if part.any():
                    raise ValueError(
                        f"{name}: the tensor of {self.names[int(part.argmax())]} has elements that are not finite; give "
                        "nine numbers, or nine NaN where there is none."
                    )

    def __len__(self) -> int:
        """Number of atoms."""
        return len(self.species)

    @property
    def names(self) -> tuple[str, ...]:
        """Label and index of each atom, "O1_4"."""
        return tuple(f"{label}_{index}" for label, index in zip(self.labels, self.indices, strict=True))

    @property
    def elements(self) -> tuple[str, ...]:
        """The elements that are there, each once, in order of their first atom."""
        return tuple(dict.fromkeys(self.species))

    @property
    def has_shielding(self) -> Bool[Numbers, " atom"]:
        """Which atoms have a shielding tensor."""
        return _present(self.shielding)

    @property
    def has_efg(self) -> Bool[Numbers, " atom"]:
        """Which atoms have a field gradient."""
        return _present(self.efg)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a magres or extxyz file; see `jaxnmr.structure.write`."""
        from jaxnmr.structure._write import write

        write(self, path)

    @classmethod
    def from_ase(cls, atoms: Atoms) -> Structure:
        """Atoms of ASE.

        Args:
            atoms: arrays "ms" and "efg", "labels" and "indices" are taken along where they are there, tensors as ASE's
                magres reader leaves them: in the file's order, None or NaN where an atom has none. Lattice vectors that
                ASE keeps as zeros, as of a slab, are completed at right angles to the others.

        Raises:
            ValueError: atoms that repeat along a lattice vector that is zero; as `Structure` otherwise.
        """
        n, (cell, pbc) = len(atoms), lattice_of(atoms)
        tensors = {}
        for name in ("ms", "efg"):
            rows = np.full((n, 9), np.nan)
            for row, value in zip(rows, atoms.arrays.get(name, ()), strict=False):
                if value is not None:
                    row[:] = np.asarray(value, dtype=np.float64).reshape(9)
            tensors[name] = rows.reshape(-1, 3, 3)
        labels = atoms.arrays.get("labels")
        indices = atoms.arrays.get("indices")
        return cls(
            species=tuple(str(symbol) for symbol in atoms.get_chemical_symbols()),
            positions=atoms.get_positions(),
            cell=cell,
            pbc=pbc,
            labels=None if labels is None else tuple(str(label) for label in labels),
            indices=None if indices is None else tuple(int(index) for index in indices),
            shielding=tensors["ms"],
            efg=tensors["efg"],
            source=str(atoms.info.get("source", "")),
            code=str(atoms.info.get("code", "")),
        )

    def to_ase(self) -> Atoms:
        """The same as Atoms of ASE, tensors in the arrays "ms" and "efg" as ASE's magres reader would leave them.

        Returns:
            Atoms with "labels", "indices" and those tensors that any atom has; `info` holds their units, `source` and
            `code`.

        Raises:
            ImportError: ASE is not installed.
        """
        try:
            from ase import Atoms
        except ImportError:
            raise missing_extra("ase", "atoms") from None
        atoms = Atoms(
            symbols=list(self.species),
            positions=np.asarray(self.positions),
            cell=None if self.cell is None else np.asarray(self.cell),
            pbc=self.pbc,
        )
        atoms.new_array("labels", np.array(self.labels))
        atoms.new_array("indices", np.array(self.indices))
        units = {}
        for name, unit, tensors in (("ms", "ppm", self.shielding), ("efg", "au", self.efg)):
            if not np.isnan(np.asarray(tensors)).all():
                atoms.new_array(name, np.asarray(tensors))
                units[name] = unit
        atoms.info |= {"magres_units": units} if units else {}
        atoms.info |= {name: text for name, text in (("source", self.source), ("code", self.code)) if text}
        return atoms


def lattice_of(atoms: Atoms) -> tuple[np.ndarray | None, tuple[bool, bool, bool]]:
    """Lattice vectors and periodicity of Atoms of ASE, which keeps a slab's or a chain's missing vectors as zeros.

    These are completed at right angles to the others, since nothing repeats along them; without any there is no lattice.

    Raises:
        ValueError: atoms that repeat along a lattice vector that is zero.
    """
    pbc = _three([bool(periodic) for periodic in atoms.get_pbc()])
    cell = np.asarray(atoms.get_cell(), dtype=np.float64)
    if not any(pbc) and abs(np.linalg.det(cell)) == 0:
        return None, pbc
    lengths = np.linalg.norm(cell, axis=1)
    for axis, (periodic, length) in enumerate(zip(pbc, lengths, strict=True)):
        if periodic and length == 0:
            raise ValueError(f"atoms: pbc is {pbc} but lattice vector {'abc'[axis]} is zero; set the cell, or pbc.")
    if (lengths == 0).any():
        cell = np.asarray(atoms.get_cell().complete(), dtype=np.float64)
    return cell, pbc


def _numbers(name: str, value: Numeric, shape: tuple[int, ...]) -> Numbers:
    """A value as a float64 array of this shape that nobody can write to, or as it is where it is traced."""
    if not is_concrete(value):
        array = jnp.asarray(value)
    else:
        array = np.array(value, dtype=np.float64)
        array.flags.writeable = False
    if array.shape != shape:
        raise ValueError(f"{name}: got shape {array.shape}; give {shape}.")
    return array


def _tensors(name: str, value: Numeric | None, n: int) -> Numbers:
    return _numbers(name, np.full((n, 3, 3), np.nan) if value is None else value, (n, 3, 3))


def _three(pbc: bool | Sequence[bool]) -> tuple[bool, bool, bool]:
    if isinstance(pbc, bool | np.bool_):
        return bool(pbc), bool(pbc), bool(pbc)
    if len(pbc) != 3:
        raise ValueError(f"pbc: got {len(pbc)} values; give one, or three.")
    return bool(pbc[0]), bool(pbc[1]), bool(pbc[2])


def _counted(labels: Sequence[str]) -> tuple[int, ...]:
    """1, 2, ... among the atoms of each label."""
    seen: dict[str, int] = {}
    for_each = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        for_each.append(seen[label])
    return tuple(for_each)


def _present(tensors: Numbers) -> Numbers:
    if is_concrete(tensors):
        return np.asarray(~np.isnan(np.asarray(tensors)).any(axis=(1, 2)))
    return ~jnp.isnan(tensors).any(axis=(1, 2))
