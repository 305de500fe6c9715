"""Rates that the motion has counted: taken where they are the better known, of equivalent groups together."""

import dataclasses

import numpy as np
import pytest

from jaxnmr.workflow._config import Rates
from jaxnmr.workflow._counted import slowed_by, with_counts
from jaxnmr.workflow._records import Ends, ExchangeOfNuclei, Sampled

K, SHARES, TIME = 4e11, np.array([0.6, 0.4]), 500.0  # s⁻¹, and ps in all of each group


def ends(same_as=(0, 0)):
    """Two groups of one event each."""
    return Ends(("a", "b"), np.zeros((2, 1, 3)), np.zeros(2), np.ones(2, bool), np.array(same_as), (0, 1), ((0,), (1,)))


def exchange():
    """With the saddles' rates."""
    populations, rates = np.full((1, 2, 2), 0.5), 1e11 * np.tile(1 - np.eye(2), (1, 2, 1, 1))
    through, none = np.tile(np.arange(2)[:, None, None], (1, 2, 2)), np.full((1, 2, 2), np.nan)
    return ExchangeOfNuclei(np.array([0, 1]), np.array([[0, 1], [0, 2]]), populations, rates, through, none)


def motion(rng, time=TIME):
    """Jumps of a telegraph process with rate K out of the first basin, in detailed balance."""
    spent, none = time * np.tile(SHARES, (2, 1)), np.zeros((3, 2))
    jumps = np.zeros((2, 2, 2), int)
    jumps[:, 1, 0] = rng.poisson(K * 1e-12 * spent[:, 0])
    jumps[:, 0, 1] = np.maximum(jumps[:, 1, 0] + rng.integers(-1, 2, 2), 0)
    tensors, nothing = np.zeros((3, 2, 3, 3)), np.full((2, 2, 2), np.nan)
    return Sampled(
        298.0, np.array([298.0, 1.0]), time, 1, *(tensors,) * 4, *(none,) * 3, spent, jumps, nothing, nothing, spent / time
    )


def test_counts_in_the_place_of_saddles():
    """Both groups together: the rate within three of the errors that are told, and so is the share; shares sum to one."""
    found = with_counts(exchange(), [motion(np.random.default_rng(0))], ends(), Rates())
    error = found.counted[0]
    assert (error[:, 0] < 0.07).all() and (error[:, 1] >= error[:, 0]).all()
    np.testing.assert_array_equal(found.rates[0, 0], found.rates[0, 1])
    assert abs(found.rates[0, 0, 1, 0] / K - 1) < 3 * error[0, 0] and found.rates[0, 0, 0, 0] == 0
    p = found.populations[0, 0]
    assert p.sum() == pytest.approx(1) and abs(np.log(p[1] / p[0] * SHARES[0] / SHARES[1])) < 3 * error[0, 1]


def test_few_jumps_tell_rates_and_no_shares():
    """The shares stay, and the counted rates are brought to them: their product there and back is what was counted."""
    rng = np.random.default_rng(4)
    found, before = motion(rng, 60.0), exchange()
    best = with_counts(before, [found], ends(), Rates(share_error=0.9))
    error = best.counted[0, 0]
    assert 0.2 < error[1] < 0.9 and not np.array_equal(best.populations, before.populations)
    taken = with_counts(before, [found], ends(), Rates())
    np.testing.assert_array_equal(taken.populations, before.populations)
    np.testing.assert_allclose(taken.counted[0, 0], [error[0], 0.0])
    out, counted = taken.rates[0, 0], best.rates[0, 0]
    assert out[1, 0] * before.populations[0, 0, 0] == pytest.approx(out[0, 1] * before.populations[0, 0, 1])
    assert out[1, 0] * out[0, 1] == pytest.approx(counted[1, 0] * counted[0, 1])


def test_kinds_of_events_are_counted_apart():
    """Events that differ have rates of their own, with larger errors."""
    together = with_counts(exchange(), [motion(np.random.default_rng(1))], ends(), Rates())
    apart = with_counts(exchange(), [motion(np.random.default_rng(1))], ends((0, 1)), Rates())
    assert apart.rates[0, 0, 1, 0] != apart.rates[0, 1, 1, 0]
    assert (apart.counted[0, :, 0] > 1.2 * together.counted[0, :, 0]).all()


@pytest.mark.parametrize(
    ("how", "time"),
    [
        (Rates(counted="never"), TIME),
        (Rates(theory="eyring"), TIME),  # the motion is classical
        (Rates(), 5.0),  # fewer than five jumps each way
        (Rates(saddle_error=0.02), TIME),  # the saddle is known better
    ],
)
def test_saddles_stay(how, time):
    """To the last bit, and nothing says that it was counted."""
    before = exchange()
    found = with_counts(before, [motion(np.random.default_rng(2), time)], ends(), how)
    np.testing.assert_array_equal(found.rates, before.rates)
    np.testing.assert_array_equal(found.populations, before.populations)
    assert np.isnan(found.counted).all() and with_counts(before, [], ends(), Rates()) is before


def test_jumps_past_the_first_basin_are_counted():
    """Three basins that all exchange: 50 jumps each way in 100 ps are 5e11 /s between any two, and so in a star."""
    of = exchange()
    of = dataclasses.replace(
        of,
        states=np.array([[0, 1, 2]]),
        populations=np.full((1, 1, 3), 1 / 3),
        rates=1e11 * (1 - np.eye(3))[None, None],
        through=np.zeros((1, 3, 3), int),
        counted=np.full((1, 1, 2), np.nan),
    )
    found = motion(np.random.default_rng(3))
    jumps = 50 * (1 - np.eye(3, dtype=int))[None]
    found = dataclasses.replace(found, jumps=jumps, spent_ps=np.full((1, 3), 100.0))
    minima = dataclasses.replace(ends((0, 1)), groups=(0, 0), atoms=((0, 1),))
    taken = with_counts(of, [found], minima, Rates())
    np.testing.assert_allclose(taken.rates[0, 0], 0.5e12 * (1 - np.eye(3)))
    jumps[0, 1, 2] = jumps[0, 2, 1] = 0
    taken = with_counts(of, [found], minima, Rates())
    np.testing.assert_allclose(taken.rates[0, 0, 1:, 0], 0.5e12)
    assert taken.rates[0, 0, 1, 2] == 0


def test_friction_that_takes_much_of_the_rate_is_an_error():
    """Kramers: nothing of a proton's 1200 cm⁻¹ at 5 /ps, a quarter at 50 cm⁻¹; the half of a strong friction's is γ/ω."""
    slowed = slowed_by(5.0, np.array([-1200.0, -50.0, -1.0]))
    omega = 2 * np.pi * 2.998e10 * np.array([1200.0, 50.0, 1.0])
    kappa = np.sqrt(1 + (5e12 / 2 / omega) ** 2) - 5e12 / 2 / omega
    np.testing.assert_allclose(slowed, 1 - kappa, rtol=1e-3)
    assert slowed[0] < 0.02 < 0.2 < slowed[1] < 0.25 and 1 - slowed[2] == pytest.approx(omega[2] / 5e12, rel=0.01)
    before, one = exchange(), motion(np.random.default_rng(0))
    free = with_counts(before, [one], ends(), Rates())
    found = with_counts(before, [one], ends(), Rates(), slowed[[1, 1]])
    np.testing.assert_allclose(found.counted[..., 0], free.counted[..., 0] + slowed[1])
    np.testing.assert_array_equal(found.rates, free.rates)
    # Kept where the thermostat makes the counts worse than the saddle.
    found = with_counts(before, [one], ends(), Rates(saddle_error=0.2), slowed[[1, 1]])
    np.testing.assert_array_equal(found.rates, before.rates)
    assert np.isnan(found.counted).all()
    # Each kind by its own saddle.
    found = with_counts(before, [one], ends((0, 1)), Rates(saddle_error=0.2), slowed[[0, 1]])
    assert np.isfinite(found.counted[0, 0]).all() and np.isnan(found.counted[0, 1]).all()
