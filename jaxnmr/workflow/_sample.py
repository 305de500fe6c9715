"""Motion in the basins: molecular dynamics with tensors in the same pass, and averages basin by basin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jaxnmr.dynamics import Langevin, MDState, Observable, Surface, md, mean_error
from jaxnmr.workflow._basins import Gauge, conditional
from jaxnmr.workflow._config import Sampling
from jaxnmr.workflow._records import Ends, Sampled

__all__ = ["Watch", "check_sampling", "sampled", "starts_of", "steps_of"]

rates: Any = import_module("jaxnmr.exchange.rates")

# Fewer jumps than these each way tell no rate. Velocities at first are drawn at so many times the temperature.
_JUMPS, _FIRST = 5, 2.0


class Watch(eqx.Module):
    """What is looked at along the motion: the gauges of all groups, and tensors of the observed atoms.

    Attributes:
        gauges: of the groups.
        model: with `tensor_fn(name, positions, cell, graph)`.
        nuclei: observed atoms.
        names: of the properties.
    """

    gauges: tuple[Gauge, ...]
    model: Any
    nuclei: tuple[int, ...] = eqx.field(static=True)
    names: tuple[str, ...] = eqx.field(static=True)

    def __call__(self, state: MDState) -> dict[str, Any]:
        """Coordinates of each group, and a tensor of each nucleus for each property."""
        graph = None if state.neighbors is None else state.neighbors.graph
        which = np.asarray(self.nuclei)
        found: dict[str, Any] = {f"{g}": gauge(state.positions) for g, gauge in enumerate(self.gauges)}
        for name in self.names:
            whole = self.model.tensor_fn(name, state.positions, state.cell, graph)
            found[name] = jnp.asarray(whole, state.energy.dtype)[which]
        return found


def check_sampling(how: Sampling, surface: Surface, model: Any) -> None:
    """Refuse what cannot be sampled.

    Raises:
        ValueError: a model without `tensor_fn`, one that sees farther than the surface's neighbours, or a free molecule,
            which turns, so that averages in a fixed frame mean nothing.
    """
    if how.length_ps == 0:
        return
    if not hasattr(model, "tensor_fn"):
        raise ValueError(
            "sample.length_ps: the tensor model has no tensor_fn(name, positions, cell, graph); give 0, or one."
        )
    reach = getattr(surface.neighbors, "cutoff", None)
    if reach is not None and getattr(model, "cutoff", 0.0) > reach:
        raise ValueError(
            f"sample.length_ps: the tensor model sees {model.cutoff:g} Å, the potential's neighbours reach {reach:g} Å; "
            "give 0, or a tensor model that sees no farther."
        )
    if surface.cell is None and not any(surface.fixed or ()):
        raise ValueError("sample.length_ps: a free molecule turns, and its tensors with it; give a crystal, or hold atoms.")


def starts_of(first: np.ndarray, ends: Ends, gauges: Sequence[Gauge], replicas: int) -> np.ndarray:
    """Where replicas start, Å, (replica, atom, 3): all groups in their first basin, all in their second, and so on."""
    width = max((len(g.states) for g in gauges), default=1)
    places = []
    for j in range(width):
        place = first.copy()
        for gauge in gauges:
            event = gauge.states[j] if j < len(gauge.states) else 0
            if event > 0:
                # All at once: what one moves of the others is small, and settles on the way.
                place += ends.positions[event - 1] - first
        places += [place] * replicas
    return np.array(places)


def steps_of(how: Sampling) -> int:
    """Steps of each replica."""
    return how.every * how.samples


def sampled(
    surface: Surface,
    model: Any,
    starts: np.ndarray,
    gauges: Sequence[Gauge],
    nuclei: Sequence[int],
    groups: np.ndarray,
    how: Sampling,
    kelvin: float,
    *,
    quadrupolar: bool,
    checkpoint: Path,
    progress: Callable[[int, int, float], None] | None = None,
) -> Sampled:
    r"""Langevin motion from all starts, and tensors averaged in each basin.

    An event may be so frequent that the motion shows it. An average over all of it would contain the event, and the
    exchange would count it again; so each sample is given to the basin whose core its group entered last, and the
    averages are conditional, $\langle T\rangle_s = \langle w_s T\rangle / \langle w_s\rangle$.

    Args:
        surface: to move on.
        model: tensors, with `tensor_fn`.
        starts: Å, (replica, atom, 3).
        gauges: of all groups.
        nuclei: observed atoms.
        groups: of each nucleus, -1 where no event moves it.
        how: lengths and steps.
        kelvin: temperature.
        quadrupolar: whether field gradients count.
        checkpoint: file to go on from if it is there, and to keep.
        progress: called with steps made, steps in all, and the temperature.

    Raises:
        MotionError: the motion went wrong.
    """
    names = ("shielding", "efg") if quadrupolar else ("shielding",)
    watch = Observable(Watch(tuple(gauges), model, tuple(int(k) for k in nuclei), names), keep=True)
    run = _moved(surface, starts, how, kelvin, watch, checkpoint, progress)
    skip = how.skipped
    spacing = how.dt_fs * how.every
    values = {name: np.asarray(part, np.float64)[skip:] for name, part in run.observed.values.items()}
    length = len(values["shielding"])
    n_states = 1 + max((s for g in gauges for s in g.states), default=0)
    width = max((len(g.states) for g in gauges), default=1)
    labels = [_labels(values[f"{g}"], gauge) for g, gauge in enumerate(gauges)]

    shape = (n_states, len(nuclei))
    mean, error = np.full((2, *shape, 3, 3), np.nan), np.full((2, *shape, 3, 3), np.nan)
    spread, time = np.full((2, *shape), np.nan), np.full((2, *shape), np.nan)
    everywhere = np.ones((length, len(starts)), bool)
    for n, g in enumerate(groups):
        for basin, state in enumerate(gauges[g].states if g >= 0 else (0,)):
            inside = labels[g] == basin if g >= 0 else everywhere
            for kind, name in enumerate(names):
                found = conditional(values[name][:, :, n], inside, spacing)
                mean[kind, state, n], error[kind, state, n] = found.mean, found.stderr
                spread[kind, state, n], time[kind, state, n] = np.sqrt(found.variance.mean()), found.time

    spent, jumps = np.zeros((len(gauges), width)), np.zeros((len(gauges), width, width), int)
    counted, counted_error = np.full((2, len(gauges), width, width), np.nan)
    shares = np.full((len(gauges), width), np.nan)
    for g, (label, gauge) in enumerate(zip(labels, gauges, strict=True)):
        n = len(gauge.states)
        spent[g, :n] = [1e-3 * spacing * (label == j).sum() for j in range(n)]
        before, after = label[:-1], label[1:]
        np.add.at(jumps[g], (after, before), 1)
        np.fill_diagonal(jumps[g], 0)
        if n > 1 and all(min(jumps[g, j].sum(), jumps[g, :, j].sum()) >= _JUMPS for j in range(n)):
            try:
                found = rates.counted_rates(label, spacing, n_states=n)
            except ValueError:  # basins that no jump joins
                continue
            counted[g, :n, :n], counted_error[g, :n, :n] = found.rates, found.stderr
            shares[g, :n] = found.populations
    warmth = mean_error(np.moveaxis(np.asarray(run.temperature)[skip:], 0, -1))
    kelvins = np.array([np.mean(warmth[0]), np.sqrt(np.sum(np.square(warmth[1]))) / len(starts)])
    if not quadrupolar:
        mean[1], error[1] = 0.0, 0.0
    return Sampled(
        float(kelvin),
        kelvins,
        1e-3 * spacing * length,
        len(starts),
        mean[0],
        mean[1],
        error[0],
        error[1],
        spread[0],
        spread[1],
        np.fmax(time[0], time[1]),
        spent,
        jumps,
        counted,
        counted_error,
        shares,
    )


def _labels(coordinates: np.ndarray, gauge: Gauge) -> np.ndarray:
    """Basin of each moment, (sample, replica); before the first core that of the nearest minimum."""
    if len(gauge.states) < 2:
        return np.zeros(coordinates.shape[:2], int)
    label = rates.assign_states(coordinates, gauge.centres, gauge.radius)
    away = ((coordinates[:, :, None] - gauge.centres) ** 2).sum(axis=-1)
    return np.where(label >= 0, label, np.argmin(away, axis=-1))


def _moved(
    surface: Surface,
    starts: np.ndarray,
    how: Sampling,
    kelvin: float,
    watch: Observable,
    checkpoint: Path,
    progress: Callable[[int, int, float], None] | None,
) -> Any:
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    dtype = jnp.asarray(0.0).dtype
    method = Langevin(jnp.asarray(kelvin, dtype), jnp.asarray(1e-3 * how.friction_per_ps, dtype))
    resume = checkpoint if checkpoint.exists() else None
    # Small blocks: what a stop can cost is one of them.
    block = how.every * max(1, 200 // how.every)
    return md(
        surface,
        None if resume else jnp.asarray(starts, dtype),
        method,
        steps=steps_of(how),
        dt=how.dt_fs,
        # At a minimum all energy is in the velocities; half of it goes into the displacements within a period of each
        # vibration, and T is left. The bath alone would take some 1/friction to fill them.
        temperature=jnp.asarray(_FIRST * kelvin, dtype),
        every=how.every,
        observe=watch,
        seed=how.seed,
        checkpoint=checkpoint,
        resume=resume,
        block_steps=block,
        progress=progress,
    )
