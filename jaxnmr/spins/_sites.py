"""The resonating nuclei of one spectrum: their shift and quadrupole tensors in one crystal frame."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxnmr.errors import is_concrete
from jaxnmr.isotopes import Isotope, isotope
from jaxnmr.spins._read import TOLERANCE, Source, gathered, merged
from jaxnmr.tensors import efg_to_coupling, shielding_to_shift

__all__ = ["Sites"]


class Sites(eqx.Module):
    r"""Sites of one isotope, or, with exchange, the places that one nucleus visits.

    Args:
        isotope: name, such as "17O".
        shift: chemical-shift tensors (not shieldings), ppm, (site, 3, 3), crystal frame. The first
            index is that of the field, $B_a\delta_{ab}I_b$, as programs print shieldings and ASE keeps them. Never
            symmetrised: the antisymmetric part acts through the quadrupole-shift cross term. One tensor (3, 3) is one
            site.
        quadrupole: coupling tensors $eQV/h$, Hz, (site, 3, 3), traceless and symmetric, largest element $C_Q$.
        weights: share of each site in the spectrum, summing to one; equal by default. With exchange the populations of
            the `ExchangeModel` rule.

    Raises:
        ValueError: an unknown isotope, shapes that do not fit, a value that is not finite, a quadrupole tensor of a
            spin 1/2, or one that is not symmetric and traceless, negative weights or weights that do not sum to one.
    """

    isotope: str = eqx.field(static=True)
    shift: Float[Array, "site 3 3"]
    quadrupole: Float[Array, "site 3 3"] | None
    weights: Float[Array, " site"] | None

    def __init__(
        self,
        isotope: str,
        shift: ArrayLike,
        quadrupole: ArrayLike | None = None,
        weights: ArrayLike | Sequence[float] | None = None,
    ):
        self.isotope = _nucleus(isotope).name
        self.shift = _tensors("shift", shift)
        self.quadrupole = None if quadrupole is None else _tensors("quadrupole", quadrupole)
        self.weights = None if weights is None else jnp.asarray(weights, dtype=self.shift.dtype)

    def __check_init__(self):
        n = self.shift.shape[0]
        _check_finite("shift", self.shift)
        if self.quadrupole is not None:
            if not self.nucleus.is_quadrupolar:
                raise ValueError(f"quadrupole: {self.isotope} has spin 1/2 and no quadrupole moment; leave it out.")
            if self.quadrupole.shape[0] != n:
                raise ValueError(
                    f"quadrupole: {self.quadrupole.shape[0]} tensors came for {n} shift tensors; give one each."
                )
            _check_finite("quadrupole", self.quadrupole)
            _check_coupling(self.quadrupole)
        if self.weights is not None:
            if self.weights.shape != (n,):
                raise ValueError(f"weights: shape {self.weights.shape} came for {n} sites; give ({n},).")
            if is_concrete(self.weights):
                weights = np.asarray(self.weights, dtype=np.float64)
                if not np.all(weights >= 0) or abs(weights.sum() - 1) > 1e-5:
                    raise ValueError(
                        f"weights: got {weights.tolist()}, sum {weights.sum():.6g}; they must be >= 0 and sum to one "
                        "(divide by the sum)."
                    )

    @property
    def nucleus(self) -> Isotope:
        """Spin, gyromagnetic ratio and quadrupole moment."""
        return isotope(self.isotope)

    def __len__(self) -> int:
        """Number of sites."""
        return self.shift.shape[0]

    @property
    def populations(self) -> Float[Array, " site"]:
        """The weights, equal where none were given."""
        if self.weights is not None:
            return self.weights
        return jnp.full(len(self), 1 / len(self), dtype=self.shift.dtype)

    @classmethod
    def from_tensors(
        cls,
        isotope: str,
        shielding: ArrayLike,
        efg: ArrayLike | None = None,
        reference: float | tuple[float, float] | None = None,
        *,
        weights: ArrayLike | Sequence[float] | None = None,
    ) -> Sites:
        r"""Sites from computed shieldings and electric-field gradients.

        Args:
            isotope: name, such as "17O".
            shielding: absolute shieldings, ppm, (site, 3, 3).
            efg: electric-field gradients, atomic units, (site, 3, 3).
            reference: $\sigma_{ref}$ in ppm, $\delta = (\sigma_{ref} - \sigma)/(1 - 10^{-6}\sigma_{ref})$; or (slope,
                intercept) of a calibration, $\delta = \mathrm{slope}\,\sigma + \mathrm{intercept}$.
            weights: as in `Sites`.

        Raises:
            ValueError: as `Sites`; a reference that is missing.
        """
        nucleus = _nucleus(isotope)
        tensors = _tensors("shielding", shielding)
        if reference is None:
            raise ValueError(_no_reference(nucleus, tensors))
        shift = shielding_to_shift(tensors, reference)
        coupling = None
        if efg is not None and nucleus.is_quadrupolar:
            coupling = efg_to_coupling(_tensors("efg", efg), nucleus)
        return cls(nucleus.name, shift, coupling, weights)

    @classmethod
    def read(
        cls,
        path: Source | Sequence[Source],
        isotope: str,
        reference: float | tuple[float, float] | None = None,
        *,
        atoms: str | Sequence[int | str] | np.ndarray | None = None,
        merge: bool = False,
        tolerance: tuple[float, float] = TOLERANCE,
    ) -> Sites:
        r"""Sites of one isotope from a file of computed tensors: magres, extxyz, VASP's OUTCAR.

        Atoms are called by label and index, "O1_4"; those of files without labels by element and number, "Al_3". With
        `merge`, sites whose tensors differ only by a common rotation of both become one: they have the same powder
        spectrum, and with static or spinning single crystals, or with exchange, they must stay apart. The tensors of
        such sites are turned onto those of the first, averaged, and weighted by how many there are. A mirror plane or an
        inversion that relates them needs no case of its own, since it acts on tensors of rank two as a rotation does.

        Several files are states of one crystal, such as the basins that an `ExchangeModel` joins: the sites of the first
        come first. Relative orientations count, so their cells must agree.

        Args:
            path: a file, or a `Structure` that was read before; or several, in one frame.
            isotope: name, such as "17O"; selects the atoms of its element, without those that the structure calls another
                isotope.
            reference: as in `from_tensors`: σ_ref of the same method and program, ppm, or (slope, intercept).
            atoms: which of them, in this order: positions in the file, counted from 0; names, "O1_4"; or labels, "O1", for
                all atoms of that label. All by default, without those (warned of) that lack a tensor.
            merge: whether to merge equivalent sites.
            tolerance: (t_σ, t_V), ppm and atomic units. Sites are equivalent if, at the best rotation, the Frobenius norms
                of the differences obey $(|\Delta\sigma|/t_\sigma)^2 + (|\Delta V|/t_V)^2 \le 1$.

        Returns:
            Sites in the order of `atoms` or of the file, in the frame of its positions.

        Raises:
            ValueError: no file or one that cannot be read, several of different cells, an element that it does not have, no
                shielding in it, or no field gradient for a quadrupolar nucleus, an atom that is not there, is another
                element, lacks a tensor or is named twice, a reference that is missing, a tolerance that is not positive.
        """
        nucleus = _nucleus(isotope)
        shielding, efg = gathered(path, nucleus, atoms)
        if reference is None:
            raise ValueError(_no_reference(nucleus, shielding))
        weights = None
        if merge:
            shielding, efg, weights = merged(shielding, efg, tolerance)
        return cls.from_tensors(nucleus.name, shielding, efg, reference=reference, weights=weights)


def _nucleus(name: str) -> Isotope:
    return isotope(name)


def _no_reference(nucleus: Isotope, shielding: ArrayLike) -> str:
    iso = np.trace(np.asarray(shielding), axis1=1, axis2=2) / 3
    return (
        f"reference: missing; give the absolute shielding of {nucleus.name}'s reference compound in ppm, by the same "
        "program and method, or (slope, intercept) of shifts against shieldings. Approximately, for a site whose shift is "
        f"known: shielding + shift. The isotropic shieldings here are {iso.min():.2f} to {iso.max():.2f} ppm."
    )


def _tensors(name: str, value: ArrayLike) -> Array:
    value = jnp.asarray(value)
    if not jnp.issubdtype(value.dtype, jnp.floating):
        value = value.astype(jnp.result_type(float))
    if value.shape == (3, 3):
        value = value[None]
    if value.ndim != 3 or value.shape[1:] != (3, 3) or value.shape[0] == 0:
        raise ValueError(f"{name}: got shape {value.shape}; give (site, 3, 3), one tensor per site.")
    return value


def _check_finite(name: str, value: Array) -> None:
    if is_concrete(value):
        bad = ~np.isfinite(np.asarray(value)).all(axis=(1, 2))
        if bad.any():
            raise ValueError(f"{name}: not finite at site {int(np.argmax(bad))}; check the tensor's source.")


def _check_coupling(value: Array) -> None:
    if not is_concrete(value):
        return
    q = np.asarray(value, dtype=np.float64)
    size = np.abs(q).max(axis=(1, 2)) + np.finfo(np.float64).tiny
    trace = np.abs(np.trace(q, axis1=1, axis2=2)) / size
    skew = np.abs(q - np.swapaxes(q, 1, 2)).max(axis=(1, 2)) / size
    for what, error, cure in (
        ("traceless", trace, "subtract a third of the trace from the diagonal"),
        ("symmetric", skew, "average it with its transpose"),
    ):
        if error.max() > 1e-3:
            raise ValueError(
                f"quadrupole: the tensor of site {int(error.argmax())} is not {what} (relative error "
                f"{error.max():.1e}); {cure}."
            )
