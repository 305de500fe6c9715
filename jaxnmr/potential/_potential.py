"""Energies, forces and stresses of a network for whatever atoms come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.potential._backbone import BackboneConfig
from jaxnmr.potential._card import ModelCard
from jaxnmr.potential._evaluate import (
    Cell,
    Network,
    Numbers,
    atom_energies,
    atom_features,
    check_batch,
    edge_derivatives,
    edge_vectors,
    filled,
    network_numbers,
)
from jaxnmr.potential._features import NodeFeatures
from jaxnmr.potential._model import check_params
from jaxnmr.potential._prepare import check_graph, precision, prepared
from jaxnmr.potential._weights import EnergyScale, Weights
from jaxnmr.structure import ELEMENTS, Batch, Graph, Structure, as_structure

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

__all__ = ["Evaluation", "Potential"]


class Evaluation(NamedTuple):
    """What a potential says of a structure.

    Attributes:
        energy: eV.
        forces: eV/Å, (atom, 3).
        stress: dE/dstrain / V, eV/Å³, (3, 3), positive where the crystal wants to shrink; None where the atoms do not
            repeat along all three lattice vectors, for a slab or a molecule has no volume.
        energies: parts of the energy that belong to each atom, eV, (atom,).
    """

    energy: float
    forces: np.ndarray
    stress: np.ndarray | None
    energies: np.ndarray


class Potential(eqx.Module):
    r"""A potential-energy surface from a network, with exact derivatives.

    $$E = \sum_i \left(s\, e_i + t + \epsilon_{Z_i}\right),\quad \mathbf F_i = -\partial E/\partial\mathbf r_i,\quad
    \sigma = \frac1V \frac{\partial E}{\partial\varepsilon}$$

    `load_potential` makes one from a file. Methods that take atoms build the neighbour list, round sizes up to few
    values (see `jaxnmr.structure.bucket`), and compile for each new size; vectors between atoms they take, and energies
    they scale, shift and sum, in double precision outside of the network. `energy_fn` is for use inside jit, grad and vmap;
    there `dtype` rules throughout.

    The energy has continuous first and second derivatives where a neighbour passes the cutoff.

    Args:
        config: the network's sizes, and the elements that it knows.
        params: its parameters.
        scale: factor, offset and references of the energies.
        card: where it comes from.
    """

    config: BackboneConfig = eqx.field(static=True)
    params: Any
    scale: EnergyScale
    card: ModelCard = eqx.field(static=True)

    @classmethod
    def from_weights(cls, weights: Weights, dtype: Any = None, source: str = "params") -> Potential:
        """A potential from what a file holds.

        Args:
            weights: as a reader gives it.
            dtype: precision of the network; JAX's default float unless given.
            source: what messages call the weights.

        Raises:
            ValueError: parameters that do not belong to the configuration, or a precision that JAX does not offer.
        """
        check_params(weights.config, weights.params, source)
        dtype = precision(dtype)
        params = jax.tree.map(lambda array: jnp.asarray(np.asarray(array), dtype), weights.params)
        return cls(weights.config, params, weights.scale, weights.card)

    @property
    def cutoff(self) -> float:
        """How far an atom sees within one layer, Å."""
        return self.config.cutoff

    @property
    def elements(self) -> tuple[str, ...]:
        """The elements that the model knows."""
        return tuple(ELEMENTS[number - 1] for number in self.config.elements)

    @property
    def dtype(self) -> np.dtype:
        """Precision of the network."""
        return self._network.dtype

    def astype(self, dtype: Any) -> Potential:
        """The same in another precision.

        Raises:
            ValueError: JAX does not offer it.
        """
        dtype = precision(dtype)
        params = jax.tree.map(lambda array: array.astype(dtype), self.params)
        return Potential(self.config, params, self.scale, self.card)

    def with_products(self, products: str) -> Potential:
        """The same with products of features and harmonics computed by others; see `BackboneConfig`.

        Args:
            products: "rows", this package, on any machine; "cuequivariance", NVIDIA's kernels, which need
                cuequivariance-jax (the extra "nvidia") and, on a GPU, cuequivariance-ops-jax for its version of CUDA.

        Raises:
            ValueError: none of those.
        """
        return Potential(self.config.with_products(products), self.params, self.scale, self.card)

    def energy_fn(
        self, positions: Float[Numbers, "real 3"], cell: Cell | None, graph: Graph, *, references: bool = True
    ) -> Float[Array, " *structure"]:
        """Energy as a function of coordinates, for jit, grad, jvp and vmap.

        All is summed in the precision of the network. With the elements' references a sum may be of thousands of eV: at
        -9391 eV single precision goes in steps of 1 meV, too coarse for what dynamics conserves. Derivatives do not know
        of it. `references=False`, or the method `energy`, keeps the digits.

        Args:
            positions: Å; of the real atoms or of all atoms of the graph.
            cell: lattice vectors in rows, Å, (3, 3), or (structure, 3, 3) for a batch; None without a lattice.
            graph: from `jaxnmr.structure.neighbor_graph` or `NeighborList`, with at least the potential's cutoff.
            references: whether shift and references of the elements, the same numbers for the same atoms wherever they
                are, are added.

        Returns:
            eV; one number, or with cells of a batch one for each structure. NaN for elements that are not known.

        Raises:
            ValueError: a graph of a smaller cutoff, or more positions than it has atoms.
        """
        check_graph(self.config, positions, graph)
        each = atom_energies(self._network, *filled(positions, cell, graph, self.dtype), graph, references=references)
        if cell is None or jnp.ndim(cell) == 2:
            return each.sum()
        return jax.ops.segment_sum(each, jnp.asarray(graph.structure), graph.n_structures)

    def features(self, positions: Float[Numbers, "real 3"], cell: Cell | None, graph: Graph) -> tuple[NodeFeatures, ...]:
        """Equivariant features of each atom after each layer, what heads are built on; arguments as `energy_fn`."""
        check_graph(self.config, positions, graph)
        return atom_features(self._network, *filled(positions, cell, graph, self.dtype), graph)

    def energy(self, atoms: Structure | Atoms) -> float:
        """Energy, eV.

        Raises:
            ValueError: as `energy_forces_stress`.
        """
        batch = self.prepare([atoms])
        each = network_numbers(self._network, edge_vectors(batch, self.dtype), batch.graph)
        return float(self._host_energies(each, batch).sum())

    def forces(self, atoms: Structure | Atoms) -> np.ndarray:
        """Forces, eV/Å, (atom, 3).

        Raises:
            ValueError: as `energy_forces_stress`.
        """
        return self.energy_forces_stress(atoms).forces

    def stress(self, atoms: Structure | Atoms) -> np.ndarray:
        """dE/dstrain / V, eV/Å³, (3, 3), symmetric.

        Raises:
            ValueError: atoms that do not repeat along all three lattice vectors; as `energy_forces_stress` otherwise.
        """
        structure = as_structure(atoms)
        stress = self.energy_forces_stress(structure).stress
        if stress is None:
            lack = "have no cell"
            if structure.cell is not None:
                lack = f"repeat along {'some' if any(structure.pbc) else 'none'} of the lattice vectors: pbc={structure.pbc}"
            raise ValueError(f"atoms: {lack}; without a volume there is no stress. Give a crystal: a cell, and pbc=True.")
        return stress

    def energy_forces_stress(self, atoms: Structure | Atoms) -> Evaluation:
        """All three from one calculation.

        Args:
            atoms: a `Structure` or Atoms of ASE.

        Raises:
            ValueError: an element that the model does not know, atoms nearer than 0.3 Å, positions that are not finite,
                a cell without volume (a left-handed one is as good as another).
        """
        return self.evaluate(self.prepare([atoms]))[0]

    def evaluate(self, batch: Batch) -> tuple[Evaluation, ...]:
        """Energies, forces and stresses of several structures at once.

        Args:
            batch: from `prepare`; stresses are None for structures that do not repeat along all three lattice vectors.

        Raises:
            ValueError: a batch of a smaller cutoff, or with elements that the model does not know.
        """
        check_batch(self.config, batch)
        each, forces, virials = edge_derivatives(self._network, edge_vectors(batch, self.dtype), batch.graph)
        energies, forces = self._host_energies(each, batch), np.asarray(forces, np.float64)
        virials, results, start = np.asarray(virials, np.float64), [], 0
        for index, (size, periodic) in enumerate(zip(batch.sizes, batch.periodic, strict=True)):
            here = slice(start, start + size)
            volume = abs(np.linalg.det(np.asarray(batch.cell[index])))
            stress = virials[index] / volume if periodic else None
            results.append(Evaluation(float(energies[here].sum()), forces[here], stress, energies[here]))
            start += size
        return tuple(results)

    def prepare(
        self, atoms: Sequence[Structure | Atoms], *, n_atoms: int | None = None, n_neighbors: int | None = None
    ) -> Batch:
        """Structures with their neighbour graph, checked, for `evaluate` and `energy_fn`.

        Args:
            atoms: the structures.
            n_atoms: room for atoms, to keep a size that is compiled already.
            n_neighbors: room for neighbours, likewise.

        Raises:
            ValueError: as `energy_forces_stress`.
        """
        return prepared(self.config, self.card.name, atoms, n_atoms, n_neighbors)

    def calculator(self) -> Calculator:
        """A calculator of ASE with energy, forces and stress.

        Raises:
            ImportError: ASE is not installed.
        """
        from jaxnmr.potential._calculator import calculator

        return calculator(self)

    @property
    def _network(self) -> Network:
        return Network(self.config, self.params, self.scale)

    def _host_energies(self, numbers: Array, batch: Batch) -> np.ndarray:
        """Energies of the real atoms in double precision from the network's numbers."""
        real = sum(batch.sizes)
        place = {number: k for k, number in enumerate(self.config.elements)}
        species = [place[number] for number in np.asarray(batch.graph.numbers)[:real].tolist()]
        each = np.asarray(numbers, np.float64)[:real]
        return each * self.scale.scale + self.scale.shift + np.asarray(self.scale.references)[species]
