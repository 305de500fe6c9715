"""Spectra after a real pulse: shares of lines and sites, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.spins import Pulse, transition_weights

SIZES = jn.Resolution(300, samples=256)
AXIS = jn.Axis(hz=(-1.2e6, 1.2e6), points=64)


def pair():
    """Sodium with a weak and a strong coupling."""
    couplings = jn.quadrupole_tensor(jnp.array([0.2e6, 2e6]), 0.3)
    return jn.Sites("23Na", jn.shift_tensor(jnp.array([0.0, 20.0])), couplings, [0.25, 0.75])


def decay(sites, pulse):
    experiment = jn.Static(9.4, transition="all", excitation=pulse)
    return jn.spectrum.decay(sites, experiment, AXIS, resolution=SIZES).signal


def test_lines_and_sites_have_their_shares():
    """The whole signal is the sum of the weights, and each site alone makes its part of the decay."""
    pulse, sites = Pulse(60e3, 3e-6), pair()
    both = decay(sites, pulse)
    weights = transition_weights(sites, pulse, "all")
    np.testing.assert_allclose(both[0], (weights @ sites.populations).sum(), rtol=1e-12)
    # Each twice, so that all three calls share one compilation.
    alone = [decay(jn.Sites("23Na", sites.shift[(i, i), :], sites.quadrupole[(i, i), :]), pulse) for i in (0, 1)]
    np.testing.assert_allclose(both, 0.25 * alone[0] + 0.75 * alone[1], atol=1e-9)
    # Of the strong coupling the satellites are lost, the centre is not.
    assert weights[0, 1] / weights[1, 1] < 0.8 * weights[0, 0] / weights[1, 0]


def test_an_ideal_pulse_changes_nothing():
    """A thousandth of a microsecond: phases of the coupling are below 1e-2 then, errors their square."""
    np.testing.assert_allclose(decay(pair(), Pulse(0.25e9, 1e-9)), decay(pair(), None), atol=1e-4)


@pytest.mark.parametrize("spinning", [0.0, 40e3])
def test_each_site_keeps_its_own(spinning):
    """Jumps between two sites, too rare to matter, and a third at rest: the decay is that without jumps."""
    couplings = jn.quadrupole_tensor(jnp.array([0.0, 0.0, 3e6]), 0.0)
    sites = jn.Sites("23Na", jn.shift_tensor(jnp.array([0.0, 20.0, -10.0])), couplings)
    hops = jn.ExchangeModel.from_rates({(0, 1): 1e-3}, n_sites=3)
    pulse = Pulse(60e3, 2e-6)
    experiment = jn.MAS(9.4, spinning, excitation=pulse) if spinning else jn.Static(9.4, excitation=pulse)
    axis, sizes = jn.Axis(hz=(-2e4, 2e4), points=64), jn.Resolution(300, 8 if spinning else None, 128, smooth=False)
    both = [jn.spectrum.decay(sites, experiment, axis, exchange=x, resolution=sizes).signal for x in (hops, None)]
    np.testing.assert_allclose(*both, atol=1e-6)
    weights = transition_weights(sites, pulse)[0] / 3
    np.testing.assert_allclose(both[0][0], weights.sum(), rtol=1e-9)
    # One mean for all three sites would show.
    assert weights[2] < 0.8 * weights[0]


def test_jumping_sites_start_with_their_mean():
    """The signal is the mean over the populations; its derivative in the pulse's length is that of the weights."""
    sites = jn.Sites("23Na", pair().shift, pair().quadrupole)
    hops = jn.ExchangeModel.from_rates({(0, 1): 1e5, (1, 0): 3e5})

    def top(length):
        experiment = jn.Static(9.4, excitation=Pulse(60e3, length))
        return jn.spectrum.decay(sites, experiment, AXIS, exchange=hops, resolution=SIZES).signal[0].real

    def expected(length):
        return transition_weights(sites, Pulse(60e3, length))[0] @ jnp.array([0.75, 0.25])

    for value, wanted in zip(*(jax.value_and_grad(f)(3e-6) for f in (top, expected)), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-9)


def test_echoes_have_ideal_pulses():
    """Both together are refused."""
    with pytest.raises(ValueError, match="excitation: came together with an echo"):
        jn.MAS(9.4, 1e4, excitation=Pulse(1e5, 1e-6), echo=jn.HahnEcho(periods=1))
