"""Regimes by hand, merged sites by hand, and reduced spectra beside the whole ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.exchange import AveragedExchange, flip, liouvillian, merge, regimes_at
from jaxnmr.exchange._deviation import cost, survey
from jaxnmr.spectrum._regimes import reduce, regimes
from jaxnmr.spins import PAIR_RANKS, RANKS, frequency_irreps

pytestmark = pytest.mark.filterwarnings("ignore::jaxnmr.errors.ResolutionWarning")

FIELD = 9.4
CARBON = float(jn.isotope("13C").larmor_frequency(FIELD))  # Hz
OXYGEN = abs(float(jn.isotope("17O").larmor_frequency(14.1)))


def carbons(iso, zeta=0.0, beta=0.0):
    """Axial 13C shifts, ppm, tilted about y."""
    return jn.Sites("13C", jn.shift_tensor(np.array(iso), zeta, 0.0, (0.0, np.broadcast_to(beta, np.shape(iso)), 0.0)))


def hops(k, populations=None):
    return jn.ExchangeModel.from_rates({(0, 1): k}, populations=populations)


def oxygens(angle, c_q=2e6):
    """17O sites alike but for a turn."""
    return jn.Sites("17O", jn.shift_tensor(np.zeros(2)), jn.quadrupole_tensor(c_q, 0.3, (0.0, np.array([0.0, angle]), 0.0)))


@pytest.mark.parametrize("p", [0.5, 0.8])
def test_residual_width(p):
    """4 pi p1 p2 dnu^2 / k_ex, dnu over all orientations, by hand."""
    populations = np.array([p, 1 - p])
    model = hops(1e6, populations)
    k_ex = 1e6 * (1 + p / (1 - p))
    unit = CARBON * 1e-6
    # Isotropic.
    report = regimes_at(carbons([0.0, 7.0]), model, field=FIELD, linewidth=50.0)
    np.testing.assert_allclose(report.k_ex, k_ex)
    np.testing.assert_allclose(report.deviation, 4 * np.pi * p * (1 - p) * (7 * unit) ** 2 / k_ex, rtol=1e-9)
    # One axis, 5 ppm apart along it and -2.5 + ... across: iso 1, zeta 4 apart; the largest splitting is 5 ppm.
    sites = jn.Sites("13C", jn.shift_tensor(np.array([0.0, 1.0]), np.array([10.0, 14.0])))
    report = regimes_at(sites, model, field=FIELD, linewidth=50.0)
    # 400 directions miss the pole by 0.3 %.
    np.testing.assert_allclose(report.splitting, 5 * unit, rtol=5e-3)
    np.testing.assert_allclose(report.deviation, 4 * np.pi * p * (1 - p) * (5 * unit) ** 2 / k_ex, rtol=1e-2)
    isotropic, anisotropic, *_ = report.scales
    np.testing.assert_allclose(isotropic.hz, unit, rtol=1e-9)
    np.testing.assert_allclose(anisotropic.hz, 4 * unit, rtol=5e-3)
    np.testing.assert_allclose(isotropic.ratio, k_ex / (2 * np.pi * unit), rtol=1e-9)


def test_residual_width_of_three():
    """Three sites in a line: the sum over both decaying modes, each (2 pi c)^2 / (pi rate)."""
    k, nu = 1e6, np.array([0.0, 1.0, 5.0]) * CARBON * 1e-6
    model = jn.ExchangeModel.from_rates({(0, 1): k, (1, 2): k})
    report = regimes_at(carbons([0.0, 1.0, 5.0]), model, field=FIELD, linewidth=1e4)
    modes = np.array([[1, 0, -1], [1, -2, 1]]) / np.sqrt([[2], [6]])
    expected = sum(4 * np.pi * (v @ nu) ** 2 / 3 / (rate * k) for v, rate in zip(modes, (1, 3), strict=True))
    known = survey(carbons([0.0, 1.0, 5.0]), model, FIELD, (0.5,), np.full(3, 1e4), None)
    np.testing.assert_allclose(cost(known, (0, 1, 2)).residual, expected, rtol=1e-9)
    assert report.groups == ((0, 1, 2),)
    assert report.merges.tolist() == [True, True]


def test_report():
    """Words and numbers of every scale, and a table of them."""
    sites = carbons([0.0, 10.0, 10.0], 20.0, np.array([0.0, 0.0, 1.0]))
    model = jn.ExchangeModel.from_rates({(0, 1): 2e2, (1, 2): 5e6})
    report = regimes(sites, jn.MAS(FIELD, 1e4), exchange=model, linewidth=100.0)
    assert report.pairs.tolist() == [[0, 1], [1, 2]]
    scales = {scale.name: scale for scale in report.scales}
    assert list(scales) == ["isotropic", "anisotropic", "rotor", "linewidth", "Larmor"]
    assert scales["isotropic"].words == ("slow", "none")
    assert scales["anisotropic"].words == ("none", "fast")
    assert scales["rotor"].words == ("slow", "fast")
    assert scales["linewidth"].words == ("intermediate", "fast")
    assert scales["Larmor"].words == ("slow", "intermediate")
    np.testing.assert_allclose(scales["rotor"].ratio, [4e2 / (2 * np.pi * 1e4), 1e7 / (2 * np.pi * 1e4)])
    np.testing.assert_allclose(scales["linewidth"].ratio, [4e2 / (np.pi * 100), 1e7 / (np.pi * 100)])
    np.testing.assert_allclose(scales["Larmor"].ratio, np.array([4e2, 1e7]) / (2 * np.pi * CARBON), rtol=1e-9)
    table = str(report).splitlines()
    assert len(table) == 3 and "rotor /Hz" in table[0] and table[1].startswith("0-1") and "1e+04 slow" in table[1]
    static = regimes(sites, jn.Static(FIELD), exchange=model, linewidth=100.0)
    assert "rotor" not in [scale.name for scale in static.scales]
    still = jn.ExchangeModel.from_rates({}, n_sites=3)
    assert str(regimes(sites, jn.Static(FIELD), exchange=still, linewidth=100.0)) == "no jumps"


def test_infinite_rotor():
    """Axial shifts that differ by a turn are one line at infinite rate, whatever k; at rest they are not."""
    sites, model = carbons([0.0, 0.0], 50.0, np.array([0.0, 1.0])), hops(1e2)
    assert regimes(sites, jn.Static(FIELD), exchange=model, linewidth=50.0).groups == ((0,), (1,))
    assert regimes(sites, jn.MAS(FIELD, 1e4), exchange=model, linewidth=50.0).groups == ((0,), (1,))
    assert regimes(sites, jn.MAS(FIELD, np.inf), exchange=model, linewidth=50.0).groups == ((0, 1),)
    tilted = jn.MAS(FIELD, np.inf, angle=1.0)
    assert regimes(sites, tilted, exchange=model, linewidth=50.0).groups == ((0,), (1,))


def test_merge_lumps():
    """Rates out of a group are the population-weighted mean, rates into it the sum; balance stays."""
    p = np.array([0.1, 0.3, 0.4, 0.2])
    model = jn.ExchangeModel.from_rates({(0, 1): 1e9, (0, 2): 5.0, (1, 2): 7.0, (2, 3): 11.0}, populations=p)
    found = merge(carbons([0.0, 10.0, 20.0, 30.0]), model, [(1, 0)], linewidth=np.array([10.0, 50.0, 5.0, 6.0]))
    assert found.groups == ((0, 1), (2,), (3,))
    assert found.exchange is not None
    np.testing.assert_allclose(found.exchange.populations, [0.4, 0.4, 0.2])
    out = (0.1 * 5 + 0.3 * 7) / 0.4
    np.testing.assert_allclose(found.exchange.rates[1, 0], out)
    np.testing.assert_allclose(found.exchange.rates[0, 1], out * 0.4 / 0.4)
    np.testing.assert_allclose(found.exchange.rates[0, 0], -out)
    np.testing.assert_allclose(found.exchange.rates[2, 1], 11.0)
    flow = np.asarray(found.exchange.rates) * np.asarray(found.exchange.populations)
    np.testing.assert_allclose(flow, flow.T, rtol=1e-12)
    np.testing.assert_allclose(np.trace(found.sites.shift, axis1=1, axis2=2) / 3, [7.5, 20.0, 30.0])
    np.testing.assert_allclose(found.linewidth, [40.0, 5.0, 6.0])


def test_merge_all():
    """One site left has no exchange; separate groups keep their weights."""
    model = jn.ExchangeModel.from_rates({(0, 1): 1.0, (2, 3): 1.0})
    sites = jn.Sites("13C", jn.shift_tensor(np.arange(4.0)), weights=np.array([0.1, 0.1, 0.5, 0.3]))
    with pytest.raises(ValueError, match="weights"):
        merge(sites, model, [(0, 1)])  # weights contradict the populations that the rates give
    sites = jn.Sites("13C", jn.shift_tensor(np.arange(4.0)), weights=np.array([0.1, 0.1, 0.4, 0.4]))
    found = merge(sites, model, model.groups)
    assert found.exchange is None
    np.testing.assert_allclose(found.sites.populations, [0.2, 0.8])
    np.testing.assert_allclose(found.sites.shift[:, 0, 0], [0.5, 2.5])


def test_merge_derivative():
    """Merging runs under jit and grad: the mean shift moves with the populations."""

    def mean(p):
        model = hops(1e9, jnp.stack([p, 1 - p]))
        return merge(carbons([3.0, 13.0]), model, [(0, 1)]).sites.shift[0, 0, 0]

    np.testing.assert_allclose(jax.jit(jax.grad(mean))(0.3), -10.0)


def l2(got, expected):
    return np.linalg.norm(got - expected) / np.linalg.norm(expected)


def compare(sites, experiment, model, axis, linewidth, resolution):
    """Groups that merge, relative L2 of the reduced spectrum, and of one with all sites merged by force."""

    def spectrum(sites, exchange, linewidth):
        found = jn.simulate(sites, experiment, axis, exchange=exchange, linewidth=linewidth, resolution=resolution)
        return np.asarray(found.intensity)

    whole = spectrum(sites, model, linewidth)
    reduced = reduce(sites, experiment, exchange=model, linewidth=linewidth)
    forced = merge(sites, model, model.groups, linewidth=linewidth)
    forced_error = l2(spectrum(forced.sites, forced.exchange, forced.linewidth), whole)
    if len(reduced.sites) == len(forced.sites):
        return reduced.groups, forced_error, forced_error
    if len(reduced.groups) == len(sites):
        return reduced.groups, 0.0, forced_error
    return reduced.groups, l2(spectrum(reduced.sites, reduced.exchange, reduced.linewidth), whole), forced_error


# Without smoothing, crystallite by crystallite, nothing hides an error; both spectra are then on one grid.
STATIC = jn.Resolution(128, samples=1024, smooth=False)
SPINNING = jn.Resolution(64, 16, 1024, 3, smooth=False)

GRIDS = {
    # Splitting of 40 Hz to 4 kHz, k_ex from far below the linewidth to the Larmor frequency.
    "13C": (
        [carbons([0.0, d], 10.0, np.array([0.0, 0.5 * d / 40])) for d in (0.4, 4.0, 40.0)],
        [1e2, 1e4, 1e6, 1e8],
        FIELD,
        6e3,
        jn.Axis(hz=(-8e3, 12e3), points=512),
        100.0,
        5,
    ),
    # Second order; 60 degrees differ by up to 1.6 kHz, 0.6 degrees by 15 Hz, and omega_0 is 5e8.
    "17O": (
        [oxygens(angle) for angle in (0.01, 0.1, 1.0)],
        [1e5, 1e7, 1e9, 1e12],
        14.1,
        1e4,
        jn.Axis(hz=(-4e3, 2e3), points=256),
        300.0,
        8,
    ),
    # First order, all of C_Q: a flip of 60 degrees and librations.
    "2H": (
        [
            flip((0, 0, 1), 1.0, angle=a)(
                jn.Sites("2H", jn.shift_tensor(0.0), jn.quadrupole_tensor(1.7e5, 0.0, (0.0, 1.0, 0.0)))
            ).sites
            for a in (0.01, 0.2, 2.0)
        ],
        [1e5, 1e7, 1e9, 1e11],
        FIELD,
        3e4,
        jn.Axis(hz=(-150e3, 150e3), points=512),
        2e3,
        5,
    ),
}


@pytest.mark.parametrize(
    ("case", "spinning"),
    [
        ("17O", False),
        pytest.param("13C", False, marks=pytest.mark.slow),
        pytest.param("2H", False, marks=pytest.mark.slow),
        pytest.param("13C", True, marks=pytest.mark.slow),
        pytest.param("17O", True, marks=pytest.mark.slow),
        pytest.param("2H", True, marks=pytest.mark.slow),
    ],
)
def test_reduced_spectra(case, spinning):
    """Over a grid of k and splittings: never above 1 % where sites merge, and merging where that is plainly right."""
    problems, ks, field, rate, axis, linewidth, least = GRIDS[case]
    experiment = jn.MAS(field, rate) if spinning else jn.Static(field)
    merged, left = [], []
    for sites in problems:
        for k in ks:
            groups, error, forced = compare(
                sites, experiment, hops(k, np.array([0.6, 0.4])), axis, linewidth, SPINNING if spinning else STATIC
            )
            assert error <= 1e-2
            (merged if groups == ((0, 1),) else left).append(forced)
    # Neither timid nor careless: so many share a line, and of those that do not mean tensors would miss by a tenth.
    assert len(merged) >= least
    assert max(left) > 0.1
    # Second order: mean tensors alone would be wrong in the middle, where the average over the jumps is right.
    assert case != "17O" or max(merged) > 0.1


def test_mean_tensors_only_where_right():
    """Spin 1/2 always takes mean tensors; 17O the average over jumps near the Larmor frequency, and tensors far above."""
    found = reduce(carbons([0.0, 1.0]), jn.Static(FIELD), exchange=hops(1e8), linewidth=50.0)
    assert found.exchange is None and len(found.sites) == 1
    for k_ex, alike in ((1.0, 2), (1e2, 2), (1e5, 1)):
        model = hops(k_ex * np.pi * OXYGEN)
        found = reduce(oxygens(1.0), jn.Static(14.1), exchange=model, linewidth=300.0)
        assert found.groups == ((0, 1),)
        assert len(found.sites) == alike
        assert isinstance(found.exchange, AveragedExchange) == (alike == 2)
    # The rule of thumb that 100 times the Larmor frequency is enough for mean tensors is not: they miss by a quarter of the
    # linewidth at 50 times, and by 3 % at 500 times.
    costs = [
        regimes(oxygens(1.0), jn.Static(14.1), exchange=hops(x * np.pi * OXYGEN), linewidth=300.0).deviation[0] / 300
        for x in (50.0, 500.0)
    ]
    np.testing.assert_allclose(costs, [0.29, 0.029], rtol=0.1)


def test_second_order_of_the_average():
    """Far below the Larmor frequency the averaged generator is the mean of the second-order shifts, far above that of V."""
    even = np.concatenate([np.full(2 * rank + 1, rank in RANKS) for rank in PAIR_RANKS])
    sites, field, p = oxygens(1.0), jnp.asarray(14.1), np.array([0.3, 0.7])
    rest = np.asarray(frequency_irreps(sites, 0.5, field, second_order=True))
    mean = jn.Sites("17O", jn.shift_tensor(np.zeros(1)), np.einsum("s,sab->ab", p, np.asarray(sites.quadrupole)))
    limits = rest @ p, np.asarray(frequency_irreps(mean, 0.5, field, second_order=True))[:, 0]
    assert np.abs(limits[0] - limits[1]).max() > 0.1 * np.abs(limits[0]).max()
    for ratio, expected in zip((1e-5, 1e5), limits, strict=True):
        model = AveragedExchange.over(hops(ratio * 2 * np.pi * OXYGEN, p), [(0, 1)])
        found = np.asarray(liouvillian(sites, model, 0.5, field, None).precession)
        assert found.shape == (25, 1, 1)
        # The next order is the ratio itself.
        np.testing.assert_allclose(found[even, 0, 0], expected, atol=1e-4 * np.abs(expected).max())
        np.testing.assert_allclose(found[~even], 0.0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_averaged_rates_and_widths(dtype):
    """Slow rates and linewidths of the groups by hand, beside a fast rate that would drown them in float32."""
    sites = jn.Sites("13C", jn.shift_tensor(np.array([0.0, 10.0, 30.0])).astype(dtype))
    p, widths = np.array([0.5, 0.2, 0.3]), np.array([300.0, 400.0, 600.0])
    model = jn.ExchangeModel.from_rates({(0, 1): 1e11, (0, 2): 8e3, (1, 2): 2e3}, populations=p)
    model = jax.tree.map(lambda leaf: leaf.astype(dtype), model)
    averaged = AveragedExchange.over(model, [(1, 0)])
    found = liouvillian(sites, averaged, 0.5, jnp.asarray(FIELD, dtype), jnp.asarray(widths, dtype))
    out = (0.5 * 8e3 + 0.2 * 2e3) / 0.7
    back = out * 0.7 / 0.3
    wide = np.pi * np.array([(0.5 * 300 + 0.2 * 400) / 0.7, 600.0])
    in_groups = np.asarray(found.to_sites @ found.relaxation @ found.to_modes)
    np.testing.assert_allclose(in_groups, [[-out - wide[0], back], [out, -back - wide[1]]], rtol=1e-5)
    np.testing.assert_allclose(found.to_sites @ found.state, [0.7, 0.3], rtol=1e-5)
    isotropic = np.asarray(found.to_sites @ found.precession[0] @ found.to_modes)
    np.testing.assert_allclose(isotropic, np.diag([2.0 / 0.7, 30.0]) * CARBON * 1e-6, rtol=1e-5, atol=1e-2)


@pytest.mark.slow
def test_fast_pair_and_slow_third():
    """The pair shares a line, the third site stays, and the spectrum is that of three, each with its own linewidth."""
    shift = jn.shift_tensor(np.array([0.0, 0.0, 30.0]))
    sites = jn.Sites("17O", shift, jn.quadrupole_tensor(2e6, 0.3, (0.0, np.array([0.0, 1.0, 0.5]), 0.0)))
    p, widths = np.array([0.5, 0.2, 0.3]), np.array([300.0, 400.0, 600.0])
    model = jn.ExchangeModel.from_rates({(0, 1): 1e8, (0, 2): 8e3, (1, 2): 2e3}, populations=p)
    axis, experiment = jn.Axis(hz=(-4e3, 4e3), points=256), jn.Static(14.1)
    groups, error, forced = compare(sites, experiment, model, axis, widths, STATIC)
    assert groups == ((0, 1), (2,))
    assert error < 2e-3 and forced > 0.1


def test_unequal_ways_out():
    """Two alike sites of which only one leads on stay two unless the jumps between them outrun the way out."""
    sites, p = carbons([0.0, 0.0, 20.0]), np.array([0.4, 0.4, 0.2])

    def groups(between):
        model = jn.ExchangeModel.from_rates({(0, 1): between, (1, 2): 1e3}, populations=p)
        return regimes(sites, jn.Static(FIELD), exchange=model, linewidth=50.0).groups

    assert groups(1e2) == ((0,), (1,), (2,))
    assert groups(1e5) == ((0,), (1,), (2,))
    assert groups(1e7) == ((0, 1), (2,))
    # Where both lead on alike, no rate between them is too slow.
    model = jn.ExchangeModel.from_rates({(0, 1): 1.0, (0, 2): 1e3, (1, 2): 1e3}, populations=p)
    assert regimes(sites, jn.Static(FIELD), exchange=model, linewidth=50.0).groups == ((0, 1), (2,))


def test_whole_group_where_no_pair_passes():
    """Three sites in fast chains share a line though each pair alone would be left by its third too fast."""
    model = jn.ExchangeModel.from_rates({(0, 1): 3e8, (1, 2): 1e8})
    assert regimes(carbons([0.0, 1.0, 3.0]), jn.Static(FIELD), exchange=model, linewidth=50.0).groups == ((0, 1, 2),)


def test_single_precision():
    """Reports and reduced problems in float32 are those of float64."""
    model, experiment = hops(1e8), jn.Static(14.1)
    double = oxygens(1.0)
    single = jn.Sites("17O", double.shift.astype(jnp.float32), double.quadrupole.astype(jnp.float32))
    reports = [regimes(sites, experiment, exchange=model, linewidth=300.0) for sites in (single, double)]
    np.testing.assert_allclose(reports[0].deviation, reports[1].deviation, rtol=1e-4)
    assert reports[0].groups == reports[1].groups == ((0, 1),)
    assert reduce(single, experiment, exchange=model, linewidth=300.0).sites.shift.dtype == jnp.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: regimes(carbons([0.0, 1.0]), jn.Static(FIELD), exchange=hops(1.0), linewidth=0.0), "linewidth: got 0.0"),
        (
            lambda: regimes(carbons([0.0, 1.0]), jn.Static(FIELD), exchange=hops(1.0), linewidth=np.ones(3)),
            "linewidth: got sh",
        ),
        (
            lambda: reduce(carbons([0.0, 1.0]), jn.Static(FIELD), exchange=hops(1.0), linewidth=1.0, tolerance=0.0),
            "tolerance: got 0.0",
        ),
        (lambda: regimes_at(carbons([0.0, 1.0]), hops(1.0), field=FIELD, linewidth=1.0, rate=-1.0), "rate: got -1.0"),
        (lambda: regimes(carbons([0.0]), jn.Static(FIELD), exchange=hops(1.0), linewidth=1.0), "model has 2 sites"),
        (
            lambda: jax.jit(lambda k: regimes_at(carbons([0.0, 1.0]), hops(k), field=FIELD, linewidth=1.0).k_ex)(1.0),
            "traced",
        ),
        (lambda: merge(carbons([0.0, 1.0]), hops(1.0), [(0, 2)]), "groups: got site 2"),
        (lambda: merge(carbons([0.0, 1.0]), hops(1.0), [(0,), (0, 1)]), "site 0 came twice"),
        (lambda: merge(carbons([0.0, 1.0]), hops(1.0), [(0, 1)], linewidth=np.ones(3)), "linewidth: got shape"),
        (lambda: AveragedExchange.over(jn.ExchangeModel.from_rates({}, n_sites=2), [(0, 1)]), "no jumps join"),
    ],
)
def test_bad_input(make, message):
    """Each is named, with what came."""
    with pytest.raises(ValueError, match=message):
        make()
