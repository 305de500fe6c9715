"""Measured spectra as the arrays that a fit compares with, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxnmr.spectrum import Spectrum

__all__ = ["Data", "build_data", "is_spectrum", "region_mask"]


_REGIONS = "give (from, to) in ppm, finite, or a list of such pairs."


def is_spectrum(x: Any) -> bool:
    """Where a tree of spectra ends."""
    return isinstance(x, Spectrum)


class Data(eqx.Module):
    """One entry for each spectrum, in the order of the measured tree.

    `weight` is what residuals are multiplied by: 1/noise where the noise is known, 0 at points left out.
    """

    treedef: Any = eqx.field(static=True)
    labels: tuple[str, ...] = eqx.field(static=True)
    isotopes: tuple[str | None, ...] = eqx.field(static=True)
    used: tuple[int, ...] = eqx.field(static=True)
    intensity: tuple[Any, ...]
    weight: tuple[Any, ...]
    ppm: tuple[Any, ...]
    larmor: tuple[Any, ...]

    @property
    def points(self) -> int:
        """Points that count."""
        return sum(self.used)


def build_data(measured: Any, noise: Any, weights: Any, regions: Any) -> Data:
    """Check and arrange.

    Raises:
        ValueError: no spectra, points that are not finite, noise or weights that do not fit, regions without points.
    """
    leaves, treedef = jax.tree.flatten(measured, is_leaf=is_spectrum)
    dtype = jnp.result_type(float)
    if not leaves:
        raise ValueError("measured: got no spectrum.")
    paths = [_where(path) for path, _ in jax.tree_util.tree_flatten_with_path(measured, is_leaf=is_spectrum)[0]]
    noises = _each("noise", noise, treedef, len(leaves))
    factors = _each("weights", weights, treedef, len(leaves))
    choices = _choices(regions, treedef, len(leaves))
    columns: list[tuple[Any, ...]] = []
    used = []
    for where, spectrum, sigma, factor, choice in zip(paths, leaves, noises, factors, choices, strict=True):
        if not isinstance(spectrum, Spectrum):
            raise ValueError(
                f"measured{where}: got {type(spectrum).__name__}; give jn.Spectrum (Spectrum.read, or of arrays)."
            )
        y, ppm = np.asarray(spectrum.intensity, np.float64), np.asarray(spectrum.ppm, np.float64)
        if y.ndim != 1:
            raise ValueError(f"measured{where}: got a batch of shape {y.shape}; use fit_many.")
        mask = region_mask(ppm, choice, where)
        weight = mask / _positive("noise", sigma, y.shape, where) * _weights(factor, y.shape, where)
        if bad := int((~np.isfinite(y[weight > 0])).sum()):
            at = ppm[(weight > 0) & ~np.isfinite(y)]
            raise ValueError(
                f"measured{where}: {bad} of {len(y)} points are not finite numbers, the first at {at[0]:g} ppm; leave them "
                "out by `regions` or by weights of 0."
            )
        used.append(int((weight > 0).sum()))
        larmor = float(spectrum.larmor_frequency) if np.any(ppm) else float("nan")
        # Points left out may hold anything, but 0 times NaN is NaN.
        columns.append((np.where(weight > 0, y, 0.0), weight, ppm, larmor))
    intensity, weight, ppm, larmor = (tuple(jnp.asarray(x, dtype) for x in column) for column in zip(*columns, strict=True))
    isotopes = tuple(spectrum.isotope for spectrum in leaves)
    return Data(treedef, tuple(paths), isotopes, tuple(used), intensity, weight, ppm, larmor)


def region_mask(ppm: np.ndarray, regions: Any, where: str = "") -> np.ndarray:
    """1 inside any of the (from, to) pairs, ppm in either order; 1 everywhere without pairs."""
    if regions is None:
        return np.ones_like(ppm)
    if not _is_regions(regions):
        raise ValueError(f"regions{where}: got {regions!r}; {_REGIONS}")
    mask = np.zeros_like(ppm)
    for low, high in np.sort(np.reshape(np.asarray(regions, np.float64), (-1, 2)), axis=1):
        inside = (ppm >= low) & (ppm <= high)
        if not inside.any():
            raise ValueError(
                f"regions{where}: ({low:g}, {high:g}) ppm has no point; the axis runs from {ppm[0]:g} to {ppm[-1]:g} ppm."
            )
        mask[inside] = 1.0
    return mask


def _where(path: Sequence[Any]) -> str:
    return jax.tree_util.keystr(tuple(path))


def _is_regions(regions: Any) -> bool:
    """Whether these are ends of one region or of several, finite numbers."""
    try:
        ends = np.asarray(regions, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    pairs = ends.shape == (2,) or (ends.ndim == 2 and ends.shape[0] > 0 and ends.shape[1] == 2)
    return pairs and bool(np.isfinite(ends).all())


def _choices(regions: Any, treedef: Any, count: int) -> list[Any]:
    """One entry for each spectrum. A list of pairs is one choice for all; anything else has the structure of `measured`."""
    if regions is None or _is_regions(regions):
        return [regions] * count
    if treedef == jax.tree.structure(0):
        return [regions]
    try:
        return treedef.flatten_up_to(regions)
    except ValueError:
        raise ValueError(
            f"regions: got {regions!r}; {_REGIONS} Or give the structure of `measured`, with such a choice per spectrum."
        ) from None


def _each(name: str, value: Any, treedef: Any, count: int) -> list[Any]:
    """One entry for each spectrum: the same number for all, or the structure of `measured`."""
    if value is None or (np.ndim(value) == 0 and not isinstance(value, dict)):
        return [value] * count
    if count == 1 and treedef == jax.tree.structure(0):
        return [value]
    try:
        return treedef.flatten_up_to(value)
    except ValueError:
        raise ValueError(f"{name}: give one number, or the structure of `measured` with one entry per spectrum.") from None


def _positive(name: str, value: Any, shape: tuple[int, ...], where: str) -> Any:
    if value is None:
        return 1.0
    array = np.asarray(value, np.float64)
    if array.shape not in ((), shape) or not (np.isfinite(array).all() and (array > 0).all()):
        raise ValueError(f"{name}{where}: give a standard deviation > 0, one number or one per point, {shape}.")
    return array


def _weights(value: Any, shape: tuple[int, ...], where: str) -> Any:
    if value is None:
        return 1.0
    array = np.asarray(value, np.float64)
    if array.shape not in ((), shape) or not (np.isfinite(array).all() and (array >= 0).all() and array.any()):
        raise ValueError(f"weights{where}: give numbers >= 0, not all 0, one per point, {shape}.")
    return np.sqrt(array)
