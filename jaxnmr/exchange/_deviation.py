r"""What a spectrum loses when sites that exchange fast are replaced by one.

The generator of a group of sites is split into its stationary mode and the rest, which decays at the rates of the motion.
To second order in the frequencies the mode evolves with

$$\ell(\mathbf n) = \mathbf 1^\top\mathbf G\mathbf p + \mathbf 1^\top\mathbf G\,(-\mathbf K)^+\,\mathbf G\mathbf p,$$

$(-\mathbf K)^+$ the inverse among the decaying modes, $\mathbf G(\mathbf n) = 2\pi i\,\mathrm{diag}\,\boldsymbol\nu -
\pi\,\mathrm{diag}\,\boldsymbol\Delta + \mathbf M$ all but the jumps, with M the second-order quadrupolar term at the very
rates of the motion.

The last term is the residual width, over $-\pi$: for two sites $4\pi p_1 p_2\,\delta\nu^2/k_{ex}$. It is all that the mean
coherence of the group lacks (`AveragedExchange`). One site of mean tensors has $\ell'(\mathbf n) = 2\pi i\,\nu'(\mathbf
n) - \pi\Delta'$ and deviates by $|\ell - \ell'|/\pi$, which without a second order is the residual width again. Both count
at the worst orientation. A deviation of x linewidths changes a Lorentzian line by at most $x/\sqrt 2$ in relative L2, be it
a width or twice a shift.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxnmr.exchange._liouvillian import exchange_populations
from jaxnmr.exchange._model import ExchangeModel
from jaxnmr.exchange._modes import shares
from jaxnmr.harmonics import components, fibonacci_hemisphere, harmonics, zonal
from jaxnmr.spins import PAIR_RANKS, RANKS, Sites, coupling_irreps, frequency_irreps

__all__ = ["Cost", "Known", "cost", "frequencies", "rate_error", "survey"]

# Directions of the field on the hemisphere; patterns of rank 4 are smooth on this scale.
_DIRECTIONS = 400

_first = eqx.filter_jit(lambda sites, m, field: frequency_irreps(sites, m, field, second_order=False))
_rest = eqx.filter_jit(lambda sites, m, field: frequency_irreps(sites, m, field, second_order=True))
_coupling = eqx.filter_jit(coupling_irreps)


class Known(NamedTuple):
    """A problem with known values, in NumPy: what every question about its groups needs.

    Attributes:
        sites: tensors.
        rates: K, $s^{-1}$, (site, site).
        populations: (site,).
        field: tesla, an array of the tensors' type.
        ms: upper levels of the observed transitions.
        linewidth: Hz, (site,).
        basis: harmonics of ranks 0 to 4 at the directions, scaled by what the rotor leaves of them, (irrep, direction).
    """

    sites: Sites
    rates: np.ndarray
    populations: np.ndarray
    field: Array
    ms: tuple[float, ...]
    linewidth: np.ndarray
    basis: np.ndarray

    @property
    def even(self) -> np.ndarray:
        """The basis of ranks 0, 2 and 4."""
        return self.basis[[rank in RANKS for rank, _ in components(PAIR_RANKS)]]


def survey(
    sites: Sites,
    model: ExchangeModel,
    field: float,
    ms: tuple[float, ...],
    linewidth: np.ndarray,
    averaged_about: float | None,
) -> Known:
    """Gather a problem; `averaged_about` is the angle of an infinitely fast rotor, of which its means remain."""
    values = harmonics(fibonacci_hemisphere(_DIRECTIONS).T, PAIR_RANKS)
    basis = np.stack([np.broadcast_to(value, (_DIRECTIONS,)) for value in values])
    if averaged_about is not None:
        basis = basis * np.array(zonal(np.cos(averaged_about), PAIR_RANKS))[:, None]
    p = np.asarray(exchange_populations(sites, model), dtype=np.float64)
    rates = np.asarray(model.rates, dtype=np.float64)
    return Known(sites, rates, p, jnp.asarray(field, sites.shift.dtype), ms, linewidth, basis)


def frequencies(known: Known, m: float) -> np.ndarray:
    """Offsets of sites at rest, Hz, second order included, (direction, site)."""
    return known.even.T @ np.asarray(_rest(known.sites, m, known.field), dtype=np.float64)


class Cost(NamedTuple):
    """Of replacing a group: `residual` width left out of the mean coherence, `deviation` of mean tensors; Hz."""

    residual: float
    deviation: float


def cost(known: Known, group: tuple[int, ...]) -> Cost:
    """Largest cost of replacing a group by one site, over directions and transitions."""
    members = np.asarray(group)
    p = np.asarray(shares(jnp.asarray(known.populations), (group,)))[members]
    inside = known.rates[np.ix_(members, members)]
    inside = inside - np.diag(inside.sum(axis=0))
    if not inside.any():
        return Cost(np.inf, np.inf)
    residuals, changes = zip(*(_excess(known, m, members, p, inside) for m in known.ms), strict=True)
    residual, change = np.stack(residuals), np.stack(changes)
    return Cost(float(np.abs(residual).max() / np.pi), float(np.abs(residual + change).max() / np.pi))


def _excess(known: Known, m: float, members: np.ndarray, p: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the group's slow evolution has beyond its mean, and that mean beyond the mean tensors, $s^{-1}$, (direction,)."""
    sites, width = known.sites, known.linewidth[members]
    first = known.even.T @ np.asarray(_first(sites, m, known.field), dtype=np.float64)[:, members]
    # The first order of the mean tensors is the mean of the first order: only the second can differ.
    generator = 2j * np.pi * (first - (first @ p)[:, None]) - np.pi * (width - width @ p)
    row, column = generator, generator * p
    change = np.zeros(len(first), dtype=complex)
    if sites.quadrupole is not None:
        moving = _moving_second_order(known, m, members, inside)
        mean = (moving @ p).sum(axis=1)
        row = row + moving.sum(axis=1) - mean[:, None]
        column = column + moving @ p - mean[:, None] * p
        change = mean - 2j * np.pi * (known.even.T @ _second(known, m, members, p))
    # The stationary mode is lifted to a rate of its own, so that the rest can be inverted.
    lifted = -inside + np.abs(inside).max() * p[:, None]
    return np.einsum("di,di->d", row, np.linalg.solve(lifted, column.T).T), change


def _second(known: Known, m: float, members: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Second-order shift of the mean tensors at rest, Hz, irreps of even ranks."""
    assert known.sites.quadrupole is not None
    mean = lambda tensors: np.einsum("s,sab->ab", p.astype(tensors.dtype), np.asarray(tensors)[members])[None]  # noqa: E731
    one = Sites(known.sites.isotope, mean(known.sites.shift), mean(known.sites.quadrupole))
    both = (
        np.asarray(_rest(one, m, known.field), dtype=np.float64),
        np.asarray(_first(one, m, known.field), dtype=np.float64),
    )
    return (both[0] - both[1])[:, 0]


def _moving_second_order(known: Known, m: float, members: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The second-order generator at the group's own rates, $s^{-1}$, (direction, member, member)."""
    n = len(known.sites)
    rates = np.zeros((n, n))
    rates[np.ix_(members, members)] = inside
    omega = 2 * np.pi * abs(float(known.sites.nucleus.larmor_frequency(known.field)))
    resolvents = np.stack([np.linalg.inv(-1j * order * np.eye(n) - rates / omega) for order in (1, 2)])
    dtype = np.result_type(np.dtype(known.sites.shift.dtype), np.complex64)
    irreps = np.asarray(_coupling(known.sites, m, known.field, jnp.asarray(resolvents, dtype)))
    block = irreps[:, members[:, None], members[None, :]].astype(complex)
    return np.einsum("rij,rd->dij", block, known.basis)


def rate_error(known: Known, group: tuple[int, ...], partition: tuple[tuple[int, ...], ...]) -> float:
    r"""Relative error of the rates out of a group by which it leaves faster from some of its sites than from others.

    Where jumps inside are fast the sites are in balance before each jump out, and lumped rates hold; else they fail by
    $d^\top(-K)^+(d\circ p)/\bar\\kappa$ with d the deviations of the rates out from their mean.
    """
    members = np.asarray(group)
    p = np.asarray(shares(jnp.asarray(known.populations), (group,)))[members]
    inside = known.rates[np.ix_(members, members)]
    inside = inside - np.diag(inside.sum(axis=0))
    out = np.array([known.rates[list(other)][:, members].sum(axis=0) for other in partition if other != group])
    if out.size == 0 or not out.any():
        return 0.0
    mean = out @ p
    spread = out - mean[:, None]
    lifted = -inside + np.abs(inside).max() * p[:, None]
    return float(np.einsum("ci,ic->", spread, np.linalg.solve(lifted, (spread * p).T)) / mean.sum())
