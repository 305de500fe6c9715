"""Vibrations of systems whose frequencies are known, partial Hessians with their error, and soft modes without a matrix."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr.dynamics import Surface, minimise, vibrations
from jaxnmr.units import AMU, ELECTRON_VOLT, PI, SPEED_OF_LIGHT
from tests.systems.surfaces import lennard_jones


def spring(positions):
    """A diatomic molecule: 30 eV/Å² at 1.2 Å."""
    return 15.0 * (jnp.sqrt(jnp.sum((positions[1] - positions[0]) ** 2)) - 1.2) ** 2


@pytest.fixture(scope="module")
def cluster():
    surface = Surface(lennard_jones, masses=np.ones(7))
    start = np.array([[0, 0, 0.6], [0, 0, -0.6], *([np.cos(a), np.sin(a), 0] for a in 2 * np.pi * np.arange(5) / 5)])
    return surface, minimise(surface, start, max_force=1e-8).positions


def test_diatomic_in_wavenumbers(tmp_path):
    """ω² = k/μ for carbon monoxide's masses; a linear molecule has five rigid motions; the mode's file."""
    surface = Surface(spring, species=("C", "O"))
    found = vibrations(surface, np.array([[0.0, 0, 0], [0.3, 0.4, np.sqrt(1.44 - 0.25)]]))
    mu = 12.011 * 15.999 / (12.011 + 15.999) * AMU
    expected = np.sqrt(30 * ELECTRON_VOLT * 1e20 / mu) / (2 * PI * SPEED_OF_LIGHT) / 100
    assert int(found.n_rigid) == 5
    np.testing.assert_allclose(found.wavenumbers[-1], expected, rtol=1e-9)
    np.testing.assert_allclose(found.thz[-1], expected * SPEED_OF_LIGHT * 1e-10, rtol=1e-9)
    assert not np.asarray(found.wavenumbers[:5]).any()
    found.write(tmp_path / "mode.xyz", mode=5, frames=4)
    assert (tmp_path / "mode.xyz").read_text().splitlines()[0] == "2"


def test_hessian_against_differences_and_its_determinant(cluster):
    """Columns by AD equal central differences of forces; ln det is the sum over the vibrations."""
    surface, positions = cluster
    found = vibrations(surface, positions, columns=8)
    h = 1e-5
    flat = np.asarray(positions).ravel()
    forces = lambda x: np.asarray(surface.gradient(jnp.asarray(x.reshape(7, 3)))).ravel()  # noqa: E731
    rows = np.array([(forces(flat + h * e) - forces(flat - h * e)) / (2 * h) for e in np.eye(21)[:4]])
    # Differences are good to h² times fourth derivatives, 1e-7 of the elements.
    np.testing.assert_allclose(found.hessian[:4], rows, atol=1e-5 * np.abs(rows).max())
    np.testing.assert_allclose(found.log_determinant, np.log(np.asarray(found.eigenvalues)[6:]).sum(), rtol=1e-10)
    assert int(found.n_rigid) == 6 and int(found.n_negative) == 0


def test_softest_modes_without_a_matrix(cluster):
    """The lowest vibrations of the Lanczos steps are those of the matrix, rigid motion left out."""
    surface, positions = cluster
    whole = np.asarray(vibrations(surface, positions, columns=8).eigenvalues)[6:]
    found = vibrations(surface, positions, lowest=2)
    assert np.abs(found.eigenvalues[0] - whole[0]) < 1e-6
    assert np.abs(found.eigenvalues[1] - whole).min() < 1e-6


def test_partial_hessian_bounds_its_error(cluster):
    """Atoms held: the whole matrix has an eigenvalue within `residuals` of each partial one, and the bound is not idle."""
    surface, positions = cluster
    whole = np.asarray(vibrations(surface, positions, rigid="none").eigenvalues)
    held = Surface(lennard_jones, masses=np.ones(7), fixed=[True] * 2 + [False] * 5)
    found = vibrations(held, positions)
    distance = np.abs(np.asarray(found.eigenvalues)[:, None] - whole).min(axis=1)
    assert (distance <= np.asarray(found.residuals) + 1e-9).all()
    # Modes that do not pull on the held atoms, by symmetry, are exact.
    assert np.asarray(found.residuals).max() > 1
    # In frequencies too, where the side below is the wider one.
    root = np.sign(whole) * np.sqrt(np.abs(whole))
    own = np.sign(np.asarray(found.eigenvalues)) * np.sqrt(np.abs(np.asarray(found.eigenvalues)))
    unit = float(found.wavenumbers[-1]) / own[-1]
    off = np.abs(own[:, None] - root).min(axis=1) * unit
    assert (off <= np.asarray(found.errors) + 1e-6).all()
    assert not np.asarray(found.modes[:, :2]).any()


def test_the_error_of_a_partial_hessian_looks_to_the_wider_side():
    """Two coupled particles, one held: the next true frequency is 0.51 away, where the side above alone allows 0.41."""
    whole = jnp.asarray([[1.0, 1.0], [1.0, 1.5]])
    springs = lambda r: 0.5 * r[:, 0] @ whole @ r[:, 0]  # noqa: E731
    found = vibrations(Surface(springs, masses=[1.0, 1.0], fixed=[False, True]), np.zeros((2, 1)))
    off = np.abs(np.sqrt(np.linalg.eigvalsh(np.asarray(whole))) - 1.0).min()
    assert 0.5 < off <= float(found.errors[0] / found.wavenumbers[0]) <= 1.0 + 1e-12


def test_bad_input(cluster):
    _, positions = cluster
    with pytest.raises(ValueError, match=r"surface: has no masses"):
        vibrations(lennard_jones, positions)
    with pytest.raises(ValueError, match=r"a force is .* above max_force"):
        vibrations(Surface(lennard_jones, masses=np.ones(7)), positions * 1.05, max_force=1e-2, columns=8)
    with pytest.raises(ValueError, match=r"rigid: got 'solid'"):
        vibrations(Surface(lennard_jones, masses=np.ones(7)), positions, rigid="solid")
    with pytest.raises(ValueError, match=r"no standard weight is known of Lr"):
        Surface(lennard_jones, species=["Lr"])


def test_softest_modes_of_a_partial_hessian_know_their_error():
    """One of two coupled particles held: without a matrix too the residual is the pull of 1 on the held one."""
    springs = lambda r: 0.5 * r[:, 0] @ jnp.asarray([[1.0, 1.0], [1.0, 1.5]]) @ r[:, 0]  # noqa: E731
    surface = Surface(springs, masses=[1.0, 1.0], fixed=[False, True])
    found, whole = vibrations(surface, np.zeros((2, 1)), lowest=1), vibrations(surface, np.zeros((2, 1)))
    np.testing.assert_allclose(found.residuals, 1.0, rtol=1e-9)
    np.testing.assert_allclose(found.errors, whole.errors, rtol=1e-9)


def test_softest_modes_of_one_frequency_are_all_found():
    """Two equal pairs and more: each of them counts, however many."""
    values = np.array([-1.0, -1.0, 0.5, 0.5, 0.5, 2.0, 3.0, 5.0, 7.0, 11.0])
    bowl = lambda r: 0.5 * jnp.sum(jnp.asarray(values) * r[:, 0] ** 2)  # noqa: E731
    found = vibrations(Surface(bowl, masses=np.ones(10)), np.zeros((10, 1)), lowest=6)
    np.testing.assert_allclose(found.eigenvalues, values[:6], atol=1e-9)
    modes = np.asarray(found.modes[..., 0])
    np.testing.assert_allclose(modes @ modes.T, np.eye(6), atol=1e-9)
    assert np.asarray(found.residuals).max() < 1e-8
