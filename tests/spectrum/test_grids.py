"""Powder grids, their smoothing, the basis; and what the automatic sizes reach."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.harmonics import components, frames, harmonics, project, quadrature
from jaxnmr.spectrum import Fibonacci, Octahedral
from tests.systems import relative_l2

RANKS = (0, 1, 2, 3, 4)


def test_harmonics_are_orthonormal():
    """Mean square one, mutual means zero, rank 0 the constant one."""
    directions, weights = quadrature()
    values = np.stack([np.broadcast_to(y, weights.shape) for y in harmonics(directions.T, RANKS)])
    np.testing.assert_allclose((values * weights) @ values.T, np.eye(25), atol=1e-13)
    np.testing.assert_allclose(values[0], 1.0)
    assert len(components(RANKS)) == 25
    np.testing.assert_allclose(project(RANKS) @ values.T, np.eye(25), atol=1e-13)


def test_frames_are_rotations():
    """Right-handed, last column the direction, also along the axes."""
    directions = np.concatenate([np.eye(3), -np.eye(3), Fibonacci().points(50).directions])
    f = frames(directions)
    np.testing.assert_allclose(np.linalg.det(f), 1.0)
    np.testing.assert_allclose(f @ np.swapaxes(f, 1, 2), np.broadcast_to(np.eye(3), f.shape), atol=1e-14)
    np.testing.assert_allclose(f[..., 2], directions)


@pytest.mark.parametrize("grid", [Fibonacci(), Octahedral(), Octahedral(octant=True)])
@pytest.mark.parametrize("count", [1, 7, 100, 2000])
def test_weights(grid, count):
    """Unit directions, weights that sum to one."""
    points = grid.points(count)
    np.testing.assert_allclose(np.linalg.norm(points.directions, axis=1), 1.0)
    np.testing.assert_allclose(points.weights.sum(), 1.0)
    assert (points.weights > 0).all()
    assert points.spread.shape == points.weights.shape


@pytest.mark.parametrize(("grid", "order"), [(Fibonacci(), 0.95), (Octahedral(), 0.9)])
def test_spherical_integrals(grid, order):
    """Even harmonics average to zero, faster than one over the number of points."""
    errors = []
    for count in (200, 3200):
        points = grid.points(count)
        values = np.stack(harmonics(points.directions.T, (2, 4)))
        errors.append(np.abs(values @ points.weights).max())
    assert errors[0] < 0.02
    assert errors[1] < errors[0] / 16**order


def test_smoothing_keeps_the_mean():
    """The Laplacian of anything has no mean, so cells of equal extent keep the powder average."""
    points = Fibonacci().points(400)
    assert np.ptp(points.spread) == 0
    cell = 4 * np.pi / 2 / 400
    assert 1 / 12 * cell < points.spread[0] < 0.25 * cell


def _octahedron(tensor):
    resolution = jn.Resolution
    axis = jn.Axis(hz=(-1e4, 1e4), points=128)
    sites = jn.Sites("13C", tensor)

    def line(grid, count):
        return jn.simulate(
            sites,
            jn.Static(9.4),
            axis,
            linewidth=400.0,
            resolution=resolution(count, samples=512, grid=grid),
        ).intensity

    return line


def test_octant_is_the_hemisphere_for_coaxial_tensors():
    """Point by point: the hemisphere's vertices are the octant's images."""
    line = _octahedron(jn.shift_tensor(np.array([5.0, -10.0]), np.array([50.0, 30.0]), 0.4))
    density = round(np.sqrt(600))
    octant = Octahedral(octant=True)
    count = next(c for c in range(100, 600) if len(octant.points(c).weights) == (density + 1) * (density + 2) // 2)
    assert relative_l2(line(octant, count), line(Octahedral(), 1200)) < 1e-3


def test_octant_is_wrong_for_tilted_tensors():
    """What the option's docstring says."""
    line = _octahedron(jn.shift_tensor(0.0, 50.0, 0.4, (0.5, 0.8, 0.3)))
    assert relative_l2(line(Octahedral(octant=True), 400), line(Octahedral(), 1600)) > 0.05


def test_grids_agree():
    """Two grids, one line."""
    line = _octahedron(jn.shift_tensor(0.0, 50.0, 0.4, (0.5, 0.8, 0.3)))
    assert relative_l2(line(Fibonacci(), 4000), line(Octahedral(), 4000)) < 2e-3


def _readme():
    sites = jn.Sites(
        "17O",
        jn.shift_tensor(jnp.array([110.0, 160.0]), zeta=-90.0, eta=0.4),
        jn.quadrupole_tensor(7.2e6, 0.3, euler=(0.0, jnp.array([0.0, 1.9]), 0.0)),
    )
    return sites, jn.MAS(field=14.1, rate=20e3), jn.Axis(ppm=(300.0, -100.0), points=512), 300.0


def _shift(experiment):
    sites = jn.Sites("13C", jn.shift_tensor(jnp.array([10.0, 30.0]), 40.0, 0.3, (0.0, jnp.array([0.0, 1.2]), 0.0)))
    return sites, experiment, jn.Axis(hz=(-9e3, 12e3), points=512), 150.0


CASES = {
    "17O MAS": (_readme, (None, 1e4, 1e9)),
    "13C static": (lambda: _shift(jn.Static(9.4)), (None, 0.0, 1e3, 1e6)),
    "13C MAS": (lambda: _shift(jn.MAS(9.4, 4e3)), (None, 1e3)),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "k"), [(name, k) for name, (_, rates) in CASES.items() for k in rates])
def test_defaults_are_converged(name, k):
    """Each size on its own, to 1e-3."""
    sites, experiment, axis, linewidth = CASES[name][0]()
    model = None if k is None else jn.ExchangeModel.from_rates({(0, 1): k})
    result = jn.convergence(sites, experiment, axis, exchange=model, linewidth=linewidth)
    assert result.orientations < 1e-3, result
    assert result.phases < 1e-3, result
    assert result.samples < 1e-3, result
