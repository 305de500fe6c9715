"""How many crossings of a saddle stay across, from short trajectories that start on it."""

from __future__ import annotations

import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxnmr.dynamics import ATOMIC, NVE, Langevin, Observable, Surface, Units, Vibrations, md
from jaxnmr.errors import JaxnmrWarning, warn
from jaxnmr.exchange._partition import check_point, check_temperature

__all__ = ["Transmission", "transmission"]

# As many structures are evaluated side by side.
_BATCH = 16
# Pairs of trajectories that run side by side: 128 copies of a network fill its cores, more would fill the memory.
_PAIRS = 64
# A list that is too short grows by an eighth or more each time; so often only for atoms that fall together.
_GROWTHS = 30
# A rate is not known to two parts in a hundred: less of a slope is a plateau, however small its error.
_FLAT = 0.02


class Transmission(eqx.Module):
    """A transmission coefficient as a function of time; its plateau is the coefficient.

    Attributes:
        time: since the start on the saddle, fs, (time,).
        series: κ(t).
        stderr: of each, from the independent starts.
        value: mean over the second half, where trajectories have settled on one side; 1 where noise takes it beyond.
        value_stderr: standard error of that mean.
        effective: how many of the starts count, after weighing them by the surface itself.
        anharmonic: mean weight: the ratio of the exact partition function on the dividing plane to the harmonic one.
    """

    time: Float[np.ndarray, " time"]
    series: Float[np.ndarray, " time"]
    stderr: Float[np.ndarray, " time"]
    value: float
    value_stderr: float
    effective: float
    anharmonic: float


def transmission(
    surface: Surface,
    saddle: Vibrations,
    temperature: float,
    *,
    time: float,
    dt: float = 0.5,
    samples: int = 1000,
    method: NVE | Langevin | None = None,
    every: int = 10,
    seed: int = 0,
    units: Units = ATOMIC,
) -> Transmission:
    r"""Transmission coefficient of the plane through a saddle at right angles to its unstable mode.

    $$\kappa(t) = \frac{\langle \dot q(0)\,\theta[q(t)]\rangle}{\langle \dot q(0)\,\theta[\dot q(0)]\rangle},$$

    q the mass-weighted coordinate along the mode, the average over the plane at equilibrium: positions are drawn from the
    harmonic distribution and weighed by the surface's own energy, velocities come in pairs of both signs. Multiplied with
    the rate of transition-state theory for this plane it is the classical rate, whatever the plane, once κ(t) has come to
    its plateau: after the vibrations of the barrier's top, before the first jump back.

    Args:
        surface: the saddle's.
        saddle: from `jaxnmr.dynamics.vibrations`, all modes.
        temperature: K.
        time: how long to follow each trajectory, fs.
        dt: time step, fs.
        samples: pairs of trajectories, 64 at a time run side by side.
        method: `NVE()` unless given, or `Langevin` for the friction of surroundings.
        every: steps between moments of κ(t).
        seed: of starts and noise.
        units: of the surface; `REDUCED` for one without units.

    Raises:
        ValueError: a point that is no first-order saddle or has other masses than the surface, a temperature that is not
            positive, or a plane so anharmonic that few starts count.
        MotionError: a time step too large; without friction told by a total energy that is not kept, see `md`.

    Warns:
        JaxnmrWarning: the third and the fourth quarter of κ(t) differ, by 0.02 and by three standard errors at least: there
            is no plateau, and the value is not the coefficient.

    References:
        Chandler, J. Chem. Phys. 68, 2959 (1978); Bennett, ACS Symp. Ser. 46, 63 (1977).
    """
    check_temperature(temperature)
    check_point(saddle, "saddle", 1)
    if samples < 10 or not time > dt * every:
        raise ValueError(f"samples, time: got {samples} and {time}; give ten samples at least, and more than one moment.")
    given = None if surface.masses is None else np.asarray(surface.masses, np.float64)
    if given is not None and not (
        given.shape == saddle.masses.shape and np.allclose(given, saddle.masses, rtol=1e-5, atol=0)
    ):
        raise ValueError("saddle: its masses are not those of the surface; take its vibrations on this surface.")
    rng = np.random.default_rng(seed)
    kt = units.boltzmann * float(temperature)
    values, moving = np.asarray(saddle.eigenvalues, np.float64), np.asarray(saddle.is_vibration)
    modes = np.asarray(saddle.modes, np.float64).reshape(len(values), -1)
    stable, masses = moving & (values > 0), np.asarray(saddle.masses, np.float64)
    across = modes[int(np.argmin(np.where(moving, values, np.inf)))]
    root = np.repeat(np.sqrt(masses), saddle.positions.shape[1])
    along = modes[stable]
    drawn = rng.normal(size=(samples, int(stable.sum()))) * np.sqrt(kt / values[stable])
    places = np.asarray(saddle.positions)[None] + (drawn @ along / root).reshape(-1, *saddle.positions.shape)
    energies, surface = _energies(surface, places)
    harmonic = float(saddle.energy) + 0.5 * (drawn**2 * values[stable]).sum(axis=1)
    weights, effective, anharmonic = _weights((harmonic - energies) / kt)
    # Velocities of the vibrations only: a molecule does not turn.
    speeds = rng.normal(size=(samples, len(values))) * np.sqrt(kt) * moving
    speeds = (speeds @ modes / root) * units.clock
    speeds = speeds.reshape(-1, *saddle.positions.shape)
    home, direction = jnp.asarray(saddle.positions).ravel(), across * root

    def side(state: Any) -> Any:
        r = state.positions.ravel()
        return jnp.sum(jnp.asarray(direction, r.dtype) * (r - home.astype(r.dtype)))

    steps = round(time / dt / every) * every
    sides, moments = [], np.zeros(0)
    for number, part in enumerate(_parts(samples)):
        with warnings.catch_warnings():
            if number:  # once is enough
                warnings.simplefilter("ignore", JaxnmrWarning)
            run = md(
                surface,
                np.concatenate([places[part], places[part]]),
                NVE() if method is None else method,
                steps=steps,
                dt=dt,
                every=every,
                velocities=np.concatenate([speeds[part], -speeds[part]]),
                observe=Observable(side, keep=True),
                seed=seed + number,
                units=units,
                # The way down from a barrier warms them without bound. Energy they keep, to what `md` allows.
                max_temperature=np.inf,
                centred=False,
            )
        seen = np.asarray(run.observed.values) > 0 if run.observed is not None else np.zeros((0, 2 * len(part)), bool)
        sides.append(seen.reshape(len(seen), 2, len(part)))
        moments = np.asarray(run.time)
    # The last part is filled up with starts of the first.
    observed = np.concatenate(sides, axis=2)[:, :, :samples]
    start = speeds.reshape(samples, -1) @ (across * root)
    # Both signs of a pair: q'(0) (θ[+] - θ[-]).
    gain = weights * start * (observed[:, 0].astype(float) - observed[:, 1])
    flux = weights * np.abs(start)
    series = gain.sum(axis=1) / flux.sum()
    stderr = np.sqrt(((gain - series[:, None] * flux) ** 2).sum(axis=1)) / flux.sum()
    late = gain[len(gain) // 2 :]
    value, error = _share(late.mean(axis=0), flux)
    if len(late) > 1:
        third, fourth = (part.mean(axis=0) for part in np.array_split(late, 2))
        _warn_of_slope(_share(third, flux)[0], _share(fourth, flux)[0], _share(fourth - third, flux)[1], time)
    return Transmission(moments, series, stderr, min(value, 1.0), error, effective, anharmonic)


def _share(gain: np.ndarray, flux: np.ndarray) -> tuple[float, float]:
    """Ratio of sums over the starts, and its standard error."""
    value = gain.sum() / flux.sum()
    return float(value), float(np.sqrt(((gain - value * flux) ** 2).sum()) / flux.sum())


def _warn_of_slope(third: float, fourth: float, error: float, time: float) -> None:
    if abs(fourth - third) <= max(_FLAT, 3 * error):
        return
    warn(
        f"transmission: no plateau; the share goes from {third:.3f} to {fourth:.3f} between the third quarter and the last "
        f"of time={time:g}. Give a longer time where it still settles (look at series), a shorter one where trajectories "
        "come back from the other side."
    )


def _parts(samples: int) -> np.ndarray:
    """Which starts run together: parts of one size, so that one program does for all, the last filled up from the first."""
    count = -(-samples // _PAIRS)
    return np.resize(np.arange(samples), (count, -(-samples // count)))


def _energies(surface: Surface, places: np.ndarray) -> tuple[np.ndarray, Surface]:
    """Energies of places, and the surface with neighbours that are enough for all of them."""
    for _ in range(_GROWTHS):
        energies, full = _at_once(surface, jnp.asarray(places))
        if not np.asarray(full).any():
            return np.asarray(energies, np.float64), surface
        at = places[int(np.argmax(np.asarray(full)))]
        surface = surface.with_neighbors(surface.neighbors.grow(at, surface.cell))
    raise ValueError(
        f"temperature: on the plane atoms come so near to each other that no list of neighbours is long enough ({_GROWTHS} "
        "times it was made longer); give a lower one."
    )


@eqx.filter_jit
def _at_once(surface: Surface, places: Any) -> tuple[Any, Any]:
    def one(position: Any) -> tuple[Any, Any]:
        around = surface.renew(surface.neighbors, position)
        return surface.energy(position, None, around), jnp.asarray(False) if around is None else around.overflowed

    # A thousand copies of a network side by side would fill the memory, and be no faster.
    return jax.lax.map(one, places, batch_size=_BATCH)


def _weights(log: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Of starts on the plane, from the logarithms: how many count, and the mean."""
    if not np.isfinite(log).all():
        raise ValueError("saddle: the energy is not finite near it at this temperature; give a lower one.")
    weights = np.exp(log - log.max())
    effective = float(weights.sum() ** 2 / (weights**2).sum())
    if effective < 0.05 * len(weights):
        raise ValueError(
            f"saddle: the plane is so anharmonic at this temperature that {effective:.0f} of {len(weights)} starts count; "
            "give a lower temperature or many more samples."
        )
    return weights, effective, float(np.exp(log).mean())
