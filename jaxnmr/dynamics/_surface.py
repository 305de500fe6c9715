"""The potential-energy surface on which everything else moves: an energy function with what belongs to it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.dynamics._masses import fixed_of, masses_of, standard_masses
from jaxnmr.errors import is_concrete
from jaxnmr.structure import NeighborList, Structure, as_structure

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["EnergyFunction", "Surface", "as_surface"]

Numbers = Array | np.ndarray
EnergyFunction = Callable[..., Any]


class Surface(eqx.Module):
    r"""A potential-energy surface $E(\mathbf r, \mathbf h)$ with the masses and the cell of what moves on it.

    The energy function has the form `energy_fn(positions, cell, graph) -> energy`, or takes positions alone. It is pure
    and differentiable; to differentiate results in its parameters, hand it over as a pytree
    (`jax.tree_util.Partial(energy, parameters)`, or a method of an equinox Module). Units are eV, Å and amu; a function
    without units (a toy potential, Lennard-Jones in ε and σ) is as good, and results then have its units.

    Args:
        energy_fn: the function; `graph` is `neighbors.graph` where there are neighbours, else `graph`.
        masses: amu, (atom,); standard atomic weights where `species` are given. Only vibrations and rates need them.
        cell: lattice vectors in rows, Å, (3, 3); None without a lattice.
        species: symbols of the elements, for masses, matching and files.
        fixed: which atoms do not move, (atom,) of bool.
        pbc: along which lattice vectors the atoms repeat, three of bool; as the neighbours have it, or along all where there
            is a cell, unless given.
        graph: handed to the energy function as it is.
        neighbors: a list that follows the atoms: `NeighborList`, or anything with `graph`, `overflowed`,
            `update(positions, cell)` (under jit) and `grow(positions, cell)` (on the host).
        force_step: None: second derivatives by automatic differentiation. A distance, Å: by central differences of
            forces, for energy functions that can be differentiated only once.

    Raises:
        ValueError: shapes or lengths that do not fit, masses that are not positive, an energy function that takes
            neither one nor three arguments.
    """

    energy_fn: EnergyFunction
    masses: Float[Numbers, " atom"] | None
    cell: Float[Numbers, "3 3"] | None
    graph: Any
    neighbors: Any
    fixed: tuple[bool, ...] | None = eqx.field(static=True)
    species: tuple[str, ...] | None = eqx.field(static=True)
    pbc: tuple[bool, bool, bool] | None = eqx.field(static=True)
    force_step: float | None = eqx.field(static=True)
    takes_positions_only: bool = eqx.field(static=True)

    def __init__(
        self,
        energy_fn: EnergyFunction,
        masses: Any = None,
        cell: Any = None,
        *,
        species: Sequence[str] | None = None,
        fixed: Sequence[bool] | np.ndarray | None = None,
        pbc: Sequence[bool] | None = None,
        graph: Any = None,
        neighbors: Any = None,
        force_step: float | None = None,
    ):
        self.energy_fn = energy_fn
        self.species = None if species is None else tuple(species)
        if masses is None and self.species is not None:
            masses = standard_masses(self.species)
        self.masses = None if masses is None else _array(masses)
        self.cell = None if cell is None else _array(cell)
        self.graph = graph
        self.neighbors = neighbors
        self.fixed = None if fixed is None else tuple(bool(f) for f in np.asarray(fixed))
        pbc = getattr(neighbors, "pbc", None) if pbc is None else pbc
        self.pbc = None if pbc is None else tuple(bool(p) for p in pbc)  # pyright: ignore[reportAttributeAccessIssue]
        self.force_step = force_step
        self.takes_positions_only = _takes_positions_only(energy_fn)

    def __check_init__(self):
        if self.cell is not None and self.cell.shape != (3, 3):
            raise ValueError(f"cell: got shape {self.cell.shape}; give lattice vectors in rows, (3, 3).")
        if self.masses is not None:
            if self.masses.ndim != 1:
                raise ValueError(f"masses: got shape {self.masses.shape}; give one for each atom, (atom,).")
            if is_concrete(self.masses) and not (np.asarray(self.masses) > 0).all():
                raise ValueError("masses: must be > 0, in amu; hold an atom by `fixed`.")
        if self.pbc is not None and len(self.pbc) != 3:
            raise ValueError(f"pbc: got {self.pbc}; give three, one for each lattice vector.")
        if self.cell is None and any(self.pbc or ()):
            raise ValueError(f"pbc: {self.pbc} came, or the neighbours have it, without a cell; give cell as well, (3, 3).")
        lengths = {
            name: len(value)
            for name, value in (("masses", self.masses), ("species", self.species), ("fixed", self.fixed))
            if value is not None
        }
        if len(set(lengths.values())) > 1:
            raise ValueError(f"masses, species, fixed: got {lengths} atoms; give one value for each atom.")
        if self.force_step is not None and not self.force_step > 0:
            raise ValueError(f"force_step: got {self.force_step}; give a small distance, such as 0.005 Å.")

    @classmethod
    def from_potential(
        cls, potential: Any, atoms: Structure | Atoms, *, fixed: Sequence[bool] | None = None, skin: float = 0.1
    ) -> Surface:
        """Of anything with `energy_fn(positions, cell, graph)` and `cutoff`, as `jaxnmr.load_potential` gives.

        Args:
            potential: the model.
            atoms: elements, isotopes, cell and the positions for which neighbours are listed at first. Masses are those of
                the isotopes, or of ASE's atoms.
            fixed: which atoms do not move; those of ASE's `FixAtoms` unless given.
            skin: by how much the neighbour list reaches beyond the cutoff, Å.

        Raises:
            ValueError: atoms with another constraint than `FixAtoms`, and no `fixed`.
        """
        structure = as_structure(atoms)
        cell = structure.cell if any(structure.pbc) else None
        neighbors = NeighborList.allocate(structure, potential.cutoff, skin=skin)
        fixed = fixed_of(atoms) if fixed is None else fixed
        return cls(potential.energy_fn, masses_of(atoms), cell, species=structure.species, fixed=fixed, neighbors=neighbors)

    @property
    def dtype(self) -> Any:
        """Of positions that come as Python numbers."""
        return jnp.asarray(0.0).dtype

    @property
    def periodic(self) -> tuple[bool, bool, bool]:
        """Along which lattice vectors the atoms repeat."""
        if self.pbc is not None:
            return self.pbc
        repeats = self.cell is not None
        return repeats, repeats, repeats

    def check_free_cell(self, moves: str, hold: str) -> None:
        """Look whether the cell may move.

        Args:
            moves: the argument that asks for it, and that it does, for the message.
            hold: what to do to hold the cell.

        Raises:
            ValueError: no cell, one that the energy does not depend on or that ends in a vacuum, or fixed atoms.
        """
        if self.cell is None:
            raise ValueError(f"{moves}, but the surface has none; give Surface(..., cell=), or {hold}.")
        if self.takes_positions_only or not getattr(self.energy_fn, "sees_cell", True):
            raise ValueError(
                f"{moves}, but the energy function does not see it, so nothing would hold it; give one of the form "
                f"energy_fn(positions, cell, graph), or {hold}."
            )
        if any(self.fixed or ()):
            raise ValueError(f"{moves} and all atoms with it, so none can be fixed; free them, or {hold}.")
        if not all(self.periodic):
            raise ValueError(
                f"{moves}, but atoms repeat along {sum(self.periodic)} of its three vectors (pbc {self.periodic}), and a "
                f"strain into the vacuum has no energy of its own; {hold}, or give a cell that repeats along all."
            )

    def check(self, positions: Any, name: str = "positions", ndim: int = 2) -> Array:
        """Positions as an array of JAX's float, checked against the number of atoms.

        Raises:
            ValueError: a shape that does not fit, or values that are not finite.
        """
        positions = jnp.asarray(positions)
        positions = positions.astype(jnp.result_type(float, positions))
        if positions.ndim < ndim:
            raise ValueError(
                f"{name}: got shape {positions.shape}; give (atom, dimension), as (1, 2) for one particle in a plane."
            )
        for given in (self.masses, self.fixed):
            if given is not None and len(given) != positions.shape[-2]:
                raise ValueError(f"{name}: {positions.shape[-2]} atoms came, but the surface has {len(given)}.")
        if is_concrete(positions) and not np.isfinite(np.asarray(positions)).all():
            raise ValueError(f"{name}: not finite; check their source.")
        return positions

    def free(self, positions: Array) -> Array:
        """1 for the coordinates that move, 0 for those of fixed atoms, (atom, dimension)."""
        ones = jnp.ones(positions.shape[-2:], positions.dtype)
        if self.fixed is None:
            return ones
        return jnp.where(jnp.asarray(self.fixed)[:, None], 0.0, ones)

    def energy(self, positions: Numbers, cell: Any = None, neighbors: Any = None) -> Float[Array, ""]:
        """Energy at some positions; with the neighbours as they are, not renewed.

        Args:
            positions: Å, (atom, dimension).
            cell: the surface's own unless given.
            neighbors: the surface's own unless given.
        """
        if self.takes_positions_only:
            return jnp.asarray(self.energy_fn(positions))
        neighbors = self.neighbors if neighbors is None else neighbors
        graph = self.graph if neighbors is None else neighbors.graph
        return jnp.asarray(self.energy_fn(positions, self.cell if cell is None else cell, graph))

    def renew(self, neighbors: Any, positions: Array, cell: Any = None) -> Any:
        """The neighbours at some positions, under jit; None stays None."""
        if neighbors is None:
            return None
        return neighbors.update(jax.lax.stop_gradient(positions), self.cell if cell is None else cell)

    def at_rest(self, positions: Array) -> tuple[Surface, Array]:
        """The surface with the neighbours of one place, in rows as short as may be where that can be had, and the place.

        The place is NaN where neighbours are lacking and nobody can look for them any more, under a transformation: what is
        computed there must not pass for a result.
        """
        if self.neighbors is None:
            return self, positions
        known = is_concrete(positions, self.cell)
        if known and hasattr(self.neighbors, "tight"):
            return self.with_neighbors(self.neighbors.tight(positions, self.cell)), positions
        around = self.renew(self.neighbors, positions)
        if known and is_concrete(around.overflowed) and bool(around.overflowed):
            around = self.neighbors.grow(positions, self.cell)
        return self.with_neighbors(around), jnp.where(around.overflowed, jnp.nan, positions)

    def frozen(self) -> Surface:
        """The same surface, a constant to derivatives: what a search runs on, which is not unrolled."""
        arrays, static = eqx.partition(self, eqx.is_array)
        return eqx.combine(jax.lax.stop_gradient(arrays), static)

    def carried(self, neighbors: Any, positions: Array, cell: Any = None) -> tuple[Any, Any]:
        """What a loop that renews the neighbours carries: their arrays, of the types that they will have, and the rest."""
        if neighbors is None:
            return None, None
        later = eqx.filter_eval_shape(self.renew, neighbors, positions, cell)
        arrays, static = eqx.partition(neighbors, eqx.is_array)
        return jax.tree.map(lambda now, then: now.astype(then.dtype), arrays, later), static

    def value_and_gradient(self, positions: Array, neighbors: Any = None) -> tuple[Array, Array]:
        """Energy and its gradient, zero for fixed atoms."""
        energy, gradient = jax.value_and_grad(lambda r: self.energy(r, None, neighbors))(positions)
        return energy, gradient * self.free(positions)

    def gradient(self, positions: Array, neighbors: Any = None) -> Array:
        """Gradient of the energy, eV/Å, of all atoms, the fixed ones too."""
        return jax.grad(lambda r: self.energy(r, None, neighbors))(positions)

    def hessian_product(self, positions: Array, vector: Array, neighbors: Any = None) -> Array:
        """Second derivatives times a vector, eV/Å² of the vector's unit; all atoms, the fixed ones too."""
        gradient = lambda r: self.gradient(r, neighbors)  # noqa: E731
        if self.force_step is None:
            return jax.jvp(gradient, (positions,), (vector,))[1]
        # A step of one length whatever the vector's; a zero vector gives zero.
        norm = jnp.sqrt(jnp.sum(vector**2))
        step = self.force_step / jnp.where(norm > 0, norm, 1.0)
        return (gradient(positions + step * vector) - gradient(positions - step * vector)) / (2 * step)

    def at_cell(self, cell: Any) -> Surface:
        """The same surface with another cell."""
        return eqx.tree_at(lambda s: s.cell, self, cell, is_leaf=lambda leaf: leaf is None)

    def with_neighbors(self, neighbors: Any) -> Surface:
        """The same surface with other neighbours."""
        if neighbors is None:
            return self
        return eqx.tree_at(lambda s: s.neighbors, self, neighbors, is_leaf=lambda leaf: leaf is None)


def as_surface(surface: Surface | EnergyFunction) -> Surface:
    """A surface, or one of a bare energy function.

    Raises:
        ValueError: neither came.
    """
    if isinstance(surface, Surface):
        return surface
    if not callable(surface):
        raise ValueError(f"surface: got {type(surface).__name__}; give a Surface or an energy function of positions.")
    return Surface(surface)


def _array(value: Any) -> Numbers:
    if not is_concrete(value):
        return jnp.asarray(value)
    return np.asarray(value, np.float64)


def _takes_positions_only(energy_fn: EnergyFunction) -> bool:
    try:
        signature = inspect.signature(energy_fn)
    except (TypeError, ValueError):  # built in C: trust the contract
        return False
    for count in (3, 1):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return count == 1
    raise ValueError(
        f"energy_fn: takes {signature}; it must take (positions, cell, graph) or (positions). For a function of jax-md "
        "with neighbours use from_jax_md; bind other arguments by jax.tree_util.Partial."
    )
