"""Derivatives in both modes against finite differences; every transformation; one compilation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.spectrum import _assemble
from tests.systems import random_sites

pytestmark = pytest.mark.filterwarnings("ignore::jaxnmr.errors.JaxnmrWarning")

# Wider than any line below, so that the band is the axis' own and finite differences see physics alone.
AXIS = {"hz": (-40e3, 40e3), "points": 64}


def _spectrum(kind: str, isotope: str, smooth: bool):
    """A line as a function of everything that a fit might vary."""

    def line(theta):
        sites = jn.Sites(isotope, theta["shift"], theta.get("quadrupole"), theta.get("weights"))
        model = None
        if "k" in theta:
            p = jnp.stack([theta["p"], 1 - theta["p"]])
            model = jn.ExchangeModel.from_rates({(0, 1): theta["k"]}, populations=p)
        if kind == "static":
            experiment = jn.Static(theta["field"])
        else:
            experiment = jn.MAS(theta["field"], 2e4, theta["angle"])
        resolution = jn.Resolution(16, None if kind == "static" else 8, 128, 1, smooth=smooth)
        return jn.simulate(
            sites,
            experiment,
            jn.Axis(**AXIS),
            exchange=model,
            linewidth=theta["linewidth"],
            gaussian=theta["gaussian"],
            resolution=resolution,
        ).intensity

    return line


def _theta(isotope: str, exchange: bool, per_site: bool):
    sites = random_sites(isotope, 2, np.random.default_rng(2))
    theta = {
        "shift": sites.shift,
        "field": jnp.asarray(9.4),
        "angle": jnp.asarray(0.9),
        "gaussian": jnp.asarray(700.0),
        "linewidth": jnp.array([900.0, 500.0]) if per_site else jnp.asarray(800.0),
    }
    if sites.quadrupole is not None:
        theta["quadrupole"] = sites.quadrupole
    if exchange:
        theta |= {"k": jnp.asarray(2e4), "p": jnp.asarray(0.6)}
    return theta


def _tangents(theta):
    """One random direction for each argument, a small part of its size."""
    rng = np.random.default_rng(4)
    for name, value in theta.items():
        step = np.asarray(rng.normal(size=value.shape) * (1e-2 * np.abs(value).max() + 1e-6))
        if name == "quadrupole":
            step = step + np.swapaxes(step, 1, 2)
            step = step - np.trace(step, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
        zero = jax.tree.map(jnp.zeros_like, theta)
        yield name, zero | {name: jnp.asarray(step)}


# Compiling a gradient takes tens of seconds: one case of each solver is in the quick set.
CASES = [
    # kind, isotope, exchange, a width for each site, smooth
    pytest.param("static", "17O", True, True, True, marks=pytest.mark.slow),
    pytest.param("mas", "13C", True, True, False, marks=pytest.mark.slow),
    ("mas", "17O", False, False, True),
    pytest.param("mas", "17O", True, False, True, marks=pytest.mark.slow),
    ("static", "13C", True, False, False),
    pytest.param("static", "17O", False, True, True, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("kind", "isotope", "exchange", "per_site", "smooth"), CASES)
def test_against_finite_differences(kind, isotope, exchange, per_site, smooth):
    """Tensors, field, rotor angle, widths, rate, population: forward = reverse = central differences."""
    line, theta = _spectrum(kind, isotope, smooth), _theta(isotope, exchange, per_site)
    value = jax.jit(line)
    forward = jax.jit(lambda theta, tangent: jax.jvp(line, (theta,), (tangent,))[1])
    weight = jnp.asarray(np.random.default_rng(6).normal(size=AXIS["points"]))
    reverse = jax.jit(jax.grad(lambda theta: weight @ line(theta)))(theta)
    # The rigid solver interpolates with parabolas between bins: its derivative is exact, but only piecewise smooth.
    h, tolerance = (1e-3, 1e-6) if exchange else (1e-2, 1e-3)
    for name, tangent in _tangents(theta):
        if kind == "static" and name == "angle":
            continue
        plus, minus = (jax.tree.map(lambda a, b, s=s: a + s * h * b, theta, tangent) for s in (1, -1))
        numeric = np.asarray(value(plus) - value(minus)) / (2 * h)
        exact = np.asarray(forward(theta, tangent))
        assert np.linalg.norm(exact) > 0, name
        error = np.linalg.norm(exact - numeric) / np.linalg.norm(numeric)
        assert error < tolerance, f"{name}: forward misses finite differences by {error:.1e}"
        product = sum(float(jnp.vdot(a, b)) for a, b in zip(*map(jax.tree.leaves, (reverse, tangent)), strict=True))
        np.testing.assert_allclose(
            product, float(weight @ exact), rtol=1e-6, atol=1e-9 * np.linalg.norm(exact), err_msg=name
        )


def test_line_that_outlasts_the_record():
    """A width far below the distance of points depends on the steps in time, and so on the tensors' extent."""
    axis = jn.Axis(ppm=(300.0, 0.0), points=64)
    sizes = jn.Resolution(orientations=32, samples=256)

    def line(zeta):
        sites = jn.Sites("13C", jn.shift_tensor(np.array([120.0, 160.0]), zeta, 0.3))
        hops = jn.ExchangeModel.from_rates({(0, 1): 300.0})
        return jn.simulate(sites, jn.Static(9.4), axis, exchange=hops, linewidth=2.0, resolution=sizes).intensity

    at, h = jnp.asarray(300.0), 1e-3
    exact = jax.jit(lambda zeta: jax.jvp(line, (zeta,), (jnp.ones(()),))[1])(at)
    value = jax.jit(line)
    numeric = (value(at + h) - value(at - h)) / (2 * h)
    assert float(jnp.linalg.norm(exact - numeric) / jnp.linalg.norm(numeric)) < 1e-4


def _degenerate():
    """Where careless derivatives divide by zero."""
    zero = np.zeros((2, 3, 3))
    iso = np.eye(3)[None] * np.array([10.0, 20.0])[:, None, None]
    axial = np.asarray(jn.shift_tensor(np.array([10.0, 20.0]), 30.0, 0.0))
    same = np.stack([axial[0]] * 2)
    cq = np.asarray(jn.quadrupole_tensor(np.array([2e6, 2e6]), 0.0))
    return {
        "zero tensors": (zero, cq * 0, 1e3),
        "isotropic": (iso, cq * 0, 1e3),
        "eta 0": (axial, cq, 1e3),
        "identical": (same, cq, 1e3),
        "frozen": (axial, cq, 0.0),
        "identical and frozen": (same, cq, 0.0),
        "fast": (axial, cq, 1e12),
    }


@pytest.mark.parametrize(
    ("kind", "isotope"),
    [
        ("static", "17O"),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("mas", "17O"), ("mas", "13C"))),
    ],
)
def test_finite(kind, isotope):
    """Degenerate tensors, eta = 0, k = 0, identical sites: finite, both modes agree."""
    line = _spectrum(kind, isotope, True)
    weight = jnp.asarray(np.random.default_rng(6).normal(size=AXIS["points"]))
    reverse = jax.jit(jax.grad(lambda theta: weight @ line(theta)))
    forward = jax.jit(lambda theta, tangent: jax.jvp(line, (theta,), (tangent,))[1])
    for name, (shift, quadrupole, k) in _degenerate().items():
        theta = _theta(isotope, True, False) | {"shift": jnp.asarray(shift), "k": jnp.asarray(k)}
        if isotope == "17O":
            theta["quadrupole"] = jnp.asarray(quadrupole)
        gradient = reverse(theta)
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient)), name
        tangent = jax.tree.map(lambda x: 1e-2 * (1 + x), theta)
        slope = forward(theta, tangent)
        product = sum(float(jnp.vdot(a, b)) for a, b in zip(*map(jax.tree.leaves, (gradient, tangent)), strict=True))
        np.testing.assert_allclose(
            product, float(weight @ slope), rtol=1e-6, atol=1e-9 * float(jnp.abs(slope).max()), err_msg=name
        )


@pytest.mark.slow
@pytest.mark.parametrize("isotope", ["13C", "17O"])
def test_finite_at_rest(isotope):
    """No exchange, degenerate tensors."""
    line = _spectrum("mas", isotope, True)
    gradient = jax.jit(jax.grad(lambda theta: line(theta).max()))
    for name, (shift, quadrupole, _) in _degenerate().items():
        theta = _theta(isotope, False, False) | {"shift": jnp.asarray(shift)}
        if isotope == "17O":
            theta["quadrupole"] = jnp.asarray(quadrupole)
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient(theta))), name


def test_exceptional_point():
    """|d omega| = 2 k, where the two eigenvectors become one: the gradient is that of its neighbours."""
    larmor = float(jn.isotope("13C").larmor_frequency(9.4))
    dnu = 4000.0
    shift = jn.shift_tensor(np.array([-0.5, 0.5]) * dnu / larmor * 1e6)
    line = _spectrum("static", "13C", True)
    theta = _theta("13C", True, False) | {"shift": shift, "p": jnp.asarray(0.5)}
    slope = jax.jit(jax.jacfwd(lambda k: line(theta | {"k": k})))
    reverse = jax.jit(jax.grad(lambda k: line(theta | {"k": k})[30]))
    critical = np.pi * dnu
    exact, below, above = (np.asarray(slope(jnp.asarray(critical * x))) for x in (1.0, 0.999, 1.001))
    np.testing.assert_allclose(exact, (below + above) / 2, rtol=1e-4, atol=1e-5 * np.abs(exact).max())
    np.testing.assert_allclose(float(reverse(jnp.asarray(critical))), exact[30], rtol=1e-8)


def _everything_traced(leaves):
    shift, quadrupole, k, p, field, rate, angle, start, stop, linewidth, gaussian = leaves
    return jn.simulate(
        jn.Sites("17O", shift, quadrupole),
        jn.MAS(field, rate, angle),
        jn.Axis(ppm=(start, stop), points=32),
        exchange=jn.ExchangeModel.from_rates({(0, 1): k}, populations=p),
        linewidth=linewidth,
        gaussian=gaussian,
        resolution=jn.Resolution(8, 8, 64, 1),
    ).intensity


@pytest.mark.slow
def test_every_array_traced():
    """Sites, model, field, rate, angle, ends of the axis, widths: jit, vmap, grad and jvp."""
    sites = random_sites("17O", 2, np.random.default_rng(2))
    leaves = [
        sites.shift,
        sites.quadrupole,
        *(jnp.asarray(x) for x in (1e4, [0.4, 0.6], 9.4, 2e4, 0.95, 500.0, -500.0, 900.0, 100.0)),
    ]
    eager = np.asarray(_everything_traced(leaves))
    jitted = jax.jit(_everything_traced)
    np.testing.assert_allclose(np.asarray(jitted(leaves)), eager, rtol=1e-9, atol=1e-12 * eager.max())
    gradient = jax.jit(jax.grad(lambda leaves: _everything_traced(leaves).max()))(leaves)
    assert all(bool(jnp.isfinite(x).all()) for x in gradient)
    assert all(bool(jnp.abs(x).max() > 0) for x in gradient)
    _, slope = jax.jit(lambda x: jax.jvp(_everything_traced, (x,), (gradient,)))(leaves)
    assert bool(jnp.isfinite(slope).all())
    batch = jax.tree.map(lambda x: jnp.stack([x, x]), leaves)
    np.testing.assert_allclose(
        np.asarray(jax.jit(jax.vmap(_everything_traced))(batch))[1],
        eager,
        rtol=1e-8,
        atol=1e-11 * eager.max(),
    )


def test_structures_are_arguments():
    """Sites, ExchangeModel, experiment and axis are pytrees: they go through jit and grad as they are."""
    sites = random_sites("13C", 2, np.random.default_rng(2))
    model = jn.ExchangeModel.from_rates({(0, 1): 1e3})
    experiment, axis = jn.Static(9.4), jn.Axis(hz=(-1e4, 1e4), points=32)

    @jax.jit
    def peak(sites, experiment, axis, model):
        return jn.simulate(
            sites,
            experiment,
            axis,
            exchange=model,
            linewidth=500.0,
            resolution=jn.Resolution(8, samples=64),
        ).intensity.max()

    gradients = jax.grad(peak, argnums=(0, 1, 2, 3))(sites, experiment, axis, model)
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(gradients))
    assert isinstance(gradients[0], jn.Sites)


@pytest.mark.parametrize("kind", ["static", pytest.param("mas", marks=pytest.mark.slow)])
def test_vmap_over_rates(kind):
    """Twenty rates in one call, frozen to fast: what a loop gives."""
    sites = random_sites("17O", 2, np.random.default_rng(2))
    experiment = jn.Static(14.1) if kind == "static" else jn.MAS(14.1, 2e4)
    axis = jn.Axis(hz=(-3e4, 3e4), points=64)

    def line(k):
        model = jn.ExchangeModel.from_rates({(0, 1): k})
        return jn.simulate(sites, experiment, axis, exchange=model, linewidth=1000.0, resolution=resolution).intensity

    resolution = jn.Resolution(16, None if kind == "static" else 8, 128)
    rates = jnp.concatenate([jnp.zeros(1), jnp.logspace(2, 12, 19)])
    together = np.asarray(jax.jit(jax.vmap(line))(rates))
    apart = np.stack([np.asarray(jax.jit(line)(k)) for k in rates[::6]])
    np.testing.assert_allclose(together[::6], apart, rtol=1e-6, atol=1e-8 * apart.max())


def test_twenty_rates_compile_once():
    """Eager calls share one program, whatever k; so does a user's own jit, with automatic sizes."""
    sites = random_sites("13C", 2, np.random.default_rng(2))
    axis, experiment = jn.Axis(hz=(-1e4, 1e4), points=48), jn.MAS(9.4, 1e4)

    def line(k):
        model = jn.ExchangeModel.from_rates({(0, 1): k})
        return jn.simulate(sites, experiment, axis, exchange=model, linewidth=500.0).intensity

    rates = [0.0, *np.logspace(2, 12, 19).tolist()]
    before = _assemble.spectrum_of._cache_size()
    eager = [np.asarray(line(k)) for k in rates]
    assert _assemble.spectrum_of._cache_size() == before + 1
    jitted = jax.jit(line)
    again = [np.asarray(jitted(jnp.asarray(k))) for k in rates]
    assert jitted._cache_size() == 1
    np.testing.assert_allclose(again, eager, rtol=1e-8, atol=1e-10 * np.max(eager))
    assert np.isfinite(eager).all()
