"""Averages basin by basin against Boltzmann's; hops that the motion shows, counted once; taking a motion up again."""

import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.workflow._basins import conditional, gauges
from jaxnmr.workflow._config import Rates, Sampling
from jaxnmr.workflow._counted import with_counts
from jaxnmr.workflow._hops import Event, proton_hops
from jaxnmr.workflow._records import Ends, ExchangeOfNuclei
from jaxnmr.workflow._sample import check_sampling, sampled, starts_of, steps_of

from . import toy
from .test_hops import dimers

pytestmark = pytest.mark.filterwarnings("ignore::jaxnmr.errors.JaxnmrWarning")
FIRST, LAST = np.array([[0, 0, 0], [toy.X0, 1.0, 0.0]]), np.array([[0, 0, 0], [toy.X1, 1.0, 0.0]])


def toy_gauges():
    """Of the toy's one event, made from an end that was given."""
    ends = Ends(("a",), LAST[None], np.zeros(1), np.array([True]), np.array([0]), (0,), ((0, 1),))
    return ends, gauges(FIRST, FIRST, ends, [Event("a", LAST, (0, 1), ())], [0])


def motion(tmp_path, kelvin, **how):
    """A motion of the toy."""
    ends, told = toy_gauges()
    how = Sampling(dt_fs=0.5, every=20, friction_per_ps=20.0, **how)
    starts = starts_of(FIRST, ends, told, how.replicas)
    kept = tmp_path / "motion.npz"
    group = np.array([0])
    return sampled(toy.surface(), toy.Tensors(), starts, told, [0], group, how, kelvin, quadrupolar=False, checkpoint=kept)


def shieldings(found):
    """Isotropic means of both basins with their errors."""
    error = np.sqrt((found.shielding_stderr[:, 0, [0, 1, 2], [0, 1, 2]] ** 2).mean(axis=-1))
    return np.trace(found.shielding[:, 0], axis1=-2, axis2=-1) / 3, error


def test_averages_of_quiet_basins(tmp_path):
    """No hop at 298 K. The mean lies 0.35 ppm from the minimum's value, by the well's asymmetry: errors of a third of it."""
    found = motion(tmp_path, 298.0, length_ps=30.0, warmup_ps=1.0, replicas=4)
    mean, error = shieldings(found)
    expected = toy.SIGMA + toy.SLOPE * np.array([toy.mean_place(298.0, k) for k in (0, 1)])
    still = toy.SIGMA + toy.SLOPE * np.array([toy.X0, toy.X1])
    assert (np.abs(expected - still) > 0.3).all() and (error < 0.12).all()
    assert (np.abs(mean - expected) < 3.5 * error).all() and (np.abs(mean - still) > 2 * error).all()
    assert not found.jumps.any() and np.isnan(found.rates).all()
    assert abs(found.found_kelvin[0] - 298) < 4 * found.found_kelvin[1] < 40


def test_motion_is_at_its_temperature_from_the_warmup_on(tmp_path):
    """Hardly any friction, which would heat a start at T/2 in 100 ps; 400 replicas know the mean to 4 %.

    The mean is over what is left after the warm-up: in the first quarter period of 10 fs the motion is at 2 T.
    """
    ends, told = toy_gauges()
    how = Sampling(dt_fs=0.5, every=4, length_ps=0.3, warmup_ps=0.1, replicas=200, friction_per_ps=0.01)
    starts = starts_of(FIRST, ends, told, how.replicas)
    found = sampled(
        toy.surface(), toy.Tensors(), starts, told, [0], np.array([0]), how, 300.0, quadrupolar=False,
        checkpoint=tmp_path / "motion.npz",
    )  # fmt: skip
    assert found.found_kelvin[0] == pytest.approx(300.0, rel=0.15)
    assert how.samples == 150 and how.skipped == 50 and found.length_ps == pytest.approx(0.2)


def test_hops_are_in_no_average_and_are_counted(tmp_path):
    """At 2000 K the proton hops often: each basin's mean stays its own; the rate is below HTST's by its recrossings only."""
    found = motion(tmp_path, 2000.0, length_ps=30.0, warmup_ps=1.0, replicas=4)
    mean, error = shieldings(found)
    assert found.jumps[0].sum() > 100
    expected = toy.SIGMA + toy.SLOPE * np.array([toy.mean_place(2000.0, k) for k in (0, 1)])
    # A basin that is left at the other's core keeps moments beyond the top: 3 ppm; an average over all would be 30 ppm off.
    assert (np.abs(mean - expected) < 4 * error + 4).all() and abs(mean[1] - mean[0]) > 50
    p = found.populations[0]
    assert p.sum() == pytest.approx(1) and found.spent_ps[0].sum() == pytest.approx(8 * found.length_ps)
    kt = toy.BOLTZMANN_IN_EV * 2000.0
    attempt = toy.OMEGA * np.sqrt(toy.stiffness(toy.X0) / toy.MASS) / (2 * np.pi)
    across = (toy.ACROSS + toy.TILT * toy.X0) / (toy.ACROSS + toy.TILT * toy.XS)
    htst = attempt * across * np.exp(-toy.barrier() / kt)
    # Friction of 20 per ps and an anharmonic well take up to a half of it; a jump counted at each crossing of the top adds.
    assert 0.4 * htst < found.rates[0, 1, 0] < 1.1 * htst
    # The exchange takes that rate, and not the saddle's, with its shares; nothing is left of the other.
    before = ExchangeOfNuclei(
        np.array([0]),
        np.array([[0, 1]]),
        np.array([[[0.5, 0.5]]]),
        htst * (1 - np.eye(2))[None, None],
        np.zeros((1, 2, 2), int),
        np.full((1, 1, 2), np.nan),
    )
    taken = with_counts(before, [found], toy_gauges()[0], Rates())
    assert taken.rates[0, 0, 1, 0] == pytest.approx(found.rates[0, 1, 0], rel=0.02) and taken.counted[0, 0, 0] < 0.15
    np.testing.assert_allclose(taken.populations[0, 0], p, atol=0.01)
    kept = with_counts(before, [found], toy_gauges()[0], Rates(saddle_error=0.01))
    assert kept.rates[0, 0, 1, 0] == htst


def test_a_motion_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    """Stopped in the middle, as by a signal, and called again: the same to the last bit."""
    ends, told = toy_gauges()
    how = Sampling(dt_fs=1.0, every=10, length_ps=1.0, warmup_ps=0.1, replicas=1)
    rest = (toy.surface(), toy.Tensors(), starts_of(FIRST, ends, told, 1), told, [0], np.array([0]), how, 400.0)
    whole = sampled(*rest, quadrupolar=False, checkpoint=tmp_path / "a.npz")
    seen = []

    def stop(done, total, now):
        seen.append(done)
        if done >= total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sampled(*rest, quadrupolar=False, checkpoint=tmp_path / "b.npz", progress=stop)
    seen.clear()
    again = sampled(*rest, quadrupolar=False, checkpoint=tmp_path / "b.npz", progress=lambda done, *_: seen.append(done))
    assert seen[0] > steps_of(how) / 2
    np.testing.assert_array_equal(again.shielding, whole.shielding)
    np.testing.assert_array_equal(again.found_kelvin, whole.found_kelvin)


def test_gauge_of_bridges_follows_images():
    """Across the cell's edge too: both groups have the coordinates of their minima, and opposite ones after the hop."""
    structure = dimers()
    events = proton_hops(structure)
    first = np.asarray(structure.positions)
    place = np.array([event.positions for event in events])
    both = np.array([True, True])
    ends = Ends(("a", "b"), place, np.zeros(2), both, np.arange(2), (0, 1), tuple(event.atoms for event in events))
    for k, gauge in enumerate(gauges(first, first, ends, events, [0, 1])):
        assert gauge.states == (0, k + 1)
        np.testing.assert_allclose(gauge.centres[0], -gauge.centres[1], atol=1e-6)
        np.testing.assert_allclose(gauge.centres[0], 0.97 - 1.83, atol=1e-6)
        # Atoms that have left the cell, as in a motion.
        np.testing.assert_allclose(gauge(first + 12.0), gauge.centres[0], atol=1e-6)


def test_errors_of_conditional_averages():
    """Correlated noise in two basins: the error is that of the correlation time, known; it would be 4.4 times too small."""
    rng, a, n = np.random.default_rng(3), 0.9, 1 << 14
    noise = rng.normal(size=(n, 2)) * np.sqrt(1 - a**2)
    x = np.zeros((n, 2))
    for t in range(1, n):
        x[t] = a * x[t - 1] + noise[t]
    inside = (np.arange(n) // 2048 % 2 == 0)[:, None] & np.ones(2, bool)
    found = conditional((x + 10 * inside)[..., None], inside, 5.0)
    assert found.mean[0] == pytest.approx(10, abs=4 * found.stderr[0])
    assert found.variance[0] == pytest.approx(1, rel=0.1)
    # (1 + a)/(1 - a) = 19 samples for each independent one, half of all samples inside.
    assert found.stderr[0] == pytest.approx(np.sqrt(19 / n), rel=0.3)
    assert found.time == pytest.approx(19 * 5.0 / 2, rel=0.5)


@pytest.mark.parametrize(
    ("surface", "model", "words"),
    [
        (toy.surface(), object(), "no tensor_fn"),
        (jn.dynamics.Surface(toy.energy, species=("C", "H")), toy.Tensors(), "a free molecule turns"),
    ],
)
def test_what_cannot_be_sampled(surface, model, words):
    """Said before any work."""
    with pytest.raises(ValueError, match=words):
        check_sampling(Sampling(length_ps=1.0), surface, model)
    check_sampling(Sampling(), surface, model)
