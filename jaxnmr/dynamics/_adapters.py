"""Surfaces of other programs' energy functions: jax-md in jit, calculators of ASE through a host callback."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from jaxnmr.dynamics._masses import fixed_of, masses_of
from jaxnmr.dynamics._surface import Surface
from jaxnmr.structure import Structure

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["from_ase", "from_jax_md"]


class _JaxMDNeighbors:
    """What jax-md's neighbour list needs to follow the atoms as `Surface` asks; a pytree around its list."""

    def __init__(self, found: Any, allocate: Callable[..., Any]):
        self.graph, self._allocate = found, allocate

    @property
    def overflowed(self) -> Any:
        return self.graph.did_buffer_overflow

    def update(self, positions: Any, cell: Any = None) -> _JaxMDNeighbors:
        with _permissive():
            return _JaxMDNeighbors(self.graph.update(positions), self._allocate)

    def grow(self, positions: Any, cell: Any = None) -> _JaxMDNeighbors:
        with _permissive():
            return _JaxMDNeighbors(self._allocate(positions), self._allocate)


jax.tree_util.register_pytree_node(
    _JaxMDNeighbors,
    lambda node: ((node.graph,), node._allocate),
    lambda allocate, leaves: _JaxMDNeighbors(leaves[0], allocate),
)


class _Energy:
    """`energy_fn(R)` or `energy_fn(R, neighbor=...)` of jax-md, in the form that surfaces take."""

    sees_cell = False  # the box is inside of jax-md's displacement function

    def __init__(self, energy_fn: Callable[..., Any]):
        self.energy_fn = energy_fn

    def __call__(self, positions: Any, cell: Any, graph: Any) -> Any:
        with _permissive():
            return self.energy_fn(positions) if graph is None else self.energy_fn(positions, neighbor=graph)


def from_jax_md(
    energy_fn: Callable[..., Any],
    *,
    neighbor_fn: Any = None,
    positions: Any = None,
    cell: Any = None,
    pbc: Sequence[bool] | None = None,
    masses: Any = None,
    species: Sequence[str] | None = None,
    fixed: Sequence[bool] | None = None,
) -> Surface:
    """A surface of an energy function of jax-md; its box is the one that its displacement function was made with.

    That box cannot be read from the function: a periodic system needs it again as `cell`, or it would be taken for a
    molecule, which may turn. Positions are in Å, not fractions of the box (`periodic_general` needs
    `fractional_coordinates=False`), and the box stays as it is.

    Args:
        energy_fn: `energy_fn(R)`, or `energy_fn(R, neighbor=...)` together with `neighbor_fn`.
        neighbor_fn: jax-md's pair of `allocate` and `update`; lists are renewed under jit and their overflow is read.
        positions: where neighbours are listed at first; needed with `neighbor_fn`.
        cell: the box as lattice vectors in rows, Å, (3, 3): `np.diag(sides)` of `space.periodic(sides)`, `box.T` of
            `space.periodic_general(box)`, whose vectors are columns; None for `space.free()`.
        pbc: along which lattice vectors the atoms repeat; all of a cell unless given.
        masses: amu, (atom,).
        species: symbols of the elements.
        fixed: which atoms do not move.

    Raises:
        ValueError: `neighbor_fn` without positions, a cell of another shape.
    """
    neighbors = None
    if neighbor_fn is not None:
        if positions is None:
            raise ValueError("positions: needed with neighbor_fn, to list neighbours at first; give (atom, 3), in Å.")
        with _permissive():
            neighbors = _JaxMDNeighbors(neighbor_fn.allocate(jnp.asarray(positions)), neighbor_fn.allocate)
    return Surface(_Energy(energy_fn), masses, cell, species=species, fixed=fixed, pbc=pbc, neighbors=neighbors)


def from_ase(
    atoms: Atoms, *, calculator: Any = None, fixed: Sequence[bool] | None = None, force_step: float = 0.005
) -> Surface:
    r"""A surface of a calculator of ASE, called on the host from inside of jit.

    Forces are the calculator's. With a cell, its gradient comes from the stress,
    $\partial E/\partial\mathbf h = \mathbf h^{-\top}(V\sigma + \mathbf r^\top\mathbf F)$. Images and replicas run one
    after the other. Second derivatives are central differences of forces.

    Args:
        atoms: elements, masses, cell and periodicity; with its calculator unless one is given.
        calculator: of ASE.
        fixed: which atoms do not move; those of the atoms' `FixAtoms` unless given.
        force_step: of the differences, Å.

    Raises:
        ValueError: no calculator; another constraint than `FixAtoms`, and no `fixed`.
    """
    calculator = atoms.calc if calculator is None else calculator
    if calculator is None:
        raise ValueError("calculator: atoms have none; set atoms.calc or give one.")
    template, structure = atoms.copy(), Structure.from_ase(atoms)
    fixed = fixed_of(atoms) if fixed is None else fixed
    template.set_constraint()
    cell = np.asarray(atoms.get_cell()) if any(structure.pbc) else None

    def host(positions: Any, lattice: Any, with_stress: bool) -> tuple[np.ndarray, ...]:
        now = template.copy()
        now.set_positions(np.asarray(positions, np.float64))
        if cell is not None:
            now.set_cell(np.asarray(lattice, np.float64))
        now.calc = calculator
        dtype = np.asarray(positions).dtype
        energy, forces = now.get_potential_energy(), now.get_forces()
        pull = np.zeros((3, 3))
        if with_stress:
            virial = now.get_volume() * now.get_stress(voigt=False) + now.get_positions().T @ forces
            pull = np.linalg.solve(np.asarray(now.get_cell()).T, virial)
        return tuple(np.asarray(value, dtype) for value in (energy, forces, pull))

    def call(positions: Any, lattice: Any, with_stress: bool) -> Any:
        shapes = tuple(jax.ShapeDtypeStruct(s, positions.dtype) for s in ((), positions.shape, (3, 3)))
        return jax.pure_callback(lambda r, h: host(r, h, with_stress), shapes, positions, lattice, vmap_method="sequential")

    @jax.custom_jvp
    def energy_at(positions: Any, lattice: Any) -> Any:
        return call(positions, lattice, False)[0]

    def derivative(primals: Any, tangents: Any) -> Any:
        positions, lattice = primals
        moved, strained = (not isinstance(tangent, SymbolicZero) for tangent in tangents)
        # Not every calculator has a stress: it is asked for only where the cell is differentiated.
        energy, forces, pull = call(positions, lattice, strained)
        tangent = jnp.zeros_like(energy)
        if moved:
            tangent = tangent - jnp.sum(forces * tangents[0])
        if strained:
            tangent = tangent + jnp.sum(pull * tangents[1])
        return energy, tangent

    energy_at.defjvp(derivative, symbolic_zeros=True)

    def energy_fn(positions: Any, lattice: Any, graph: Any) -> Any:
        return energy_at(positions, jnp.asarray(np.eye(3) if lattice is None else lattice, positions.dtype))

    return Surface(
        energy_fn,
        masses_of(atoms),
        cell,
        species=structure.species,
        fixed=fixed,
        pbc=structure.pbc,
        force_step=force_step,
    )


@contextmanager
def _permissive() -> Iterator[None]:
    """Jax-md mixes ranks and dtypes, which users may have forbidden."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
