"""Which basin a group of atoms is in, and averages over the moments that it spends there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxnmr.dynamics import mean_error
from jaxnmr.workflow._hops import Event
from jaxnmr.workflow._records import Ends

__all__ = ["Average", "Gauge", "conditional", "gauges"]

# Of half the distance between two minima: farther out the basin stays what it was, so that a recrossing counts for none.
_CORE = 0.7


class Gauge(eqx.Module):
    r"""Coordinates of one group that tell its basins apart.

    Of protons on bridges: d(donor) - d(acceptor) of each, Å. Of other events: the displacement from the first minimum along
    the straight way to each of the others, Å.

    Attributes:
        triples: proton, donor, acceptor of each bridge, (bridge, 3).
        images: where donor and acceptor are beyond their own positions, Å, (bridge, 2, 3).
        home: first minimum, Å, (atom, 3).
        ways: unit vectors to other minima, (way, atom, 3), zero for atoms of other groups.
        centres: coordinates of the basins' minima, (state, coordinate).
        states: 0 for the first minimum, 1 + event for others.
    """

    triples: np.ndarray
    images: np.ndarray
    home: np.ndarray
    ways: np.ndarray
    centres: np.ndarray
    states: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, positions: Any) -> Array:
        """Coordinates at some positions, Å."""
        r = jnp.asarray(positions)
        proton, donor, acceptor = (r[self.triples[:, k]] for k in range(3))
        images = jnp.asarray(self.images, r.dtype)
        gaps = [jnp.linalg.norm(proton - end - images[:, k], axis=-1) for k, end in enumerate((donor, acceptor))]
        along = jnp.einsum("wad,ad->w", jnp.asarray(self.ways, r.dtype), r - jnp.asarray(self.home, r.dtype))
        return jnp.concatenate([gaps[0] - gaps[1], along])

    @property
    def radius(self) -> float:
        """Of the cores about the minima, Å."""
        gaps = np.linalg.norm(self.centres[:, None] - self.centres[None], axis=-1)
        return float(_CORE * gaps[np.triu_indices(len(gaps), 1)].min() / 2)


def gauges(first: np.ndarray, before: np.ndarray, ends: Ends, events: Sequence[Event], used: Sequence[int]) -> list[Gauge]:
    """A gauge for each group that has events with rates, in the order of `ends.atoms`; others get one without states.

    Args:
        first: positions of the first minimum, Å.
        before: positions that the events' guesses were made from.
        ends: minima and groups.
        events: all.
        used: those that have rates.
    """
    found = []
    for g in range(len(ends.atoms)):
        mine, both = ends.basins(g, used)
        bridges = [bridge for k in mine for bridge in events[k].bridges]
        inside = np.isin(np.arange(len(first)), ends.atoms[g])[:, None]
        steps = [(ends.positions[k] - first) * inside for k in mine if not events[k].bridges]
        gauge = Gauge(
            np.array([(b.proton, b.donor, b.acceptor) for b in bridges], int).reshape(-1, 3),
            np.array([(b.donor_at - before[b.donor], b.acceptor_at - before[b.acceptor]) for b in bridges]).reshape(
                -1, 2, 3
            ),
            first,
            np.array([step / np.linalg.norm(step) for step in steps]).reshape(-1, *first.shape),
            np.zeros((0, 0)),
            (0, *(1 + k for k in (*mine, *both))),
        )
        centres = np.array([np.asarray(gauge(place)) for place in (first, *(ends.positions[k] for k in (*mine, *both)))])
        found.append(eqx.tree_at(lambda x: x.centres, gauge, centres))
    return found


class Average(NamedTuple):
    """Of a quantity over the moments in one basin.

    Attributes:
        mean: shape of the quantity.
        stderr: of the mean.
        variance: of one sample.
        time: longest correlation time of its elements, fs.
    """

    mean: np.ndarray
    stderr: np.ndarray
    variance: np.ndarray
    time: float


def conditional(values: np.ndarray, inside: np.ndarray, spacing: float) -> Average:
    r"""Average over the samples that count, with an error that knows how samples depend on each other.

    $$\bar x = \frac{\sum_t w_t x_t}{\sum_t w_t},\qquad \mathrm{stderr}(\bar x) = \frac{\mathrm{stderr}\langle w(x - \bar
    x)\rangle}{\langle w\rangle}$$

    with the error of the mean of w (x - x̄) by blocks of each replica.

    Args:
        values: (sample, replica, *shape).
        inside: w, whether a sample counts, (sample, replica).
        spacing: fs.
    """
    weight = inside.astype(np.float64).reshape(*inside.shape, *(1,) * (values.ndim - 2))
    share = inside.mean()
    if not share > 0:
        empty = np.full(values.shape[2:], np.nan)
        return Average(empty, empty, empty, float("nan"))
    mean = (weight * values).sum(axis=(0, 1)) / weight.sum()
    away = weight * (values - mean)
    variance = (away**2).sum(axis=(0, 1)) / max(weight.sum() - 1, 1)
    if len(values) < 8:
        return Average(mean, np.full(mean.shape, np.nan), variance, float("nan"))
    _, error, effective = mean_error(np.moveaxis(away, 0, -1))
    stderr = np.sqrt((np.asarray(error) ** 2).sum(axis=0)) / values.shape[1] / share
    count = np.asarray(effective)[inside.any(axis=0)]
    return Average(mean, stderr, variance, float(spacing * len(values) / np.nanmin(count) / 2))
