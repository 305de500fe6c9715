"""Pulses on quadrupolar nuclei: against density matrices propagated in NumPy, and in the limits of the books."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxnmr as jn
from jaxnmr.spins._excitation import Pulse, line_amplitudes, transition_weights

SPINS = {"13C": 0.5, "2H": 1.0, "23Na": 1.5, "27Al": 2.5, "10B": 3.0, "93Nb": 4.5}


def operators(spin):
    m = spin - np.arange(round(2 * spin) + 1)
    up = np.diag(np.sqrt(spin * (spin + 1) - m[1:] * (m[1:] + 1)), 1)
    return (up + up.T) / 2, (up - up.T) / 2j, np.diag(m)


def propagated(spin, nu_1, length, q, steps=2000):
    """Signals of I_x + i I_y from each pair of levels, by fourth-order Runge-Kutta: no eigenvalues, no exponentials.

    The time origin is put to the middle of the pulse by letting each line run back for half its length.
    """
    x, y, z = operators(spin)
    h = nu_1 * x + (0 if spin == 0.5 else q / (4 * spin * (2 * spin - 1)) * (3 * z @ z - spin * (spin + 1) * np.eye(len(z))))
    slope = lambda rho: -2j * np.pi * (h @ rho - rho @ h)  # noqa: E731
    rho, dt = z.astype(complex), length / steps
    for _ in range(steps):
        a = slope(rho)
        b = slope(rho + dt / 2 * a)
        c = slope(rho + dt / 2 * b)
        rho = rho + dt / 6 * (a + 2 * b + 2 * c + slope(rho + dt * c))
    out = []
    energies = np.real(np.diag(h))
    for i in range(len(z) - 1):
        back = np.exp(2j * np.pi * (energies[i + 1] - energies[i]) * length / 2)
        # -I_y is what an ideal 90-degree pulse about x makes of I_z.
        out.append(np.real(rho[i + 1, i] * back / (-y[i + 1, i])))
    return np.array(out)


@pytest.mark.parametrize("isotope", SPINS)
def test_against_propagated_density_matrices(isotope):
    """Every line, hard to selective; the step's error is 1e-9, an error of the phase or of a ladder factor 1e-2."""
    couplings = np.zeros(4) if isotope == "13C" else np.array([0.0, 2e5, -3e6, 5e6])
    expected = np.stack([propagated(SPINS[isotope], 70e3, 4e-6, q) for q in couplings], 1)
    np.testing.assert_allclose(line_amplitudes(isotope, Pulse(70e3, 4e-6), couplings), expected, atol=1e-6)


def test_limits_of_the_books():
    """All lines together, the central one alone, and short pulses."""
    hard, soft = Pulse(5e6, 0.07e-6), Pulse(2e3, 40e-6)
    np.testing.assert_allclose(line_amplitudes("27Al", hard, 1e3), np.sin(2 * np.pi * 5e6 * 0.07e-6), atol=1e-3)
    # Coupled at 3 MHz the central line of I = 5/2 nutates three times as fast, to a third; corrections are nu_1 / nu_Q.
    amplitudes = line_amplitudes("27Al", soft, 3e6)
    np.testing.assert_allclose(amplitudes[2], np.sin(2 * np.pi * 3 * 2e3 * 40e-6) / 3, atol=0.01)
    assert np.abs(np.delete(np.asarray(amplitudes), 2)).max() < 0.02
    short = Pulse(50e3, 0.1e-6)
    frequency = 3 * (1 - 2 * np.arange(2.5, -2, -1)) / 40 * 8e6
    np.testing.assert_allclose(
        line_amplitudes("27Al", short, 8e6), short.flip_angle * np.sinc(frequency * 0.1e-6), atol=2e-4
    )


def test_powder_average():
    """Against 4000 random crystallites; sums of an ideal pulse are one; a larger coupling loses satellites, not centre."""
    couplings = jn.quadrupole_tensor(jnp.array([1.0, 2e6]), jnp.array([0.0, 0.4]), euler=(0.3, jnp.array([0.5, 1.1]), 0.2))
    sites = jn.Sites("23Na", jn.shift_tensor(jnp.zeros(2)), couplings)
    pulse = Pulse(100e3, 1e-6)
    weights = np.asarray(transition_weights(sites, pulse, "all", orientations=2000))
    assert weights.shape == (3, 2)
    np.testing.assert_allclose(weights[:, 0], np.array([0.3, 0.4, 0.3]) * np.sin(0.2 * np.pi), atol=1e-4)
    n = np.random.default_rng(1).normal(size=(4000, 3))
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    along = np.einsum("na,ab,nb->n", n, np.asarray(couplings[1]), n)
    # Amplitude as a table of the coupling, so that few are propagated.
    nodes = np.linspace(along.min(), along.max(), 41)
    table = np.array([propagated(1.5, 100e3, 1e-6, q, 400) for q in nodes])
    expected = [np.interp(along, nodes, column).mean() for column in table.T] * np.array([0.3, 0.4, 0.3])
    # 4000 random crystallites leave 0.01 x sd of the amplitudes, 3e-3.
    np.testing.assert_allclose(weights[:, 1], expected, atol=3e-3)
    assert weights[0, 1] < 0.8 * weights[0, 0]
    (central,) = transition_weights(sites, Pulse(1e6, 0.25e-6))
    np.testing.assert_allclose(central[0], 1.0, atol=1e-6)


def test_gradients():
    """In coupling, nutation and length, also where levels +-5/2 nearly coincide, and at zero coupling."""

    @jax.jit
    def signal(q, nu_1, length):
        return line_amplitudes("27Al", Pulse(nu_1 * 1e5, length * 1e-6), q * 1e6)

    for q in (0.0, 0.3, 20.0):
        arguments = tuple(jnp.asarray(x) for x in (q, 0.5, 2.0))
        check_grads(signal, arguments, order=1, modes=("fwd", "rev"), rtol=1e-4, atol=1e-5)


def test_single_precision():
    """Strong coupling, long pulse: phases of 100 rad leave 1e-4."""
    with jax.enable_x64(False):
        low = np.asarray(line_amplitudes("27Al", Pulse(60e3, 5e-6), jnp.float32(4e6)))
    assert low.dtype == np.float32
    np.testing.assert_allclose(low, line_amplitudes("27Al", Pulse(60e3, 5e-6), 4e6), atol=3e-4)


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda: Pulse(0.0, 1e-6), "nutation_frequency: got 0"),
        (lambda: Pulse(np.inf, 1e-6), "nutation_frequency: got inf"),
        (lambda: Pulse(1e5, -1e-6), "length: got -1e-06"),
        (lambda: Pulse(np.ones(2), 1e-6), r"nutation_frequency: got shape \(2,\)"),
        (lambda: line_amplitudes("17X", Pulse(1e5, 1e-6), 0.0), "17X"),
        (lambda: transition_weights(jn.Sites("13C", np.eye(3)), Pulse(1e5, 1e-6), (1.5, 0.5)), "13C"),
        (lambda: transition_weights(jn.Sites("13C", np.eye(3)), Pulse(1e5, 1e-6), orientations=0), "orientations: got 0"),
    ],
)
def test_bad_input(make, advice):
    """Named, with what came."""
    with pytest.raises(ValueError, match=advice):
        make()
