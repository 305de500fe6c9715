"""Vibrations of systems whose frequencies are known, partial Hessians with their error, and soft modes without a matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr.dynamics import NVE, Surface, dimer, md, minimise, neb, vibrations
from jaxnmr.exchange.rates import log_partition
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
    with pytest.raises(ValueError, match=r"surface: all atoms are fixed"):
        vibrations(Surface(lennard_jones, masses=np.ones(7), fixed=[True] * 7), positions)
    with pytest.raises(ValueError, match=r"columns: got 0"):
        vibrations(Surface(lennard_jones, masses=np.ones(7)), positions, columns=0)
    with pytest.raises(ValueError, match=r"rigid: 'molecule' came for 2 dimensions"):
        vibrations(Surface(lambda r: jnp.sum(r**2), masses=[1.0, 1.0]), np.eye(2), rigid="molecule")


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


def bending(positions):
    """A linear molecule: two bonds of 1 Å, and a spring against bending."""
    a, b = positions[1] - positions[0], positions[2] - positions[1]
    bonds = sum((jnp.sqrt(jnp.sum(v**2)) - 1.0) ** 2 for v in (a, b))
    return 15.0 * bonds + 0.5 * jnp.sum((b - a) ** 2)


TURNED = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]


def test_a_nearly_linear_molecule_is_linear_however_it_lies():
    """Bent by 1e-6 Å on an axis or turned away: five rigid motions, and both bends stay."""
    surface = Surface(bending, masses=[16.0, 12.0, 16.0])
    along = np.array([[-1.0, 0, 0], [0, 1e-6, 0], [1.0, 0, 0]])
    found = [vibrations(surface, r) for r in (along, along @ TURNED)]
    assert [int(each.n_rigid) for each in found] == [5, 5]
    np.testing.assert_allclose(found[0].wavenumbers, found[1].wavenumbers, atol=1e-3)
    assert np.asarray(found[0].wavenumbers[5:]).min() > 100
    np.testing.assert_allclose(*(log_partition(each, 300.0) for each in found), rtol=1e-9)
    # A real bend, 1e-2 of the length, is one.
    bent = vibrations(surface, along * np.array([[1.0, 1e4, 1.0]]))
    assert int(bent.n_rigid) == 6


def test_softest_modes_of_linear_molecules():
    """A linear molecule has no sixth rigid motion that could take a mode away: without a matrix the modes are the same."""
    for surface, r, count in (
        (Surface(spring, species=("C", "O")), np.array([[0.0, 0, 0], [1.2, 0, 0]]), 1),
        (Surface(bending, masses=[16.0, 12.0, 16.0]), np.array([[-1.0, 0, 0], [0, 0, 0], [1.0, 0, 0]]), 4),
    ):
        for place in (r, r @ TURNED):
            whole, soft = vibrations(surface, place), vibrations(surface, place, lowest=count)
            np.testing.assert_allclose(soft.eigenvalues, whole.eigenvalues[5:], rtol=1e-8)


def trapped(positions):
    """Two atoms joined by a spring, each held at the origin."""
    return spring(positions) + 0.5 * jnp.sum(positions**2)


def test_motions_of_the_whole_in_a_trap_are_vibrations():
    """Each atom held by 1 eV/Å²: the centre swings with that, in vibrations and in motion; a word given is obeyed."""
    surface = Surface(trapped, masses=[1.0, 1.0])
    low = minimise(surface, np.array([[0.5, 0.1, 0.2], [-0.6, 0, 0]]), max_force=1e-9).positions
    found = vibrations(surface, low)
    assert int(found.n_rigid) == 2 and found.inertia is None and int(found.n_negative) == 0
    # Three swings of the centre; turns about the trap's middle are free, and what is left is the stretch.
    np.testing.assert_allclose(found.eigenvalues, [0, 0, 1, 1, 1, 61], atol=1e-6)
    assert int(vibrations(surface, low, rigid="molecule").n_rigid) == 5
    assert int(vibrations(surface, low, rigid="none").n_rigid) == 0
    assert int(jax.jit(lambda: vibrations(surface, low).n_rigid)()) == 2
    shifted = low + 0.1
    run = md(surface, shifted, NVE(), steps=20, dt=1.0, every=20)
    assert np.abs(run.state.velocities.sum(axis=0)).max() > 1e-3
    assert (
        np.abs(
            md(Surface(spring, masses=[1.0, 1.0]), shifted * 1.1, NVE(), steps=20, dt=1.0).state.velocities.sum(axis=0)
        ).max()
        < 1e-12
    )


def test_a_uniform_field_leaves_shifts_free():
    """Opposite charges in a field: a shift costs nothing, a turn does."""
    surface = Surface(lambda r: spring(r) + 0.2 * (r[1, 2] - r[0, 2]), masses=[1.0, 1.0])
    found = vibrations(surface, minimise(surface, np.array([[0.1, 0, 0], [0, 0, -1.2]]), max_force=1e-9).positions)
    assert int(found.n_rigid) == 3 and int(found.n_negative) == 0
    # Two librations: the dipole's force 0.2 eV/Å over the length, 0.2/1.2067, on a reduced mass of 1/2.
    np.testing.assert_allclose(found.eigenvalues[3:5], 2 * 0.2 / (1.2 + 0.2 / 30), rtol=1e-6)
    # A bent molecule with its charge in the middle: one turn is left, about the field.
    surface = Surface(lambda r: corner(r) + 0.1 * (r[1, 2] - (r[0, 2] + r[2, 2]) / 2), masses=[16.0, 12.0, 16.0])
    found = vibrations(
        surface, minimise(surface, np.array([[-0.8, 0.1, 0.6], [0, 0, 0], [0.8, 0, 0.6]]), max_force=1e-9).positions
    )
    assert int(found.n_rigid) == 4 and int(found.n_negative) == 0 and float(found.eigenvalues[4]) > 1e-3


def corner(positions):
    """A bent molecule: springs along all three sides."""
    sides = jnp.stack([jnp.sqrt(jnp.sum((positions[i] - positions[j]) ** 2)) for i, j in ((0, 1), (1, 2), (0, 2))])
    return 10.0 * jnp.sum((sides - jnp.asarray([1.0, 1.0, 1.6])) ** 2)


def test_a_path_in_a_trap_moves_its_centre():
    """Two atoms, each in a double well along x, hop as one: to project their shift out would leave no path."""

    def hop(r):
        across = jnp.sum((r[:, 1] - jnp.asarray([-0.6, 0.6])) ** 2) + jnp.sum(r[:, 2] ** 2)
        return jnp.sum((r[:, 0] ** 2 - 1) ** 2) + across + 2 * (r[0, 0] - r[1, 0]) ** 2

    start = np.array([[-1.0, -0.6, 0], [-1.0, 0.6, 0]])
    path = neb(Surface(hop), start, start * np.array([-1.0, 1, 1]), images=7)
    assert abs(float(path.barrier) - 2.0) < 1e-3
    top = dimer(Surface(hop), path.top, path.tangent, sides=False)
    assert abs(float(top.energy) - 2.0) < 1e-6
