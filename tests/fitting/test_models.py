"""Ready-made models: what each draws, by limits that are known without it, and fits that come back to it."""

import dataclasses

import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.fitting import _models as models, fit
from jaxnmr.rotations import euler_to_matrix
from jaxnmr.tensors import quadrupole_tensor
from tests.systems import relative_l2

WIDE = jn.Axis(hz=(120e3, -120e3), points=241)
NARROW = jn.Axis(ppm=(60.0, -60.0), points=241)
STATIC = jn.Static(9.4)
SMALL = jn.Resolution(orientations=2000, samples=512)

# Ripples of few orientations are within the tolerances.
pytestmark = pytest.mark.filterwarnings("ignore::jaxnmr.errors.ResolutionWarning")


def test_two_sites_slow_and_fast():
    """Slow: lines at both shifts, areas as the populations. Fast: one at the mean."""
    model = models.two_site_exchange(NARROW, STATIC, "13C", resolution=SMALL)
    params = model.start | {"delta": np.array([30.0, -20.0]), "p": 0.7, "linewidth": 100.0}
    slow, fast = model(params | {"k": 1.0}), model(params | {"k": 1e8})
    lines = np.sort(np.asarray(slow.ppm)[np.argsort(slow.intensity)[-2:]])
    upper = float(slow.intensity[np.asarray(slow.ppm) > 5].sum())
    np.testing.assert_allclose(upper / float(slow.intensity.sum()), 0.7, atol=0.01)
    assert float(slow.ppm[np.argmax(slow.intensity)]) == 30.0 and lines[0] > 29
    assert float(fast.ppm[np.argmax(fast.intensity)]) == 15.0


def test_anisotropies_lean_by_beta():
    """Two equal axial tensors at an angle, fast: the mean tensor, by its matrix."""
    axis = jn.Axis(ppm=(150.0, -150.0), points=241)
    model = models.two_site_exchange(axis, STATIC, "13C", csa=True, resolution=SMALL)
    params = model.start | {"delta": np.zeros(2), "zeta": np.full(2, 80.0), "eta": np.zeros(2), "beta": 1.2}
    found = model(params | {"k": 1e9, "linewidth": 500.0})
    axial = np.diag([-40.0, -40.0, 80.0])
    turn = np.asarray(euler_to_matrix(0.0, 1.2, 0.0))
    mean = jn.Sites("13C", (axial + turn @ axial @ turn.T) / 2)
    expected = jn.simulate(mean, STATIC, axis, linewidth=500.0, resolution=jn.Resolution(5000, samples=1024))
    assert relative_l2(found.intensity, expected.intensity) < 1e-2


@pytest.mark.parametrize(
    ("make", "n", "tilt"),
    [
        pytest.param(
            lambda **o: models.n_site_jump(WIDE, STATIC, "2H", 3, **o), 3, np.arccos(-1 / 3), marks=pytest.mark.slow
        ),
        pytest.param(lambda **o: models.ring_flip(WIDE, STATIC, **o), 2, np.pi / 3, marks=pytest.mark.slow),
    ],
    ids=["methyl", "ring"],
)
def test_jumps(make, n, tilt):
    """Slow: the rigid bond's pattern. Fast: that of the tensor averaged over the places, by their matrices."""
    params = {"delta": 0.0, "c_q": 160e3, "tilt": tilt, "linewidth": 3e3}
    model = make(resolution=SMALL, start=params)
    bond = np.array([np.sin(tilt), 0.0, np.cos(tilt)])
    rigid = 160e3 * (1.5 * np.outer(bond, bond) - 0.5 * np.eye(3))
    turns = [np.asarray(euler_to_matrix(2 * np.pi * j / n, 0.0, 0.0)) for j in range(n)]
    mean = sum(turn @ rigid @ turn.T for turn in turns) / n
    for k, tensor in ((1.0, rigid), (1e11, mean)):
        sites = jn.Sites("2H", np.zeros((3, 3)), tensor)
        expected = jn.simulate(sites, STATIC, WIDE, linewidth=3e3, resolution=jn.Resolution(5000, samples=1024))
        # 2000 orientations: 1e-2; the other tensor's pattern is off by more than 0.3.
        assert relative_l2(model(model.start | {"k": k}).intensity, expected.intensity) < 2e-2


@pytest.mark.slow
def test_quadrupolar_sites():
    """Two sites: the weighted sum of their lines; a shift tensor turned by its Euler angles."""
    axis, experiment = jn.Axis(ppm=(150.0, -150.0), points=181), jn.MAS(9.4, np.inf)
    sizes = jn.Resolution(2000, samples=512)
    model = models.quadrupolar_sites(axis, experiment, "17O", 2, resolution=sizes)
    params = model.start | {"delta": np.array([60.0, -20.0]), "weights": np.array([0.8, 0.2]), "linewidth": 300.0}
    parts = [
        share
        * jn.simulate(
            jn.Sites("17O", delta * np.eye(3), quadrupole_tensor(c_q, eta)), experiment, axis, linewidth=300.0
        ).intensity
        for share, delta, c_q, eta in zip(params["weights"], params["delta"], params["c_q"], params["eta_q"], strict=True)
    ]
    assert relative_l2(model(params).intensity, sum(parts)) < 1e-2
    one = models.quadrupolar_sites(NARROW, jn.Static(9.4, "central"), "23Na", csa=True, resolution=sizes)
    assert set(one.start) == {"delta", "c_q", "eta_q", "linewidth", "zeta", "eta", "alpha", "beta", "gamma"}
    values = {"delta": 0.0, "zeta": 30.0, "eta": 0.5, "alpha": 0.3, "beta": 1.1, "gamma": 2.0, "c_q": 1e6, "eta_q": 0.6}
    turn = np.asarray(euler_to_matrix(0.3, 1.1, 2.0))
    tensor = turn @ np.diag([-22.5, -7.5, 30.0]) @ turn.T
    sites = jn.Sites("23Na", tensor, np.diag([-0.2e6, -0.8e6, 1e6]))
    expected = jn.simulate(sites, jn.Static(9.4), NARROW, linewidth=500.0)
    found = one({name: np.array([value]) for name, value in values.items()} | {"linewidth": 500.0})
    assert relative_l2(found.intensity, expected.intensity) < 1e-2


def test_glass():
    """The centre of gravity of a Czjzek glass spinning fast is delta plus the mean quadrupole-induced shift."""
    axis = jn.Axis(ppm=(200.0, -800.0), points=401)
    model = models.czjzek_glass(axis, jn.MAS(9.4, np.inf), "27Al", resolution=jn.Resolution(400, samples=1024))
    line = model(model.start | {"delta": 60.0, "sigma": 1.5e6, "linewidth": 20.0, "spread": 6.0})
    hz, y = np.asarray(line.hz, np.float64), np.asarray(line.intensity, np.float64)
    larmor = float(line.larmor_frequency)
    # -3/40 (P_Q/nu_0)^2 [I(I+1) - 3/4]/[I^2 (2I-1)^2] with <P_Q^2> = 5 sigma^2, I = 5/2: 8 / 100.
    induced = -3 / 40 * 5 * (1.5e6 / larmor) ** 2 * 8 / 100 * larmor
    centre = (hz @ y) / y.sum()
    # The Lorentzian's wings in the window move the centre by 1 %.
    np.testing.assert_allclose(centre - 60e-6 * larmor, induced, rtol=0.05)


@pytest.mark.parametrize(
    ("make", "truth"),
    [
        (
            lambda: models.two_site_exchange(NARROW, STATIC, "13C", resolution=jn.Resolution(300, samples=512)),
            {"delta": np.array([15.0, -12.0]), "k": 3e3, "p": 0.6, "linewidth": 200.0},
        ),
        pytest.param(
            lambda: models.ring_flip(WIDE, STATIC, resolution=SMALL, start={"k": 3e4, "c_q": 170e3, "linewidth": 4e3}),
            {"delta": 5.0, "c_q": 160e3, "tilt": 1.0, "k": 2e5, "linewidth": 3e3},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["two sites", "ring"],
)
def test_fit_comes_back(make, truth):
    """From the model's own start to the truth, within four of its errors, at a signal-to-noise ratio of 100."""
    model = make()
    clean = model(truth)
    noise = 0.01 * float(clean.intensity.max())
    random = np.random.default_rng(3).normal(size=len(clean.ppm))
    measured = dataclasses.replace(clean, intensity=clean.intensity + noise * random)
    result = fit(model, model.start, measured, constraints=model.constraints, noise=noise, bounds=False)
    found = {name: np.asarray(value, np.float64) for name, value in result.params.items()}
    if "p" in truth and np.asarray(found["delta"])[0] < 0:  # which site is which is not in the data
        pytest.fail("sites came out exchanged")
    for name, value in truth.items():
        error = np.asarray(result.stderr[name])
        assert (np.abs(found[name] - value) < 4 * error).all(), name
        assert (error < 0.2 * np.abs(value) + 1).all(), name
    assert 0.7 < float(result.reduced_chi2) < 1.4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.ring_flip(WIDE, STATIC, start={"kk": 1.0}), r"start: no parameter 'kk'.*'k'"),
        (lambda: models.two_site_exchange(NARROW, STATIC, "13C", start={"delta": 3.0}), r"delta has shape \(\)"),
        (lambda: models.quadrupolar_sites(NARROW, STATIC, "13C"), r"isotope: 13C has spin 1/2"),
        (lambda: models.quadrupolar_sites(NARROW, STATIC, "17O", 0), r"sites: got 0"),
        (lambda: models.n_site_jump(WIDE, STATIC, "2H", 1), r"n: got 1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
