"""Ideal echoes: against whole density matrices, and what must refocus and what must not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.harmonics import frames
from tests.reference import brute, echo as ref
from tests.systems import MAGIC, all_pairs, random_sites, reference, relative_l2

pytestmark = pytest.mark.filterwarnings("ignore::jaxnmr.errors.JaxnmrWarning")

FIELD, RATE, TAU, TURNS = 9.4, 25e3, 2.3e-5, 3
DIRECTIONS, PHASES, POINTS = 6, 8, 40
RATES = (0.0, 1e4, 1e6, 1e9)
NARROW = jn.Axis(hz=(-40e3, 40e3), points=64)
WIDE = jn.Axis(hz=(150e3, -150e3), points=101)

# isotope, upper level, sites, echo, transmitter (Hz). 17O has a negative gamma; of 10B (spin 3) only a part refocuses.
STATIC = [
    ("2H", 0.0, 2, "solid", 1500.0),
    ("2H", 1.0, 2, "hahn", None),
    ("17O", 0.5, 3, "hahn", None),
    ("10B", 0.0, 2, "solid", 900.0),
]
SPINNING = [("13C", 0.5, 2, "hahn", None), ("2H", 1.0, 2, "solid", 800.0)]


def _problem(isotope, n, rate):
    rng = np.random.default_rng(1)
    sites = random_sites(isotope, n, rng, 10.0)
    p, widths, uneven = rng.uniform(0.3, 1, n), rng.uniform(50, 100, n), rng.uniform(0.5, 2, (n, n))
    model = jn.ExchangeModel.from_rates(all_pairs(n, rate, lambda i, j: uneven[i, j]), populations=p / p.sum())
    return sites, model, widths


def _echo(kind, carrier, **delay):
    return jn.HahnEcho(**delay) if kind == "hahn" else jn.SolidEcho(**delay, carrier=carrier)


def _turned_back(signal, got):
    """From the reference's frequency to that of the decay."""
    return signal * np.exp(-2j * np.pi * float(got.carrier) * float(got.dt) * np.arange(len(signal)))


@pytest.mark.parametrize(("isotope", "m", "n", "kind", "carrier"), STATIC)
def test_static_decay(isotope, m, n, kind, carrier):
    """Every rate, unequal populations, a width for each site, antisymmetric shift: equal to rounding."""
    resolution = jn.Resolution(DIRECTIONS, None, POINTS, smooth=False)
    points = resolution.grid.points(DIRECTIONS)
    experiment = jn.Static(FIELD, (m, m - 1), _echo(kind, carrier, tau=TAU))
    for rate in RATES:
        sites, model, widths = _problem(isotope, n, rate)
        got = jn.spectrum.decay(sites, experiment, NARROW, exchange=model, linewidth=widths, resolution=resolution)
        system = reference(sites, FIELD, model, widths)
        args = (system, kind, TAU, carrier or 0.0, points.directions, points.weights)
        signal = ref.static_echo(*args, float(got.dt), POINTS)[m]
        # Rounding leaves 2e-10 at k = 1e9. Without the conjugation: 0.9 at k = 0.
        assert relative_l2(got.signal, _turned_back(signal, got)) < 1e-8, f"k = {rate:g}"


@pytest.mark.parametrize(("isotope", "m", "n", "kind", "carrier"), SPINNING)
def test_mas_decay(isotope, m, n, kind, carrier):
    """The same under spinning: delays that start at the same rotor phase, every start phase."""
    resolution = jn.Resolution(DIRECTIONS, PHASES, POINTS, 1, smooth=False, commutator=False)
    points = resolution.grid.points(DIRECTIONS)
    experiment = jn.MAS(FIELD, RATE, transition=(m, m - 1), echo=_echo(kind, carrier, tau=TURNS / RATE))
    for rate in RATES[:3]:
        sites, model, widths = _problem(isotope, n, rate)
        got = jn.spectrum.decay(sites, experiment, NARROW, exchange=model, linewidth=widths, resolution=resolution)
        system = reference(sites, FIELD, model, widths)
        args = (system, kind, TURNS, carrier or 0.0, frames(points.directions), points.weights, MAGIC, RATE)
        signal = ref.mas_echo(*args, PHASES, POINTS)[m]
        if rate == 0 and kind == "hahn":  # what rests refocuses
            plain = brute.mas_fid(system, m, *args[4:], PHASES, POINTS)
            assert relative_l2(got.signal, _turned_back(plain, got)) < 1e-8
        assert relative_l2(got.signal, _turned_back(signal, got)) < 1e-8, f"k = {rate:g}"


def _flip(isotope="2H", c_q=170e3, angle=60.0, alpha=0.0, shift=0.0):
    """A pi flip of axial tensors at `angle` (degrees) to its axis."""
    beta = np.radians(angle)
    q = jn.quadrupole_tensor(c_q, 0.0, (np.array([0.0, np.pi]) + alpha, np.array([beta, beta]), np.zeros(2)))
    return jn.Sites(isotope, jn.shift_tensor(np.full(2, shift)), q)


def _two(rate):
    return jn.ExchangeModel.from_rates({(0, 1): rate})


def test_pi_flip_spectrum():
    """Spectra of a 2H pi flip, transform and wings too, against the integral over an endless record."""
    tau, width, broad = 30e-6, 2e3, jn.Axis(hz=(300e3, -300e3), points=101)
    # The record ends at e^-19.
    resolution = jn.Resolution(DIRECTIONS, None, 2560, smooth=False)
    points = resolution.grid.points(DIRECTIONS)
    for rate in (0.0, *np.logspace(3, 8, 6)):
        sites, model = _flip(), _two(rate)
        experiment = jn.Static(FIELD, echo=jn.SolidEcho(tau))
        got = jn.simulate(sites, experiment, broad, exchange=model, linewidth=width, resolution=resolution)
        system, hz = reference(sites, FIELD, model, width), np.asarray(got.hz)
        lines = [ref.static_spectrum(system, m, "cycled", tau, points.directions, points.weights, hz) for m in (1.0, 0.0)]
        # 2e-5 is what the wings' next order leaves, as in a plain decay.
        assert relative_l2(got.intensity, np.mean(lines, axis=0)) < 1e-4, f"k = {rate:g}"


def _amplitude(rate, tau=30e-6, **flip):
    """Area of the powder's echo, smoothed over its cells."""
    resolution = jn.Resolution(2000, None, 64)
    experiment = jn.Static(FIELD, (1, 0), jn.SolidEcho(tau))
    got = jn.spectrum.decay(_flip(**flip), experiment, WIDE, exchange=_two(rate), resolution=resolution)
    return got.signal[0]


def test_intensity_minimum():
    """Area of the echo of a powder against k: no loss at either end, least between 5e4 and 1e6; another grid's values."""
    directions, weights = brute.sphere(60, 60)
    rates = np.logspace(1, 10, 19)
    areas = np.array([float(_amplitude(k).real) for k in rates])
    lowest = areas.argmin()
    assert 5e4 < rates[lowest] < 5e5
    assert 0.15 < areas[lowest] < 0.2
    assert (np.diff(areas[: lowest + 1]) < 0).all()
    assert (np.diff(areas[lowest:]) > 0).all()
    # Slow: a jump in 2 tau loses the nucleus, less the few directions in which it changes nothing.
    np.testing.assert_allclose((1 - areas[:2]) / (2 * 30e-6 * rates[:2]), 1, atol=0.12)
    assert areas[-1] > 0.999
    for k, area in zip(rates[4::4], areas[4::4], strict=True):
        system = reference(_flip(), FIELD, _two(k), 0.0)
        expected = ref.static_echo(system, "cycled", 30e-6, 0.0, directions, weights, 1e-6, 1)[1.0][0]
        # 2000 directions: 5e-4 where k is 1e6, less elsewhere; a damping that averages over jumps during tau costs 8e-3.
        np.testing.assert_allclose(area, expected.real, atol=1e-3)


def test_turned_powder():
    """Turning the crystal frame changes the powder's echo by the grid's error only."""
    np.testing.assert_allclose(_amplitude(1e5, alpha=0.0), _amplitude(1e5, alpha=0.7), atol=2e-4)


@pytest.mark.parametrize("exchange", [None, 0.0])
def test_rest_refocuses(exchange):
    """K = 0: the echo is the ideal pattern, whatever tau, shift and second order; smoothing included."""
    model = None if exchange is None else _two(exchange)
    resolution = jn.Resolution(2000, None, 64)
    plain, echo = (
        jn.spectrum.decay(_flip(shift=4.0), jn.Static(FIELD, (1, 0), e), WIDE, exchange=model, resolution=resolution).signal
        for e in (None, jn.SolidEcho(47e-6))
    )
    assert relative_l2(echo, plain) < 1e-9


def test_transmitter():
    r"""Off resonance half of a solid echo keeps the offset's phase: $\tfrac12(1 + e^{4\pi i\delta\tau})$."""
    tau, offset, (_, m, n, *_) = 20e-6, 4e3, STATIC[0]  # so that nothing is compiled again
    resolution = jn.Resolution(DIRECTIONS, None, POINTS, smooth=False)
    experiment = jn.Static(300.0, (m, m - 1), jn.SolidEcho(tau, carrier=-offset))
    got = jn.spectrum.decay(
        _flip(), experiment, NARROW, exchange=_two(0.0), linewidth=np.full(n, 100.0), resolution=resolution
    )
    # Second order at 300 T is 4 Hz: 5e-4 over 2 tau. A transmitter left at the axis centre, or the reference, costs 0.5.
    np.testing.assert_allclose(complex(got.signal[0]), (1 + np.exp(4j * np.pi * offset * tau)) / 2, atol=1e-3)


def test_no_delay_no_loss():
    """Tau = 0 is a plain decay of any width, and infinitely fast jumps lose nothing."""
    isotope, m, n, kind, carrier = STATIC[0]  # so that nothing is compiled again
    sites, model, widths = _problem(isotope, n, 1e5)
    resolution = jn.Resolution(DIRECTIONS, None, POINTS, smooth=False)
    experiment = jn.Static(FIELD, (m, m - 1), _echo(kind, carrier, tau=0.0))
    got = jn.spectrum.decay(sites, experiment, NARROW, exchange=model, linewidth=widths, resolution=resolution)
    points = resolution.grid.points(DIRECTIONS)
    system = reference(sites, FIELD, model, widths)
    plain = brute.static_fid(system, m, points.directions, points.weights, float(got.dt), POINTS)
    assert relative_l2(got.signal, _turned_back(plain, got)) < 1e-10
    # 2 tau (d omega)^2 / 4 k_ex = 2e-6 and less.
    assert abs(_amplitude(1e12) - 1) < 1e-5


def test_infinite_rate():
    """Infinitely fast spinning takes any delay: a static sample whose tensors the rotor averages."""
    sites, model, widths = _problem("13C", 2, 1e4)
    resolution = jn.Resolution(DIRECTIONS, None, POINTS, smooth=False)
    got = jn.spectrum.decay(
        sites,
        jn.MAS(FIELD, np.inf, echo=jn.HahnEcho(TAU)),
        NARROW,
        exchange=model,
        linewidth=widths,
        resolution=resolution,
    )
    system = reference(sites, FIELD, model, widths)
    iso = np.trace(system.shift, axis1=1, axis2=2)[:, None, None] / 3 * np.eye(3)
    mean = brute.make_system(0.5, system.nu0, iso, None, system.rates, system.populations, system.linewidth)
    signal = ref.static_echo(mean, "hahn", TAU, 0.0, [[0.0, 0.0, 1.0]], [1.0], float(got.dt), POINTS)[0.5]
    assert relative_l2(got.signal, _turned_back(signal, got)) < 1e-8


@pytest.mark.parametrize("spinning", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_gradients(spinning):
    """In the rate of jumps and the delay (at rest) or the rotor's rate, forward and reverse, against differences."""
    resolution = jn.Resolution(20, 8 if spinning else None, 64, 1)

    def area(x):
        if spinning:
            sites = jn.Sites("13C", jn.shift_tensor(jnp.array([20.0, 30.0]), 60.0, 0.3, (0.0, jnp.array([0.0, 1.0]), 0.0)))
            experiment = jn.MAS(FIELD, 20e3 * x[1], echo=jn.HahnEcho(periods=2))
        else:
            sites, experiment = _flip(), jn.Static(FIELD, (1, 0), jn.SolidEcho(30e-6 * x[1]))
        got = jn.spectrum.decay(sites, experiment, NARROW, exchange=_two(3e4 * x[0]), resolution=resolution)
        return (got.signal.real * jnp.arange(1.0, 0.0, -1 / 64)).sum() / 64

    both = jax.jit(jax.value_and_grad(area))
    start, step = jnp.array([1.0, 1.0]), 1e-4
    _, reverse = both(start)
    for i in range(2):
        ahead, behind = (both(start.at[i].add(s * step))[0] for s in (1, -1))
        # Central differences err by the third derivative times 1e-8 / 6.
        np.testing.assert_allclose((ahead - behind) / (2 * step), reverse[i], rtol=1e-5, atol=1e-8)
    if not spinning:
        forward = jax.jit(lambda x, v: jax.jvp(area, (x,), (v,))[1])(start, jnp.array([1.0, 2.0]))
        np.testing.assert_allclose(forward, reverse @ jnp.array([1.0, 2.0]), rtol=1e-9)


def _simulated(isotope, experiment):
    return jn.simulate(_flip(isotope), experiment, WIDE, linewidth=1e3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: jn.SolidEcho(-1e-6), "tau: got -1e-06"),
        (lambda: jn.SolidEcho(np.nan), "tau: got nan"),
        (lambda: jn.SolidEcho(), "give one of them"),
        (lambda: jn.HahnEcho(1e-5, periods=2), "give one of them"),
        (lambda: jn.HahnEcho(np.array([1e-5, 2e-5])), r"tau: got shape \(2,\)"),
        (lambda: jn.HahnEcho(periods=0), "periods: got 0"),
        (lambda: jn.HahnEcho(periods=True), "periods: got True"),
        (lambda: jn.SolidEcho(1e-5, carrier=np.inf), "carrier: got inf"),
        (lambda: jn.Static(9.4, echo=jn.HahnEcho(periods=2)), "give tau in seconds"),
        (lambda: jn.MAS(9.4, np.inf, echo=jn.HahnEcho(periods=2)), "give tau in seconds"),
        (lambda: jn.MAS(9.4, 1e4, echo=jn.HahnEcho(1.5e-4)), "1.5 rotor periods"),
        (lambda: jn.MAS(9.4, 1e4, echo=jn.HahnEcho(0.0)), "whole number"),
        (lambda: jax.jit(lambda t: jn.MAS(9.4, 1e4, echo=jn.HahnEcho(t)))(1e-4), "periods=..."),
        (lambda: _simulated("17O", jn.Static(9.4, echo=jn.SolidEcho(3e-5))), "17O, of half-integer spin 5/2"),
    ],
)
def test_bad_input(make, message):
    """What does not fit is named, with what would."""
    with pytest.raises(ValueError, match=message):
        make()


def test_delays_in_seconds_are_counted():
    """A whole number of rotor periods, within rounding, is the same experiment."""
    given = jn.MAS(9.4, 3e4, echo=jn.SolidEcho(2 / 3e4, carrier=10.0)).echo
    assert isinstance(given, jn.SolidEcho)
    assert given.carrier is not None
    assert (given.periods, given.tau, float(given.carrier)) == (2, None, 10.0)
