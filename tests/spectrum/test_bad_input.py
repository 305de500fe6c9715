# ruff: noqa: E501 (a table is read by its rows)
"""What the user reads when something is wrong: the argument, what came, what would do."""

import warnings

import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.errors import AxisWarning, PerturbationWarning, PrecisionWarning, ResolutionWarning
from jaxnmr.spectrum._sizes import check_precision

SHIFT = np.zeros((2, 3, 3))
Q = np.asarray(jn.quadrupole_tensor(2e6, 0.1))
AXIS = jn.Axis(hz=(-2e3, 2e3), points=101)
PAIR = jn.Sites("13C", jn.shift_tensor(np.array([-5.0, 5.0])))


def _simulate(sites=PAIR, experiment=None, axis=AXIS, **options):
    return jn.simulate(sites, experiment or jn.Static(9.4), axis, **({"linewidth": 200.0} | options))


def _rates(*columns):
    return jn.ExchangeModel.from_matrix(np.array(columns).T)


NAN = np.full((3, 3), np.nan)

# What is done; words that the message must hold, in order: the argument, what came, what would do.
TABLE = {
    "shape of shift": (lambda: jn.Sites("13C", np.zeros((2, 3))), r"shift.*\(2, 3\).*\(site, 3, 3\)"),
    "no sites": (lambda: jn.Sites("13C", np.zeros((0, 3, 3))), r"shift.*\(0, 3, 3\)"),
    "number of quadrupoles": (lambda: jn.Sites("17O", SHIFT, Q), r"quadrupole.*1 tensors.*2 shift.*one each"),
    "weights of another length": (lambda: jn.Sites("13C", SHIFT, weights=np.ones(3) / 3), r"weights.*\(3,\).*\(2,\)"),
    "weights off one": (lambda: jn.Sites("13C", SHIFT, weights=np.ones(2)), r"weights.*sum 2.*divide"),
    "negative weight": (lambda: jn.Sites("13C", SHIFT, weights=np.array([1.5, -0.5])), r"weights.*-0\.5.*>= 0"),
    "nan shift": (lambda: jn.Sites("13C", np.stack([np.eye(3), NAN])), r"shift.*not finite.*site 1"),
    "nan quadrupole": (lambda: jn.Sites("17O", np.eye(3), NAN), r"quadrupole.*not finite.*site 0"),
    "trace": (lambda: jn.Sites("17O", np.eye(3), np.eye(3)), r"quadrupole.*traceless.*subtract"),
    "skew quadrupole": (lambda: jn.Sites("17O", np.eye(3), np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 0.0]])), r"quadrupole.*symmetric.*transpose"),
    "quadrupole of spin 1/2": (lambda: jn.Sites("13C", np.eye(3), Q), r"quadrupole.*13C.*1/2.*leave it out"),
    "isotope": (lambda: jn.Sites("170", np.eye(3)), r"isotope.*170.*17O"),
    "eta above one": (lambda: jn.shift_tensor(0.0, 1.0, 1.2), r"eta.*1\.2"),
    "eta below zero": (lambda: jn.quadrupole_tensor(1e6, -0.1), r"eta_q.*-0\.1"),
    "field": (lambda: jn.Static(0.0), r"field.*0 T.*> 0"),
    "negative field": (lambda: jn.MAS(-9.4, 1e4), r"field.*-9\.4.*> 0"),
    "nan field": (lambda: jn.Static(np.nan), r"field.*nan.*> 0"),
    "field of another shape": (lambda: jn.Static(np.ones(2)), r"field.*\(2,\).*one number"),
    "rate": (lambda: jn.MAS(9.4, 0.0), r"rate.*0 Hz.*Static"),
    "angle": (lambda: jn.MAS(9.4, 1e4, np.inf), r"angle.*inf.*radians"),
    "transition of another spin": (lambda: _simulate(experiment=jn.Static(9.4, (1.5, 0.5))), r"transition.*\(3/2, 1/2\).*13C.*\(1/2, -1/2\)"),
    "two quanta": (lambda: _simulate(jn.Sites("23Na", np.eye(3)), jn.Static(9.4, (1.5, -0.5))), r"transition.*\(3/2, -1/2\).*\(3/2, 1/2\)"),
    "central line of 2H": (lambda: _simulate(jn.Sites("2H", np.eye(3)), jn.Static(9.4, "central")), r"transition.*2H.*integer.*'all'"),
    "misspelt transition": (lambda: _simulate(experiment=jn.Static(9.4, "centre")), r"transition.*centre.*central"),
    "transposed rates": (lambda: _rates([-1e3, 3e3], [1e3, -3e3]), r"rates.*sum to zero.*K\.T"),
    "leaking rates": (lambda: _rates([-1e3, 2e3], [1e3, -5e3]), r"rates.*column 1|rates.*column 0"),
    "negative rate in a matrix": (lambda: _rates([1e3, -1e3], [-1e3, 1e3]), r"rates.*K\[.*-1000.*>= 0"),
    "matrix not square": (lambda: jn.ExchangeModel.from_matrix(np.zeros((2, 3))), r"rates.*\(2, 3\).*square"),
    "negative rate": (lambda: jn.ExchangeModel.from_rates({(0, 1): -1.0}), r"rates\[0, 1\].*-1.*>= 0"),
    "nan rate": (lambda: jn.ExchangeModel.from_rates({(0, 1): np.nan}), r"rates\[0, 1\].*nan.*finite"),
    "infinite rate": (lambda: jn.ExchangeModel.from_rates({(0, 1): np.inf}), r"rates\[0, 1\].*inf.*finite"),
    "array of rates": (lambda: jn.ExchangeModel.from_rates({(0, 1): np.ones(3)}), r"rates\[0, 1\].*\(3,\).*vmap"),
    "jump to itself": (lambda: jn.ExchangeModel.from_rates({(1, 1): 1.0}), r"rates.*\(1, 1\).*different"),
    "too few sites": (lambda: jn.ExchangeModel.from_rates({(0, 3): 1.0}, n_sites=2), r"n_sites.*2.*4"),
    "one way zero": (lambda: jn.ExchangeModel.from_rates({(0, 1): 0.0, (1, 0): 5.0}), r"rates.*one-way"),
    "populations against balance": (lambda: jn.ExchangeModel.from_rates({(0, 1): 1e3, (1, 0): 1e3}, populations=np.array((0.7, 0.3))), r"populations.*contradict.*one way"),
    "populations off one": (lambda: jn.ExchangeModel.from_rates({(0, 1): 1e3}, populations=np.array((0.7, 0.7))), r"populations.*1\.4.*divide"),
    "zero population": (lambda: jn.ExchangeModel.from_rates({(0, 1): 1e3}, populations=np.array((1.0, 0.0))), r"populations.*> 0.*drop"),
    "populations of another length": (lambda: jn.ExchangeModel.from_rates({(0, 1): 1e3}, populations=np.ones(3) / 3), r"populations.*\(3,\).*2 sites"),
    "cycle": (lambda: jn.ExchangeModel.from_rates({(0, 1): 2.0, (1, 0): 1.0, (1, 2): 2.0, (2, 1): 1.0, (2, 0): 2.0, (0, 2): 1.0}), r"rates.*cycle.*detailed balance.*one way"),
    "sites of the model": (lambda: _simulate(exchange=jn.ExchangeModel.from_rates({(0, 2): 1e3})), r"exchange.*3 sites.*has 2"),
    "weights against exchange": (lambda: _simulate(jn.Sites("13C", SHIFT, weights=np.array([0.9, 0.1])), exchange=jn.ExchangeModel.from_rates({(0, 1): 1e3})), r"weights.*0\.9.*0\.5.*populations rule"),
    "linewidth shape": (lambda: _simulate(linewidth=np.ones(3)), r"linewidth.*\(3,\).*\(2,\)"),
    "negative linewidth": (lambda: _simulate(linewidth=-5.0), r"linewidth.*-5.*>= 0"),
    "nan gaussian": (lambda: _simulate(gaussian=np.nan), r"gaussian.*nan.*finite"),
    "no width": (lambda: _simulate(linewidth=0.0), r"linewidth.*0 Hz.*50 Hz"),
    "no axis": (lambda: jn.Axis(), r"Axis.*ppm.*hz"),
    "axis without extent": (lambda: jn.Axis(ppm=(5.0, 5.0)), r"ppm.*\(5, 5\).*different"),
    "nan axis": (lambda: jn.Axis(hz=(np.nan, 5.0)), r"hz.*nan.*finite"),
    "one point": (lambda: jn.Axis(hz=(0.0, 5.0), points=1), r"points.*1.*2"),
    "no orientations": (lambda: jn.Resolution(orientations=0), r"orientations.*0.*>= 1"),
    "one phase": (lambda: jn.Resolution(phases=1), r"phases.*1.*>= 2"),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_error(name):
    """Refused, with advice."""
    action, message = TABLE[name]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        action()


def test_axis_that_misses_the_line():
    """A warning with where the line is, in both units; pointing at the user's line of code."""
    with pytest.warns(AxisWarning, match=r"(?s)axis.*misses the line.*Hz.*ppm") as caught:
        _simulate(axis=jn.Axis(ppm=(200.0, 150.0), points=512))
    assert caught[0].filename == __file__


def test_strong_coupling():
    """nu_Q / nu_0 above 0.1."""
    strong = jn.Sites("27Al", np.eye(3), jn.quadrupole_tensor(80e6))
    with pytest.warns(PerturbationWarning, match=r"(?s)quadrupole.*0\.1.*27Al.*9\.4 T.*higher field"):
        _simulate(strong, axis=jn.Axis(hz=(-1e6, 1e6), points=1024), linewidth=1e4)


@pytest.mark.parametrize(
    ("resolution", "message"),
    [
        (jn.Resolution(orientations=10), "orientations=10.*coarse.*200 Hz"),
        (jn.Resolution(samples=16), "samples=16.*coarse"),
    ],
)
def test_coarse_resolution(resolution, message):
    """Sizes far below what the linewidth asks for."""
    sites = jn.Sites("13C", jn.shift_tensor(0.0, 60.0))
    with pytest.warns(ResolutionWarning, match=f"(?s)resolution.*{message}"):
        _simulate(sites, axis=jn.Axis(hz=(-1e4, 1e4), points=256), resolution=resolution)


def test_few_phases():
    """Fewer rotor phases than sidebands."""
    sites = jn.Sites("13C", jn.shift_tensor(0.0, 100.0))
    with pytest.warns(ResolutionWarning, match=r"(?s)resolution.*phases=4.*coarse"):
        _simulate(
            sites,
            jn.MAS(9.4, 2e3),
            jn.Axis(hz=(-1e4, 1e4), points=256),
            resolution=jn.Resolution(phases=4),
        )


def test_coarse_axis():
    """Points further apart than the line is wide."""
    with pytest.warns(ResolutionWarning, match=r"(?s)axis.*points.*Hz apart.*at least"):
        _simulate(axis=jn.Axis(hz=(-2e4, 2e4), points=50), linewidth=50.0)


def test_rates_beyond_single_precision():
    """A hop of 1e11 /s beside one of 1e3 /s: float32 cannot hold both; float64 can, and one hop alone is exact."""
    tensors = np.asarray(jn.shift_tensor(np.array([0.0, 10.0, 20.0]), 30.0))
    both = jn.ExchangeModel.from_rates({(0, 1): 1e11, (1, 2): 1e3})
    alone = jn.ExchangeModel.from_rates({(0, 1): 1e11}, n_sites=3)
    with pytest.warns(PrecisionWarning, match=r"(?s)exchange.*2e\+11.*float32.*100 Hz.*x64"):
        check_precision(jn.Sites("13C", tensors.astype(np.float32)), both, 100.0)
    for dtype, model in ((np.float64, both), (np.float32, alone)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_precision(jn.Sites("13C", tensors.astype(dtype)), model, 100.0)


def test_good_input_is_silent(recwarn):
    """No warning where nothing is wrong."""
    _simulate(exchange=jn.ExchangeModel.from_rates({(0, 1): 1e3}))
    assert not [w for w in recwarn if issubclass(w.category, jn.errors.JaxnmrWarning)]


def test_traced_sizes_are_asked_for():
    """A traced rotor frequency cannot choose the number of phases."""
    import jax

    with pytest.raises(ValueError, match=r"(?s)resolution.*traced.*phases.*out of jit"):
        jax.jit(lambda rate: _simulate(experiment=jn.MAS(9.4, rate)).intensity)(1e4)


def test_a_rate_in_khz():
    """5 Hz where 5 kHz was meant would take all memory."""
    with pytest.raises(ValueError, match=r"rate: 5 Hz .* give the rate in Hz \(5 kHz is 5e3\)"):
        jn.spectrum.resolve(
            jn.Sites("13C", jn.shift_tensor(0.0, 100.0)), jn.MAS(9.4, 5.0), jn.Axis(ppm=(400.0, -400.0)), linewidth=100.0
        )


def test_more_orientations_than_are_taken():
    """A line far too narrow for its pattern is said, and not only computed badly."""
    deuteron = jn.Sites("2H", jn.shift_tensor(0.0), jn.quadrupole_tensor(170e3))
    hops = jn.ExchangeModel.from_rates({}, n_sites=1)
    with pytest.warns(jn.errors.ResolutionWarning, match="200000 are used"):
        jn.spectrum.resolve(deuteron, jn.Static(9.4), jn.Axis(hz=(-2e5, 2e5), points=32768), exchange=hops, linewidth=20.0)
