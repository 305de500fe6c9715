"""Memory stays bounded where patterns are wide: the powder is worked through in parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.spectrum import Fibonacci, _solver_rigid
from jaxnmr.spins import frequency_irreps


def test_wide_satellites_under_slow_spinning():
    """Aluminium's 3 MHz of satellites at 5 kHz: 1e3 sidebands from 5e4 orientations, 27 GB in float64 if held at once."""
    sites = jn.Sites("27Al", jn.shift_tensor(10.0), jn.quadrupole_tensor(5e6, 0.2))
    axis = jn.Axis(ppm=(300.0, -300.0), points=512)

    def spectrum(width):
        return jn.simulate(sites, jn.MAS(14.1, 5e3, transition="all"), axis, linewidth=width).intensity

    sizes = jn.spectrum.resolve(sites, jn.MAS(14.1, 5e3, transition="all"), axis, linewidth=300.0)
    assert sizes.orientations * sizes.phases > 1e7
    memory = jax.jit(lambda: spectrum(300.0)).lower().compile().memory_analysis()
    assert memory.temp_size_in_bytes < 500e6, memory.temp_size_in_bytes


@pytest.mark.parametrize("linewidth", [None, (150.0, 400.0)])
def test_parts_add_up(monkeypatch, linewidth):
    """A powder in many parts, the last one filled up, gives what it gives whole; the derivative too."""
    sites = jn.Sites("13C", jn.shift_tensor(jnp.array([10.0, -20.0]), 30.0, 0.4))
    irreps = frequency_irreps(sites, 0.5, jnp.asarray(14.1), second_order=False)[:6]
    width = None if linewidth is None else jnp.asarray(linewidth)
    points = Fibonacci().points(75)

    def decay(scale):
        angle, bandwidth = jnp.asarray(0.955), jnp.asarray(16 * 5e3)
        return _solver_rigid.rigid_signal(
            scale * irreps, sites.populations, width, points, (0, 2), bandwidth, 8, 16, angle, smooth=True
        )

    def both():
        return jax.jit(lambda: jax.jvp(decay, (1.0,), (1.0,)))()

    whole = both()
    monkeypatch.setattr(_solver_rigid, "_PART", 10_000)
    np.testing.assert_allclose(np.stack(both()), np.stack(whole), atol=1e-9)
