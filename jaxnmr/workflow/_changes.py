"""How far an event moves a nucleus' line, by shift and coupling, Hz."""

from __future__ import annotations

import numpy as np

from jaxnmr.isotopes import isotope
from jaxnmr.tensors import efg_to_coupling, shielding_to_shift
from jaxnmr.workflow._result import Result

__all__ = ["apart_hz", "moved_hz"]


def apart_hz(result: Result, event: int, field: float) -> np.ndarray:
    r"""Difference of each nucleus' line between the first minimum and an event's, at the worst orientation, Hz, (nucleus,).

    Of the shift the largest over orientations, the isotropic part with it; of the coupling the first order of integer spins,
    and the width that the second order makes of the difference in $\mathbf V \otimes \mathbf V$ of half-integer ones. So a
    tensor that only turns counts too.

    Args:
        result: a run to its tensors.
        event: whose minimum.
        field: tesla.
    """
    larmor, shift, coupling = _parts(result, event, field)
    found = 1e-6 * larmor * _largest(shift[1] - shift[0])
    if coupling is None:
        return found
    spin = float(isotope(result.config.experiment.isotope).spin)
    to_splitting = 3 / (2 * spin * (2 * spin - 1))
    if spin.is_integer():
        return found + to_splitting * _largest(coupling[1] - coupling[0])
    squares = np.sum(coupling**2, axis=(-1, -2))
    # The norm of the difference of the squares, 3/2 of C_Q² where both are axial and along each other.
    cross = np.sum(coupling[0] * coupling[1], axis=(-1, -2))
    change = np.sqrt(np.maximum(squares[0] ** 2 + squares[1] ** 2 - 2 * cross**2, 0.0)) * 2 / 3
    return found + 25 / 144 * (spin * (spin + 1) - 0.75) * to_splitting**2 * change / larmor


def moved_hz(result: Result, event: int, field: float) -> np.ndarray:
    """By how much an event moves the middle of each nucleus' line, Hz, (nucleus,).

    The isotropic shift, and of half-integer spins the second order's; of integer spins the change of the first order's
    splitting, by the size of the coupling.

    Args:
        result: a run to its tensors.
        event: whose minimum.
        field: tesla.
    """
    larmor, shift, coupling = _parts(result, event, field)
    iso = 1e-6 * larmor * np.trace(shift[1] - shift[0], axis1=-2, axis2=-1) / 3
    if coupling is None:
        return np.abs(iso)
    spin = float(isotope(result.config.experiment.isotope).spin)
    # C_Q² (1 + η²/3) is 2/3 of the sum of the squared elements.
    products = np.sum(coupling**2, axis=(-1, -2)) * 2 / 3
    if spin.is_integer():
        sizes = np.sqrt(products)
        return np.abs(iso) + 3 / (2 * spin * (2 * spin - 1)) * np.abs(sizes[1] - sizes[0])
    factor = 3 / 40 * (spin * (spin + 1) - 0.75) / (spin * (2 * spin - 1)) ** 2
    return np.abs(iso - factor * (products[1] - products[0]) / larmor)


def _parts(result: Result, event: int, field: float) -> tuple[float, np.ndarray, np.ndarray | None]:
    """Larmor frequency, Hz, and shift and coupling of both minima, (2, nucleus, 3, 3)."""
    tensors, nucleus = result.tensors, isotope(result.config.experiment.isotope)
    if tensors is None:
        raise ValueError("tensors: the run stopped before them.")
    pair = [0, event + 1]
    shift = np.asarray(shielding_to_shift(tensors.shielding[pair], result.config.tensors.reference_ppm))
    coupling = np.asarray(efg_to_coupling(tensors.efg[pair], nucleus)) if nucleus.is_quadrupolar else None
    return abs(float(np.asarray(nucleus.larmor_frequency(field)))), shift, coupling


def _largest(tensors: np.ndarray) -> np.ndarray:
    even = (tensors + np.swapaxes(tensors, -1, -2)) / 2
    return np.abs(np.linalg.eigvalsh(even)).max(axis=-1)
