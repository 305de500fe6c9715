"""Shielding, field gradients and any other property of atoms or structures, from a committee of heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnmr.errors import near
from jaxnmr.potential._card import ModelCard
from jaxnmr.potential._domain import Domain
from jaxnmr.potential._evaluate import Cell, Numbers, check_batch
from jaxnmr.potential._model import backbone_shapes, check_shapes
from jaxnmr.potential._prepare import check_graph, precision, prepared
from jaxnmr.potential._property import Property
from jaxnmr.potential._tensor_network import (
    BARE,
    Calibration,
    PropertyScale,
    TensorConfig,
    TensorNetwork,
    every_member,
    feature_irreps,
    head_shapes,
    summary,
)
from jaxnmr.structure import ELEMENTS, Batch, Graph, Structure, as_structure

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Prediction", "TensorModel"]


class Prediction(NamedTuple):
    """What a model says of one property.

    Attributes:
        values: (atom, *shape), or (*shape) of a property of the structure; NaN for elements without labels in training.
        uncertainty: standard deviation of one element of the value, (atom,) or (), in the same unit; NaN where it is
            unknown, as for a single head that no data have calibrated.
        novelty: how far an atom is from those that were learnt, (atom,), or root mean square over those of a structure; 1
            where the outermost hundredth of the learnt begins; see `TensorModel.novelty`. NaN where it is not known.
    """

    values: np.ndarray
    uncertainty: np.ndarray
    novelty: np.ndarray


class TensorModel(eqx.Module):
    r"""Tensors of each atom, exactly equivariant, with an uncertainty, differentiable in positions and cell.

    A committee of heads shares one backbone. A value is the mean over the heads; its uncertainty comes from their
    spread, calibrated on data that were held out:

    $$u_i^2 = a^2 s_i^2 + b^2 S_{Z_i}^2 + \frac{g_i^2}{1 + g_i^2} S_{Z_i}^2,\quad
    g_i^2 = e^2 \max(d_i^2 - d_{end}^2, 0)$$

    with the spread s of an atom's tensor (root mean square over its elements), the size S of the property for its element,
    the distance d of its features from those of the learnt atoms (see `Domain`), and three numbers for each property. It is
    the standard deviation of one element of the tensor. Heads share errors where none has learnt anything; the distance
    stands for these, from where the learnt atoms end. Where no held-out data have calibrated it, it is the bare spread
    (a = 1, b = e = 0), too small as a rule; a single head has no spread, so that its uncertainty is NaN, unknown, then. See
    `jaxnmr.potential.training.uncalibrated`.

    `load_tensor_model` makes one from a file. Methods that take atoms build the neighbour list and compile for each
    new (rounded) size; `tensor_fn` is for use inside jit, grad and vmap.

    Args:
        config: sizes, elements and properties.
        params: parameters of backbone and heads.
        scales: means and sizes of each property for each element.
        calibrations: of the uncertainty of each property.
        card: where the model comes from.
        domain: where the learnt atoms lie; None for models of before it was kept.
    """

    config: TensorConfig = eqx.field(static=True)
    params: Any
    scales: tuple[PropertyScale, ...]
    calibrations: tuple[Calibration, ...]
    card: ModelCard = eqx.field(static=True)
    domain: Domain | None = None

    @classmethod
    def from_parts(
        cls,
        config: TensorConfig,
        params: dict,
        scales: Sequence[PropertyScale],
        calibrations: Sequence[Calibration] | None = None,
        card: ModelCard | None = None,
        *,
        domain: Domain | None = None,
        dtype: Any = None,
        source: str = "params",
    ) -> TensorModel:
        """A model from its numbers, checked.

        Args:
            config: sizes, elements and properties.
            params: "backbone", "standard" and "heads".
            scales: of each property.
            calibrations: of each property; the bare spread unless given, which tells nothing of a single head.
            card: where it comes from.
            domain: where the learnt atoms lie.
            dtype: precision of the network; JAX's default float unless given.
            source: what messages call the numbers.

        Raises:
            ValueError: parameters that do not belong to the configuration, or a precision that JAX does not offer.
        """
        check_shapes(backbone_shapes(config.network) | head_shapes(config), params, source)
        elements = len(config.network.elements)
        for prop, scale in zip(config.properties, scales, strict=True):
            even = sum(irrep.channels for irrep in prop.kinds if irrep.kind == (0, 1))
            wanted = (elements, even), (elements, len(prop.kinds)), (elements,)
            given = tuple(np.shape(value) for value in scale)
            if given != wanted:
                raise ValueError(f"{source}: scales of {prop.name} have shapes {given}; the elements ask for {wanted}.")
        if domain is not None:
            _check_domain(config, domain, source)
        dtype = precision(dtype)
        if calibrations is None:
            calibrations = [BARE for _ in config.properties]

        def number(array: Any) -> Array:
            return jnp.asarray(np.asarray(array), dtype)

        return cls(
            config,
            jax.tree.map(number, params),
            tuple(PropertyScale(*map(number, scale)) for scale in scales),
            tuple(Calibration(*map(number, each)) for each in calibrations),
            card or ModelCard(),
            None if domain is None else Domain(*map(number, domain)),
        )

    @property
    def cutoff(self) -> float:
        """How far an atom sees within one layer of the backbone, Å."""
        return self.config.network.cutoff

    @property
    def elements(self) -> tuple[str, ...]:
        """The elements that may be there; see `predicts` for those with tensors."""
        return tuple(ELEMENTS[number - 1] for number in self.config.network.elements)

    @property
    def properties(self) -> tuple[Property, ...]:
        """What the model predicts."""
        return self.config.properties

    @property
    def dtype(self) -> np.dtype:
        """Precision of the network."""
        return self._network.dtype

    def predicts(self, name: str) -> tuple[str, ...]:
        """The elements that had labels of a property in training; others get NaN.

        Raises:
            ValueError: the model has no such property.
        """
        counts = np.asarray(self.scales[self._place(name)].count)
        return tuple(symbol for symbol, count in zip(self.elements, counts, strict=True) if count > 0)

    def astype(self, dtype: Any) -> TensorModel:
        """The same in another precision.

        Raises:
            ValueError: JAX does not offer it.
        """
        return TensorModel.from_parts(
            self.config,
            self.params,
            self.scales,
            self.calibrations,
            self.card,
            domain=self.domain,
            dtype=precision(dtype),
        )

    def with_products(self, products: str) -> TensorModel:
        """The same with products of features and harmonics computed by others; see `Potential.with_products`.

        Raises:
            ValueError: none of those that there are.
        """
        network = self.config.network.with_products(products)
        config = self.config.model_copy(update={"network": network})
        return TensorModel(config, self.params, self.scales, self.calibrations, self.card, self.domain)

    def shielding(self, atoms: Structure | Atoms) -> Float[np.ndarray, "atom 3 3"]:
        r"""Absolute magnetic shieldings, ppm, first index that of the applied field (see `jaxnmr.structure.read`).

        A model that has learnt isotropic values alone (irreps "0e") gives $\sigma_\mathrm{iso}\mathbf 1$, a tensor without
        any anisotropy: right for the place of a line, not for its shape or for sidebands. `predict` gives its numbers.

        Raises:
            ValueError: the model has no shielding, or one that is no tensor of each atom; as `predict` otherwise.
        """
        self._check_tensors("shielding")
        return _tensors(self.predict(atoms, "shielding").values)

    def efg(self, atoms: Structure | Atoms) -> Float[np.ndarray, "atom 3 3"]:
        """Electric field gradients, atomic units, symmetric and traceless.

        Raises:
            ValueError: the model has no field gradients, or such as are no tensors of each atom; as `predict` otherwise.
        """
        self._check_tensors("efg")
        return _tensors(self.predict(atoms, "efg").values)

    def uncertainty(self, atoms: Structure | Atoms, name: str = "shielding") -> Float[np.ndarray, ...]:
        """Standard deviation of one element of each atom's tensor, in the property's unit, (atom,); NaN where unknown.

        Raises:
            ValueError: as `predict`.
        """
        return self.predict(atoms, name).uncertainty

    def novelty(self, atoms: Structure | Atoms) -> Float[np.ndarray, " atom"]:
        """How far the surroundings of each atom are from those that were learnt, (atom,).

        1 is where the outermost hundredth of the learnt atoms of its element begins. Beyond, values are extrapolated, and
        uncertainties grow in proportion. The distance is that of `Domain`, between features of the backbone; it is the same
        for all properties of atoms.

        Raises:
            ValueError: a model of before the learnt atoms were kept, or without properties of atoms; as `predict` otherwise.
        """
        if self.domain is None:
            raise ValueError(
                "novelty: this model was made before jaxnmr kept where its learnt atoms lie; "
                "jaxnmr.potential.training.calibrated(model, held_out, learnt=samples) adds it."
            )
        name = next((prop.name for prop in self.properties if prop.pooling == "none"), None)
        if name is None:
            raise ValueError("novelty: this model predicts properties of whole structures alone; `predict` gives theirs.")
        return self.predict(atoms, name).novelty

    def predict(self, atoms: Structure | Atoms, name: str) -> Prediction:
        """Values and uncertainties of one property.

        Args:
            atoms: a `Structure` or Atoms of ASE.
            name: of the property.

        Raises:
            ValueError: no such property, an element that the model does not know, atoms nearer than 0.3 Å, positions
                that are not finite, a cell without volume.
        """
        place = self._place(name)
        return self.evaluate(self.prepare([atoms]))[0][place]

    def members(self, atoms: Structure | Atoms, name: str) -> Float[np.ndarray, "member ..."]:
        """What each head of the committee says of one property, (member, atom, *shape) or (member, *shape).

        Their mean is the value. How they part tells the shape of an error, as which of its irreps is the less certain;
        `uncertainty` tells its size.

        Raises:
            ValueError: as `predict`.
        """
        place, batch = self._place(name), self.prepare([atoms])
        every = np.asarray(every_member(self._network, batch.positions, batch.cell, batch.graph)[place], np.float64)
        return every[:, : batch.sizes[0]] if self.properties[place].pooling == "none" else every[:, 0]

    def label(self, atoms: Structure | Atoms, found: Sequence[Prediction] | None = None) -> Structure:
        """The atoms with predicted shieldings and field gradients, for files and `jaxnmr.Sites.from_tensors`.

        Isotropic shieldings become tensors without anisotropy, as those of `shielding`.

        Args:
            atoms: a `Structure` or Atoms of ASE.
            found: what `evaluate` says of them; computed unless given.

        Raises:
            ValueError: a shielding or field gradient that is no tensor of each atom; as `predict` otherwise.
        """
        structure = as_structure(atoms)
        names = [prop.name for prop in self.properties if prop.name in ("shielding", "efg")]
        for name in names:
            self._check_tensors(name)
        found = self.evaluate(self.prepare([structure]))[0] if found is None else found
        values = {prop.name: each.values for prop, each in zip(self.properties, found, strict=True)}
        tensors = {name: _tensors(values[name]) for name in names}
        return Structure(
            structure.species,
            structure.positions,
            structure.cell,
            structure.pbc,
            labels=structure.labels,
            indices=structure.indices,
            isotopes=structure.isotopes,
            **tensors,
            source=structure.source,
            code=f"jaxnmr {self.card.name}".strip(),
        )

    def evaluate(self, batch: Batch) -> tuple[tuple[Prediction, ...], ...]:
        """All properties of several structures: for each structure one `Prediction` for each property.

        Args:
            batch: from `prepare`.

        Raises:
            ValueError: a batch of a smaller cutoff, or with elements that the model does not know.
        """
        check_batch(self.config.network, batch)
        found = summary(self._network, batch.positions, batch.cell, batch.graph)
        found = [tuple(np.asarray(part, np.float64) for part in parts) for parts in found]
        results, start = [], 0
        for index, size in enumerate(batch.sizes):
            here = slice(start, start + size)
            where = [here if prop.pooling == "none" else index for prop in self.properties]
            results.append(tuple(Prediction(*(part[w] for part in parts)) for w, parts in zip(where, found, strict=True)))
            start += size
        return tuple(results)

    def tensor_fn(
        self, name: str, positions: Float[Numbers, "real 3"], cell: Cell | None, graph: Graph
    ) -> Float[Array, ...]:
        """A property as a function of coordinates, for jit, grad, jvp and vmap.

        Args:
            name: of the property.
            positions: Å; of the real atoms or of all atoms of the graph.
            cell: lattice vectors in rows, Å, (3, 3), or (structure, 3, 3) for a batch; None without a lattice.
            graph: from `jaxnmr.structure.neighbor_graph` or `NeighborList`, with at least the model's cutoff.

        Returns:
            Values of all atoms of the graph, zero for those that fill up, (atom, *shape), or (structure, *shape); NaN for
            elements without labels in training.

        Raises:
            ValueError: no such property, a graph of a smaller cutoff, more positions than it has atoms.
        """
        check_graph(self.config.network, positions, graph)
        return summary(self._network, jnp.asarray(positions), cell, graph)[self._place(name)][0]

    def prepare(
        self, atoms: Sequence[Structure | Atoms], *, n_atoms: int | None = None, n_neighbors: int | None = None
    ) -> Batch:
        """Structures with their neighbour graph, checked; see `Potential.prepare`.

        Raises:
            ValueError: as `predict`.
        """
        return prepared(self.config.network, self.card.name, atoms, n_atoms, n_neighbors)

    def _check_tensors(self, name: str) -> None:
        """Refuses a property whose values make no tensors of each atom."""
        prop = self.properties[self._place(name)]
        if prop.pooling == "none" and (prop.shape == (3, 3) or (prop.shape == () and name == "shielding")):
            return
        whose = "each atom" if prop.pooling == "none" else "the whole structure"
        raise ValueError(
            f"name: {name} of this model is of {whose} and has the irreps {prop.irreps}, no tensors (atom, 3, 3); "
            f"predict(atoms, {name!r}) gives its values."
        )

    def _place(self, name: str) -> int:
        names = [each.name for each in self.properties]
        if name not in names:
            raise ValueError(f"name: this model has no {name!r}{near(name, names)}; it predicts {', '.join(names)}.")
        return names.index(name)

    @property
    def _network(self) -> TensorNetwork:
        return TensorNetwork(self.config, self.params, self.scales, self.calibrations, self.domain)


def _check_domain(config: TensorConfig, domain: Domain, source: str) -> None:
    """Refuses a domain of another network."""
    n = len(config.network.elements)
    channels = sum(irrep.channels for irrep in feature_irreps(config.network) if irrep.kind == (0, 1))
    directions = np.shape(domain.scatter)[0] if np.ndim(domain.scatter) == 1 else 0
    wanted = ((n, channels), (channels,), (channels, directions), (directions,), (), (n,))
    given = tuple(np.shape(part) for part in domain)
    if given != wanted:
        raise ValueError(f"{source}: the domain has shapes {given}; elements and features ask for {wanted}.")


def _tensors(values: np.ndarray) -> Float[np.ndarray, "atom 3 3"]:
    """Isotropic values, (atom,), as tensors; tensors as they are."""
    return values if values.ndim == 3 else values[:, None, None] * np.eye(3)
