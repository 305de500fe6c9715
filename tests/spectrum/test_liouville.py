"""Static lines against full Liouville space: every coherence of every site, no secular approximation.

The mean of the sites' second-order shifts and the shift of the mean coupling differ by most of the line, so
its place says which of the two a rate gives.
"""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from tests.reference import brute, liouville
from tests.systems import all_pairs, given, reference, relative_l2

pytestmark = pytest.mark.filterwarnings("ignore::jaxnmr.errors.ResolutionWarning")

LINEWIDTH = 400.0
DIRECTIONS, WEIGHTS = brute.sphere(3, 4)
EXACT_DIRECTIONS, EXACT_WEIGHTS = brute.sphere(5, 10)  # integrates second-order centres exactly


def _system(isotope: str, n: int, k: float):
    p = {2: [0.6, 0.4], 3: [0.5, 0.3, 0.2]}[n]
    c_q = (4e6, 4e6, 3e6) if jn.isotope(isotope).spin == 1.5 else (6e6, 6e6, 4e6)
    sites = jn.Sites(
        isotope,
        jn.shift_tensor(np.array([0.0, 20.0, -10.0][:n]), np.array([30.0, 20.0, 15.0][:n]), np.array([0.5, 0.0, 0.2][:n])),
        jn.quadrupole_tensor(
            np.array(c_q[:n]),
            np.array([0.3, 0.3, 0.6][:n]),
            (np.array([0.0, 0.0, 0.8][:n]), np.array([0.0, np.pi / 3, 1.2][:n]), np.zeros(n)),
        ),
    )
    return sites, jn.ExchangeModel.from_rates(all_pairs(n, k), populations=np.array(p))


def _line(sites, model, field, axis, directions=DIRECTIONS, weights=WEIGHTS, linewidth=LINEWIDTH):
    resolution = jn.Resolution(len(directions), samples=1024, grid=given(directions, weights), smooth=False)
    return jn.simulate(sites, jn.Static(field), axis, exchange=model, linewidth=linewidth, resolution=resolution)


# 23Na at 135 MHz, 17O at 81 MHz (negative gamma): omega_0 is 8.5e8 and 5.1e8 s^-1.
CASES = [
    (isotope, field, n, k)
    for isotope, field, n, rates in (
        ("23Na", 11.99, 2, (1e4, 1e6, 1e8, 1e9, 3e9, 1e12)),
        ("23Na", 11.99, 3, (1e5, 3e8, 1e11)),
        ("17O", 14.1, 2, (1e5, 1e7, 1e9, 1e10)),
        ("17O", 14.1, 3, (1e4, 1e9)),
    )
    for k in rates
]


@pytest.mark.parametrize(("isotope", "field", "n", "k"), CASES)
def test_full_liouville_space(isotope, field, n, k):
    """Line shape and centre at every rate, below, near and above the Larmor frequency."""
    sites, model = _system(isotope, n, k)
    axis = jn.Axis(hz=(-18e3, 14e3), points=161)
    got = _line(sites, model, field, axis)
    system = reference(sites, field, model, LINEWIDTH)
    hz = np.asarray(got.hz)
    full = liouville.static_spectrum(system, "central", DIRECTIONS, WEIGHTS, hz)
    # The mean of the secular shifts misses by 0.5 for k >= 1e9; wings folded into this window cost 4e-2.
    assert relative_l2(got.intensity, full) < 2e-2

    def centre(line):
        return float(hz @ np.asarray(line) / np.sum(line))

    larmor, spin = abs(system.nu0), system.spin
    factor = -(3 / 40) / larmor * (spin * (spin + 1) - 0.75) / (spin * (2 * spin - 1)) ** 2
    p = np.asarray(model.populations)
    total = abs(factor * p @ (2 / 3 * np.sum(np.asarray(sites.quadrupole) ** 2, axis=(1, 2))))
    assert abs(centre(got.intensity) - centre(full)) < 0.01 * total


@pytest.mark.parametrize(("isotope", "field"), [("23Na", 11.99), ("17O", 14.1), ("27Al", 9.4)])
def test_mean_of_squares_and_square_of_mean(isotope, field):
    """The powder's centre: sites' own second-order shifts for slow hops, the mean tensor's for fast ones."""
    axis = jn.Axis(hz=(-60e3, 60e3), points=64)

    def centre(k):
        """First moment from the start of the decay, s'(0) = 2 pi i nu: fitted over a few short steps."""
        sites, model = _system(isotope, 2, k)
        liouvillian = jn.exchange.liouvillian(sites, model, 0.5, jnp.asarray(field), None)
        u = np.asarray(liouvillian.state)
        # Rank 0 is the powder average; u^T F u its stationary part.
        return float((u @ np.asarray(liouvillian.precession)[0] @ u).real)

    sites, model = _system(isotope, 2, 0.0)
    p, q, shift = (np.asarray(x) for x in (model.populations, sites.quadrupole, sites.shift))
    larmor, spin = abs(float(sites.nucleus.larmor_frequency(field))), sites.nucleus.spin
    factor = -(3 / 40) / larmor * (spin * (spin + 1) - 0.75) / (spin * (2 * spin - 1)) ** 2
    chemical = 1e-6 * larmor * p @ np.trace(shift, axis1=1, axis2=2) / 3

    def second(tensor):  # C_Q^2 (1 + eta^2/3) = (2/3) tr q^2
        return factor * (2 / 3) * np.sum(tensor**2)

    slow, fast = p @ [second(t) for t in q], second(np.tensordot(p, q, 1))
    assert abs(slow / fast) > 1.4
    np.testing.assert_allclose(centre(1e3) - chemical, slow, rtol=1e-5)
    np.testing.assert_allclose(centre(1e14) - chemical, fast, rtol=1e-5)

    # And the lines that follow: fast hops draw the static line of the mean tensors.
    still = jn.Sites(isotope, np.tensordot(p, shift, 1), np.tensordot(p, q, 1))
    sites, model = _system(isotope, 2, 1e13)
    moving = _line(sites, model, field, axis, EXACT_DIRECTIONS, EXACT_WEIGHTS, 2000.0)
    expected = _line(still, None, field, axis, EXACT_DIRECTIONS, EXACT_WEIGHTS, 2000.0)
    # What motion still broadens at k = 1e13 is 1 Hz beside 2 kHz.
    assert relative_l2(moving.intensity, expected.intensity) < 2e-3
    # Slow hops draw the two lines apart, by their populations.
    sites, model = _system(isotope, 2, 0.0)
    slow_line = _line(sites, model, field, axis, EXACT_DIRECTIONS, EXACT_WEIGHTS, 2000.0)
    apart = jn.Sites(isotope, shift, q, weights=p)
    both = _line(apart, None, field, axis, EXACT_DIRECTIONS, EXACT_WEIGHTS, 2000.0)
    assert relative_l2(slow_line.intensity, both.intensity) < 1e-9
    assert relative_l2(slow_line.intensity, moving.intensity) > 0.1
