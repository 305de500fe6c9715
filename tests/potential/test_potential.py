"""What any potential has to do, on a small network with random weights, and once on foundation weights."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr.potential import NequipConfig
from jaxnmr.structure import NeighborList, Structure, batch_graphs, neighbor_graph
from tests.potential.small import CONFIG, small_potential

CELL = np.array([[4.1, 0.0, 0.0], [-0.9, 3.9, 0.0], [0.4, 0.7, 4.4]])


@pytest.fixture(scope="module")
def potential():
    return small_potential()


@pytest.fixture(scope="module")
def crystal():
    rng = np.random.default_rng(3)
    grid = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]) + 0.04 * rng.normal(size=(4, 3))
    return Structure(["Si", "O", "O", "H"], grid @ CELL, CELL)


def strained(structure, strain):
    stretch = np.eye(3) + strain
    return Structure(structure.species, structure.positions @ stretch, structure.cell @ stretch, structure.pbc)


def turned(structure, matrix):
    """Every vector v becomes matrix v."""
    return Structure(structure.species, structure.positions @ matrix.T, structure.cell @ matrix.T, structure.pbc)


def orthogonal(seed, determinant):
    matrix = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return matrix * np.sign(np.linalg.det(matrix)) * determinant


def apart(found, expected):
    """Difference of two tensors against the size of the one expected, over all their elements."""
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def check_against_differences(potential, structure, atol, step=1e-3):
    """Forces along a random direction and stress along a random strain, by five-point differences."""
    rng = np.random.default_rng(0)
    result = potential.energy_forces_stress(structure)
    direction = rng.normal(size=(len(structure), 3))
    strain = rng.normal(size=(3, 3))
    strain = (strain + strain.T) / 2
    volume = abs(np.linalg.det(structure.cell))

    def moved(t):
        return Structure(structure.species, structure.positions + t * direction, structure.cell, structure.pbc)

    def difference(at):
        near, far = at(step) - at(-step), at(2 * step) - at(-2 * step)
        return (8 * near - far) / (12 * step)

    slope = difference(lambda t: potential.energy(moved(t)))
    expected = -np.sum(result.forces * direction)
    assert slope == pytest.approx(expected, rel=1e-6, abs=atol)
    slope = difference(lambda t: potential.energy(strained(structure, t * strain))) / volume
    assert slope == pytest.approx(np.sum(result.stress * strain), rel=1e-6, abs=atol)


def test_forces_and_stress_are_the_derivatives(potential, crystal):
    """Five-point differences of step h are good to h^4; 1e-6 relative, as a wrong sign or a lost image is not."""
    check_against_differences(potential, crystal, atol=1e-9)


@pytest.mark.slow
def test_forces_and_stress_of_foundation_weights_are_the_derivatives(oam, magnesia):
    """The same with the whole network, on rattled MgO."""
    rattled = magnesia.positions + 0.05 * np.random.default_rng(1).normal(size=(8, 3))
    check_against_differences(oam, Structure(magnesia.species, rattled, magnesia.cell), atol=1e-8)


@pytest.mark.parametrize(("dtype", "precision"), [("float64", 1e-10), ("float32", 1e-5)])
def test_energy_is_invariant_and_forces_turn_along(potential, crystal, dtype, precision):
    """Rotation, reflection, shift by a vector, atoms renumbered, cell left-handed, cell doubled.

    What is found in single precision is 1e-6 at most, in double 2e-15.
    """
    potential = potential.astype(dtype)
    start = potential.energy_forces_stress(crystal)
    for matrix in (orthogonal(1, 1), orthogonal(2, -1), -np.eye(3)):
        result = potential.energy_forces_stress(turned(crystal, matrix))
        assert result.energy == pytest.approx(start.energy, rel=precision)
        assert apart(result.forces, start.forces @ matrix.T) < precision
        assert apart(result.stress, matrix @ start.stress @ matrix.T) < precision
    order = np.array([2, 0, 3, 1])
    renumbered = Structure([crystal.species[k] for k in order], crystal.positions[order] + [0.3, -9.1, 4.0], CELL)
    result = potential.energy_forces_stress(renumbered)
    assert result.energy == pytest.approx(start.energy, rel=precision)
    assert apart(result.forces, start.forces[order]) < precision
    assert apart(result.stress, start.stress) < precision
    left = potential.energy_forces_stress(Structure(crystal.species, crystal.positions, CELL[[1, 0, 2]]))
    assert left.energy == pytest.approx(start.energy, rel=precision)
    assert apart(left.forces, start.forces) < precision
    assert apart(left.stress, start.stress) < precision
    double = np.concatenate([crystal.positions, crystal.positions + CELL[1]])
    result = potential.energy_forces_stress(Structure(crystal.species * 2, double, CELL * [[1], [2], [1]]))
    assert result.energy == pytest.approx(2 * start.energy, rel=precision)
    assert apart(result.forces, np.concatenate([start.forces] * 2)) < precision
    assert apart(result.stress, start.stress) < precision


def test_features_turn_as_their_irreps_say(crystal):
    """e3nn's own matrices, applied to the features of each layer: 1e-10 of their size; a wrong parity changes signs."""
    e3nn = pytest.importorskip("e3nn_jax")
    sizes = {"hidden_irreps": "4x0e+3x1o+2x2e", "l_max": 2, "scalar_output": False}
    potential = small_potential(NequipConfig(**CONFIG.model_dump() | sizes))
    graph = neighbor_graph(crystal, CONFIG.cutoff)
    before = potential.features(crystal.positions, crystal.cell, graph)
    matrix = orthogonal(5, -1)
    image = turned(crystal, matrix)
    after = potential.features(image.positions, image.cell, graph)
    assert [features.irreps for features in before] == ["4x0e+3x1o+2x2e", "4x0e+3x1o+2x2e"]
    for one, two in zip(before, after, strict=True):
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            turn = np.asarray(e3nn.Irreps(one.irreps).D_from_matrix(jnp.asarray(matrix)))
        expected = np.asarray(one.to_e3nn().array)[:4] @ turn.T
        np.testing.assert_allclose(np.asarray(two.to_e3nn().array)[:4], expected, atol=1e-10 * np.abs(expected).max())


def test_second_derivative_is_continuous_at_the_cutoff(potential):
    """Two atoms pulled apart through the cutoff: energy, force and curvature go to those of atoms alone, smoothly."""
    pair = Structure(["Si", "O"], np.array([[0, 0, 0], [CONFIG.cutoff, 0, 0]]))
    graph = neighbor_graph(Structure(pair.species, pair.positions * 0.9), CONFIG.cutoff)

    def energy(r):
        return potential.energy_fn(jnp.stack([jnp.zeros(3), jnp.stack([r, 0 * r, 0 * r])]), None, graph)

    second = jax.jit(jax.grad(jax.grad(energy)))
    inside = np.array([second(CONFIG.cutoff - gap) for gap in (4e-3, 2e-3, 1e-3)])
    elsewhere = second(3.0)
    assert second(CONFIG.cutoff + 1e-3) == 0
    # The polynomial ends with the gap's third power and the Bessel functions with its first: the second derivative of
    # their product goes with the square. One that jumped would not change at all.
    np.testing.assert_allclose(inside[:-1] / inside[1:], 4, rtol=0.02)
    assert 0 < abs(inside[-1]) < 1e-3 * abs(elsewhere)


def test_energy_function_under_transformations(potential, crystal):
    """jit, grad, jvp and vmap of the plain function give what the methods give; padded positions count the same."""
    graph = neighbor_graph(crystal, CONFIG.cutoff)
    result = potential.energy_forces_stress(crystal)
    positions, cell = jnp.asarray(crystal.positions), jnp.asarray(crystal.cell)
    value, slope = jax.jit(jax.value_and_grad(lambda r: potential.energy_fn(r, cell, graph)))(positions)
    assert float(value) == pytest.approx(result.energy, rel=1e-12)
    np.testing.assert_allclose(-slope, result.forces, atol=1e-11)
    tangent = jnp.ones_like(positions).at[0].set(-2.0)
    _, along = jax.jvp(lambda r: potential.energy_fn(r, cell, graph), (positions,), (tangent,))
    assert float(along) == pytest.approx(float(jnp.sum(slope * tangent)), rel=1e-9)
    several = jax.vmap(lambda r: potential.energy_fn(r, cell, graph))(jnp.stack([positions, positions + 1.0]))
    np.testing.assert_allclose(several, result.energy, rtol=1e-10)
    filled = jnp.concatenate([positions, jnp.full((graph.n_atoms - 4, 3), 0.5)])
    assert float(potential.energy_fn(filled, cell, graph)) == pytest.approx(result.energy, rel=1e-12)


@pytest.mark.slow
def test_curvature_by_both_modes_agrees(potential, crystal):
    """A product with the matrix of second derivatives, forward over reverse and reverse over reverse, for vibrations."""
    graph = neighbor_graph(crystal, CONFIG.cutoff)
    cell, positions = jnp.asarray(crystal.cell), jnp.asarray(crystal.positions)
    slope = jax.jit(jax.grad(lambda r: potential.energy_fn(r, cell, graph)))
    vector = jnp.asarray(np.random.default_rng(2).normal(size=positions.shape))
    forward = jax.jit(lambda r: jax.jvp(slope, (r,), (vector,))[1])(positions)
    reverse = jax.jit(jax.grad(lambda r: jnp.sum(slope(r) * vector)))(positions)
    np.testing.assert_allclose(forward, reverse, atol=1e-10)
    step = 1e-5
    difference = (slope(positions + step * vector) - slope(positions - step * vector)) / (2 * step)
    np.testing.assert_allclose(forward, difference, atol=1e-6 * float(jnp.abs(forward).max()))


def test_batches_give_what_each_structure_gives(potential, crystal):
    """Crystal, molecule, slab and one atom together: energies and forces as alone."""
    molecule = Structure(["O", "H", "H"], [[0, 0, 0], [0.96, 0, 0], [-0.3, 0.9, 0]])
    slab = Structure(crystal.species, crystal.positions, CELL * [[1], [1], [3]], (True, True, False))
    atom = Structure(["Si"], [[0.0, 0.0, 0.0]])
    several = [crystal, molecule, slab, atom]
    batch = potential.prepare(several)
    for structure, result in zip(several, potential.evaluate(batch), strict=True):
        alone = potential.energy_forces_stress(structure)
        assert result.energy == pytest.approx(alone.energy, rel=1e-12)
        assert result.energies.sum() == pytest.approx(alone.energy, rel=1e-12)
        np.testing.assert_allclose(result.forces, alone.forces, atol=1e-10)
        assert (result.stress is None) == (not all(structure.pbc))
    together = potential.energy_fn(batch.positions, batch.cell, batch.graph)
    np.testing.assert_allclose(together, [potential.energy(structure) for structure in several], rtol=1e-12)


@pytest.mark.slow
def test_lists_updated_under_jit_serve(potential, crystal):
    """A `NeighborList` that reaches beyond the cutoff gives the same energy after the atoms have moved."""
    neighbors = NeighborList.allocate(crystal, CONFIG.cutoff, skin=0.3)
    moved = np.asarray(crystal.positions) + 0.2 * np.random.default_rng(4).normal(size=(4, 3))

    @jax.jit
    def energy(neighbors, positions):
        neighbors = neighbors.update(positions)
        return potential.energy_fn(positions, crystal.cell, neighbors.graph), neighbors.overflowed

    value, overflowed = energy(neighbors, moved)
    expected = potential.energy(Structure(crystal.species, moved, CELL))
    assert not overflowed
    assert float(value) == pytest.approx(expected, rel=1e-12)


def test_few_sizes_are_compiled(potential, crystal):
    """Eight structures of 25 to 32 atoms fall into two sizes of atoms, with rows of at most two lengths."""
    from jaxnmr.potential._evaluate import network_numbers

    before = network_numbers._cache_size()
    for n in range(25, 33):
        positions = np.concatenate([crystal.positions + k * CELL[0] for k in range(8)])[:n]
        potential.energy(Structure((crystal.species * 8)[:n], positions, CELL * [[9], [1], [1]]))
    assert network_numbers._cache_size() - before <= 4


def test_calculator_of_ase(potential, crystal):
    """ASE's names, units and order of stress components; rows keep their length while atoms move."""
    pytest.importorskip("ase")
    from ase.stress import voigt_6_to_full_3x3_stress

    atoms = crystal.to_ase()
    atoms.calc = potential.calculator()
    result = potential.energy_forces_stress(crystal)
    assert atoms.get_potential_energy() == pytest.approx(result.energy, rel=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), result.forces, atol=1e-12)
    np.testing.assert_allclose(voigt_6_to_full_3x3_stress(atoms.get_stress()), result.stress, atol=1e-12)
    np.testing.assert_allclose(atoms.get_potential_energies(), result.energies, atol=1e-12)
    np.testing.assert_allclose(potential.forces(atoms), result.forces, atol=1e-12)
    room = atoms.calc._room
    atoms.set_cell(1.5 * CELL, scale_atoms=True)
    assert atoms.get_potential_energy() == pytest.approx(potential.energy(atoms), rel=1e-12)
    assert atoms.calc._room == room  # far fewer neighbours now


def test_skip_by_element_equals_the_common_one_with_equal_weights(potential, crystal):
    """Weights for each element, all set to those of the network without: the same energies."""
    config = CONFIG.model_copy(update={"element_skip": True})
    params = jax.tree.map(lambda x: x, potential.params)
    for layer in params["backbone"].values():
        layer["skip"] = {name: jnp.stack([weights] * 3) for name, weights in layer["skip"].items()}
    by_element = type(potential)(config, params, potential.scale, potential.card)
    assert by_element.energy(crystal) == pytest.approx(potential.energy(crystal), rel=1e-12)


def test_irreps_of_both_parities(crystal):
    """Pseudoscalars and axial vectors, which Nequix has not: still invariant under reflection, and not by being zero."""
    sizes = {"hidden_irreps": "4x0e+3x0o+2x1o+2x1e", "scalar_output": False, "n_layers": 3}
    config = NequipConfig(**CONFIG.model_dump() | sizes)
    potential = small_potential(config)
    graph = neighbor_graph(crystal, config.cutoff)
    assert potential.energy(turned(crystal, -np.eye(3))) == pytest.approx(potential.energy(crystal), rel=1e-12)
    here, there = (potential.features(sign * crystal.positions, sign * crystal.cell, graph)[-1] for sign in (1, -1))
    assert here.irreps == "4x0e+3x0o+2x1o+2x1e"
    for chunk, image, sign in zip(here.chunks, there.chunks, (1, -1, -1, 1), strict=True):
        size = float(jnp.abs(chunk[:4]).max())
        assert size > 1e-9
        np.testing.assert_allclose(image[:4], sign * chunk[:4], atol=1e-6 * size + 1e-14)


def test_slabs_of_ase_have_no_stress(potential):
    """ASE's missing lattice vector is completed by 1 Å, whose volume would make a stress of any size."""
    ase = pytest.importorskip("ase")
    from ase.calculators.calculator import PropertyNotImplementedError

    slab = ase.Atoms("SiO", [[0, 0, 0], [1.6, 0, 0]], cell=[[3, 0, 0], [0, 3, 0], [0, 0, 0]], pbc=(True, True, False))
    assert potential.energy_forces_stress(slab).stress is None
    slab.calc = potential.calculator()
    assert np.isfinite(slab.get_forces()).all()
    with pytest.raises(PropertyNotImplementedError):
        slab.get_stress()


def test_energies_without_references_keep_their_digits(potential, crystal):
    """Single precision and -2e5 eV of references: steps of 16 meV with them, of less than 1e-4 eV without."""
    heavy = potential.scale._replace(references=np.full(3, -5e4))
    heavy = type(potential)(potential.config, potential.params, heavy, potential.card)
    graph = neighbor_graph(crystal, CONFIG.cutoff)
    single = heavy.astype("float32").energy_fn
    offset = 4 * (-5e4 + float(heavy.scale.shift))
    exact = heavy.energy(crystal) - offset
    bare = single(crystal.positions, crystal.cell, graph, references=False)
    assert float(bare) == pytest.approx(exact, abs=1e-4)
    assert abs(float(single(crystal.positions, crystal.cell, graph)) - offset - exact) > 1e-3
    slopes = [
        jax.grad(lambda r, references=references: heavy.energy_fn(r, crystal.cell, graph, references=references))
        for references in (True, False)
    ]
    np.testing.assert_allclose(*(slope(jnp.asarray(crystal.positions)) for slope in slopes), atol=1e-9)


def boxed(pbc):
    return Structure(["O"], [[0, 0, 0]], 5 * np.eye(3), pbc)


def water(gap):
    return Structure(["O", "H", "H"], [[0, 0, 0], [0.96, 0, 0], [0.96, gap, 0]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.energy(Structure(["Po"], [[0, 0, 0]])), "does not know Po; it knows H, O, Si"),
        (lambda p: p.energy(water(0.1)), "H_1 and H_2 are 0.1 Å apart"),
        (lambda p: p.energy(Structure(["O"], [[0, np.nan, 0]])), "positions: not finite"),
        (lambda p: p.energy(Structure(["O"], [[0, 0, 0]], np.ones((3, 3)))), "no volume"),
        (lambda p: p.energy("quartz"), "give a Structure"),
        (lambda p: p.stress(water(1.5)), "have no cell; without a volume"),
        (lambda p: p.stress(boxed(False)), r"repeat along none of the lattice vectors: pbc=\(False, .*pbc=True"),
        (lambda p: p.stress(boxed((True, True, False))), "repeat along some of the lattice vectors"),
        (lambda p: p.energy_fn(jnp.zeros((3, 3)), None, neighbor_graph(water(1.5), 3.0)), "needs 4.0 Å"),
        (lambda p: p.energy_fn(jnp.zeros((99, 3)), None, neighbor_graph(water(1.5), 4.0)), "positions: 99 came"),
        (
            lambda p: p.energy_fn(jnp.zeros((1, 3)), None, neighbor_graph(Structure(["C"], [[0, 0, 0]]), 4.0)),
            "graph: has C, which is not known",
        ),
        (
            lambda p: p.evaluate(batch_graphs([water(1.5)], 2.0)),
            r"batch: lists pairs up to 2.0 Å; .* needs 4.0 Å.*`prepare`",
        ),
        (lambda p: p.evaluate(batch_graphs([Structure(["C"], [[0, 0, 0]])], 4.0)), "batch: has C, which is not known"),
        (lambda p: p.astype("float16"), "got float16"),
        (lambda p: NequipConfig(**CONFIG.model_dump() | {"n_layer": 3}), "n_layer"),
        (lambda p: NequipConfig(**CONFIG.model_dump() | {"hidden_irreps": "4x1o"}), "no even scalars"),
        (lambda p: NequipConfig(**CONFIG.model_dump() | {"hidden_irreps": "4x1z"}), "write them as"),
        (lambda p: NequipConfig(**CONFIG.model_dump() | {"elements": (1, 1)}), "each once"),
    ],
)
def test_bad_input_is_refused(potential, make, message):
    """Each message names what came."""
    with pytest.raises(ValueError, match=message):
        make(potential)


def test_atoms_of_ase_with_faults_are_refused(potential):
    """The same faults in Atoms, which hold them without complaint."""
    ase = pytest.importorskip("ase")
    with pytest.raises(ValueError, match="positions: not finite"):
        potential.energy(ase.Atoms("O", [[0, 0, np.inf]]))
    with pytest.raises(ValueError, match="lattice vector a is zero"):
        potential.energy(ase.Atoms("O", [[0, 0, 0]], pbc=True))
    with pytest.raises(ValueError, match="no volume"):
        potential.energy(ase.Atoms("O", [[0, 0, 0]], cell=np.ones((3, 3)), pbc=True))


def test_traced_elements_that_are_not_known_give_nan(potential):
    """Inside jit nothing can be raised; a number would be taken for an energy."""
    batch = batch_graphs([Structure(["C", "O"], [[0, 0, 0], [1.2, 0, 0]])], CONFIG.cutoff)
    energy = jax.jit(lambda graph: potential.energy_fn(batch.positions, None, graph))(batch.graph)
    assert np.isnan(energy)


SINGLE = """
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
from tests.potential.small import CONFIG, small_potential
from jaxnmr.structure import NeighborList, Structure
cell = np.array([[4.1, 0.0, 0.0], [-0.9, 3.9, 0.0], [0.4, 0.7, 4.4]])
fractional = np.array([[0.02, 0, 0.01], [0.5, 0.46, 0], [0.5, 0, 0.53], [0, 0.5, 0.5]])
crystal = Structure(["Si", "O", "O", "H"], fractional @ cell, cell)
potential, start = small_potential(), NeighborList.allocate(crystal, CONFIG.cutoff)

def step(state, _):
    positions, neighbors = state
    neighbors = neighbors.update(positions)
    energy, slope = jax.value_and_grad(lambda r: potential.energy_fn(r, cell, neighbors.graph))(positions)
    return (positions - 1e-3 * slope, neighbors), energy

run = jax.jit(lambda *state: jax.lax.scan(step, state, None, length=4))
(positions, neighbors), energies = run(jnp.asarray(crystal.positions), start)
assert energies.dtype == jnp.float32 and not neighbors.overflowed
assert abs(float(energies[0]) - potential.energy(crystal)) < 1e-4
assert np.all(np.diff(energies) < 0)
try:
    potential.astype("float64")
except ValueError as error:
    assert "jax_enable_x64" in str(error)
"""


@pytest.mark.slow
def test_single_precision_as_users_run_it():
    """JAX's defaults but for strict promotion: steps downhill inside a scan, the neighbour list with them."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", SINGLE], capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
