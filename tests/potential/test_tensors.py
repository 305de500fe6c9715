"""Tensor models with random weights: exact symmetry, derivatives, committee, what is not known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr.potential import EFG, SHIELDING, Calibration, Property
from jaxnmr.potential._cartesian import components, values
from jaxnmr.potential.training import uncalibrated
from jaxnmr.structure import Structure, neighbor_graph
from tests.potential.small import TENSORS, small_tensor_model

CELL = np.array([[4.1, 0.0, 0.0], [-0.9, 3.9, 0.0], [0.4, 0.7, 4.4]])


@pytest.fixture(scope="module")
def model():
    return small_tensor_model()


@pytest.fixture(scope="module")
def crystal():
    rng = np.random.default_rng(3)
    grid = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]) + 0.04 * rng.normal(size=(4, 3))
    return Structure(["Si", "O", "O", "H"], grid @ CELL, CELL)


def orthogonal(seed, determinant):
    matrix = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return matrix * np.sign(np.linalg.det(matrix)) * determinant


def turned(structure, matrix):
    return Structure(structure.species, structure.positions @ matrix.T, structure.cell @ matrix.T, structure.pbc)


@pytest.mark.parametrize("determinant", [1, -1])
def test_the_seam_turns_as_e3nn_does(determinant):
    """Components of R T R^T are e3nn's own matrices times those of T; and back. A wrong axis or sign is of order one."""
    e3nn = pytest.importorskip("e3nn_jax")
    tensors, matrix = np.random.default_rng(0).normal(size=(5, 3, 3)), orthogonal(4, determinant)
    before, after = components(SHIELDING, tensors), components(SHIELDING, matrix @ tensors @ matrix.T)
    for irrep, one, two in zip(SHIELDING.kinds, before, after, strict=True):
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            turn = np.asarray(e3nn.Irreps(irrep.name).D_from_matrix(jnp.asarray(matrix)))
        np.testing.assert_allclose(two[..., 0], np.asarray(one)[..., 0] @ turn.T, atol=1e-12)
    np.testing.assert_allclose(values(SHIELDING, before), tensors, atol=1e-12)
    np.testing.assert_allclose(np.sum([np.sum(np.square(c), (1, 2)) for c in before], 0), np.sum(tensors**2, (1, 2)))


def test_the_seam_has_the_axes_of_e3nn():
    """The dyad of a vector has the components of e3nn's harmonics of it, and the cross product those of a vector."""
    e3nn = pytest.importorskip("e3nn_jax")
    r, other = np.array([[0.3, -0.5, 0.9]]), np.array([[-0.2, 0.8, 0.1]])
    dyad = r[:, :, None] * r[:, None, :]
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        sphere = np.asarray(e3nn.spherical_harmonics("2e", jnp.asarray(r), normalize=False).array)
    found = np.asarray(components(EFG, dyad)[0])[..., 0]
    np.testing.assert_allclose(found / np.linalg.norm(found), sphere / np.linalg.norm(sphere), atol=1e-12)
    skew = r[:, :, None] * other[:, None, :] - other[:, :, None] * r[:, None, :]
    pseudovector = np.asarray(components(SHIELDING, skew)[1])[..., 0]
    cross = np.cross(r, other)
    np.testing.assert_allclose(pseudovector / np.linalg.norm(pseudovector), cross / np.linalg.norm(cross), atol=1e-12)


@pytest.mark.parametrize(("dtype", "precision"), [("float64", 1e-10), ("float32", 1e-5)])
def test_tensors_turn_with_the_structure(model, crystal, dtype, precision):
    """Rotation, reflection, inversion, atoms renumbered and moved by lattice vectors, cell doubled."""
    model = model.astype(dtype)
    names = ("shielding", "efg")
    start = {name: model.predict(crystal, name) for name in names}
    # Not a test of zeros: every part is there, the antisymmetric one too.
    skew = start["shielding"].values - np.swapaxes(start["shielding"].values, 1, 2)
    assert np.abs(skew).max() > 0.1
    for name in names:
        size = np.abs(start[name].values).max()
        for matrix in (orthogonal(1, 1), orthogonal(2, -1), -np.eye(3)):
            found = model.predict(turned(crystal, matrix), name)
            np.testing.assert_allclose(found.values, matrix @ start[name].values @ matrix.T, atol=precision * size)
            np.testing.assert_allclose(found.uncertainty, start[name].uncertainty, rtol=1e3 * precision)
        order = np.array([2, 0, 3, 1])
        moved = np.asarray(crystal.positions)[order] + np.array([[0], [1], [-2], [0]]) * CELL[1]
        found = model.predict(Structure([crystal.species[k] for k in order], moved, CELL), name)
        np.testing.assert_allclose(found.values, start[name].values[order], atol=precision * size)
        double = np.concatenate([crystal.positions, crystal.positions + CELL[1]])
        found = model.predict(Structure(crystal.species * 2, double, CELL * [[1], [2], [1]]), name)
        np.testing.assert_allclose(found.values, np.concatenate([start[name].values] * 2), atol=precision * size)


@pytest.mark.parametrize(("dtype", "precision"), [("float64", 1e-10), ("float32", 1e-5)])
def test_a_site_of_tetrahedral_symmetry(model, dtype, precision):
    """Isotropic shielding, no antisymmetric part, no field gradient: to rounding, whatever the weights are."""
    model = model.astype(dtype)
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    turn = orthogonal(7, 1)
    positions = np.concatenate([np.zeros((1, 3)), 0.93 * corners @ turn.T, 1.49 * corners @ turn.T])
    molecule = Structure(["Si"] + ["O"] * 4 + ["H"] * 4, positions)
    sigma, efg = model.shielding(molecule), model.efg(molecule)
    assert np.abs(sigma[0] - np.trace(sigma[0]) / 3 * np.eye(3)).max() < precision * np.abs(sigma).max()
    assert np.abs(efg[0]).max() < precision * np.abs(efg).max()
    assert np.abs(efg[1:]).max() > 0.1


def test_derivatives_in_positions_and_cell(model, crystal):
    """jit, grad and jvp of a function of the tensors, against differences that are good to h^4."""
    graph = neighbor_graph(crystal, model.cutoff)
    rng = np.random.default_rng(5)
    weights = jnp.asarray(rng.normal(size=(graph.n_atoms, 3, 3)))

    def total(positions, cell):
        return jnp.sum(weights * model.tensor_fn("shielding", positions, cell, graph))

    positions, cell = jnp.asarray(crystal.positions), jnp.asarray(crystal.cell)
    slope = jax.jit(jax.grad(total, argnums=(0, 1)))(positions, cell)
    direction = rng.normal(size=(4, 3)), rng.normal(size=(3, 3))
    at = jax.jit(lambda t: total(positions + t * direction[0], cell + t * direction[1]))
    h = 1e-3
    difference = (8 * (at(h) - at(-h)) - at(2 * h) + at(-2 * h)) / (12 * h)
    expected = sum(np.sum(np.asarray(s) * d) for s, d in zip(slope, direction, strict=True))
    assert float(difference) == pytest.approx(float(expected), rel=1e-6)
    _, along = jax.jvp(at, (jnp.asarray(0.0),), (jnp.asarray(1.0),))
    assert float(along) == pytest.approx(float(expected), rel=1e-9)
    several = jax.vmap(lambda r: model.tensor_fn("efg", r, cell, graph))(jnp.stack([positions, positions + 1.0]))
    np.testing.assert_allclose(several[0], several[1], atol=1e-9)
    np.testing.assert_allclose(several[0][:4], model.efg(crystal), atol=1e-9)


def test_the_committee_is_its_members(model, crystal):
    """Each head alone in a model of one: their mean, and their deviation with the calibration's two numbers."""
    config = model.config.model_copy(update={"heads": model.config.heads.model_copy(update={"members": 1})})
    alone = []
    for k in range(3):
        params = model.params | {"heads": jax.tree.map(lambda array, k=k: array[k : k + 1], model.params["heads"])}
        single = type(model)(config, params, model.scales, model.calibrations, model.card)
        alone.append(single.shielding(crystal))
    found = model.predict(crystal, "shielding")
    np.testing.assert_allclose(found.values, np.mean(alone, axis=0), atol=1e-10)
    scale = np.asarray(model.scales[0].scale)[[2, 1, 1, 0]]
    size = np.sqrt((scale**2 @ [1, 3, 5]) / 9)
    variance = 1.5**2 * np.var(alone, axis=0, ddof=1).mean(axis=(1, 2)) + 0.01**2 * size**2
    np.testing.assert_allclose(found.uncertainty, np.sqrt(variance), rtol=1e-8)


def test_a_single_head_that_nothing_calibrated_knows_no_uncertainty(model, crystal):
    """NaN, not the zero of its spread; values and their slopes stay finite, and a floor from data is an uncertainty."""
    config = model.config.model_copy(update={"heads": model.config.heads.model_copy(update={"members": 1})})
    params = model.params | {"heads": jax.tree.map(lambda array: array[:1], model.params["heads"])}
    single = type(model).from_parts(config, params, model.scales)
    assert uncalibrated(single) == ("shielding", "efg")
    found = single.predict(crystal, "shielding")
    assert np.isnan(found.uncertainty).all() and np.isfinite(found.values).all()
    graph = neighbor_graph(crystal, model.cutoff)
    slope = jax.grad(lambda r: single.tensor_fn("shielding", r, jnp.asarray(CELL), graph).sum())(crystal.positions)
    assert np.isfinite(slope).all() and np.abs(slope).max() > 0.1
    floor = Calibration(np.zeros(()), np.full((), 0.1))
    confirmed = type(model).from_parts(config, params, model.scales, (floor, floor))
    assert uncalibrated(confirmed) == () and (confirmed.uncertainty(crystal) > 0).all()
    # Several heads have their bare spread.
    several = type(model).from_parts(model.config, model.params, model.scales)
    assert uncalibrated(several) == ("shielding", "efg") and (several.uncertainty(crystal) > 0).all()


def test_isotropic_shieldings_are_tensors_without_anisotropy(crystal):
    """By `shielding` and `label`, as promised; numbers by `predict`. What is no tensor of an atom is told."""
    isotropic = Property(name="shielding", irreps="0e", unit="ppm")
    gap = Property(name="efg", irreps="2e", pooling="mean")
    model = small_tensor_model((isotropic,))
    values = model.predict(crystal, "shielding").values
    assert values.shape == (4,)
    for found in (model.shielding(crystal), model.label(crystal).shielding):
        np.testing.assert_allclose(found, values[:, None, None] * np.eye(3), rtol=1e-12)
    model = small_tensor_model((isotropic, gap))
    for call in (model.efg, model.label):
        with pytest.raises(ValueError, match=r"efg of this model is of the whole structure .* predict\(atoms, 'efg'\)"):
            call(crystal)


def test_properties_of_other_irreps_are_one_line_each(crystal):
    """A charge and a dipole of each atom, a polarisability and a mean of the structure; odd ones vanish by inversion."""
    model = small_tensor_model(
        (
            Property(name="charge", irreps="0e"),
            Property(name="dipole", irreps="1o"),
            Property(name="polarisability", irreps="0e+2e", pooling="sum"),
            Property(name="gap", irreps="0e", pooling="mean"),
            Property(name="octupole", irreps="2x3o+0o"),
        )
    )
    charge, dipole, alpha, gap, octupole = model.evaluate(model.prepare([crystal]))[0]
    assert [each.values.shape for each in (charge, dipole, alpha, gap, octupole)] == [(4,), (4, 3), (3, 3), (), (4, 15)]
    matrix = orthogonal(3, -1)
    image = turned(crystal, matrix)
    np.testing.assert_allclose(model.predict(image, "dipole").values, dipole.values @ matrix.T, atol=1e-10)
    np.testing.assert_allclose(model.predict(image, "polarisability").values, matrix @ alpha.values @ matrix.T, atol=1e-9)
    double = np.concatenate([crystal.positions, crystal.positions + CELL[1]])
    double = Structure(crystal.species * 2, double, CELL * [[1], [2], [1]])
    np.testing.assert_allclose(model.predict(double, "polarisability").values, 2 * alpha.values, rtol=1e-10)
    np.testing.assert_allclose(model.predict(double, "gap").values, gap.values, rtol=1e-10)
    rocksalt = Structure(["Si", "O"], [[0, 0, 0], [2, 2, 2]], 2.0 * (1 - np.eye(3)))
    assert np.abs(model.predict(rocksalt, "dipole").values).max() < 1e-10 * np.abs(dipole.values).max()
    batch = model.evaluate(model.prepare([double, crystal]))
    np.testing.assert_allclose(batch[1][2].values, alpha.values, rtol=1e-10)
    np.testing.assert_allclose(batch[1][1].values, dipole.values, atol=1e-10)


def test_elements_without_labels_have_no_tensors(model, crystal):
    """NaN, as `Structure` marks what is missing; gradients of the others stay finite."""
    counts = np.array([0.0, 5.0, 5.0])
    scales = (model.scales[0]._replace(count=counts), model.scales[1])
    model = type(model)(model.config, model.params, scales, model.calibrations, model.card)
    assert model.predicts("shielding") == ("O", "Si")
    labelled = model.label(crystal)
    assert labelled.has_shielding.tolist() == [True, True, True, False]
    assert labelled.has_efg.all()
    assert np.isnan(model.uncertainty(crystal)).tolist() == [False, False, False, True]
    graph = neighbor_graph(crystal, model.cutoff)
    slope = jax.grad(lambda r: model.tensor_fn("shielding", r, jnp.asarray(CELL), graph)[0, 0, 0])(crystal.positions)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize(
    ("structure", "name", "message"),
    [
        (Structure(["C", "O"], [[0, 0, 0], [1.2, 0, 0]]), "efg", "'small' does not know C; it knows H, O, Si"),
        (Structure(["O", "O"], [[0, 0, 0], [0.1, 0, 0]]), "efg", "0.1 Å apart"),
        (Structure(["O", "O"], [[0, 0, 0], [1.1, 0, 0]]), "shieldings", "did you mean 'shielding'"),
    ],
)
def test_bad_input_is_told(model, structure, name, message):
    with pytest.raises(ValueError, match=message):
        model.predict(structure, name)


@pytest.mark.parametrize(("name", "irreps"), [("a b", "0e"), ("a", "0x0e"), ("a", "1p"), ("", "0e")])
def test_properties_that_are_none(name, irreps):
    with pytest.raises(ValueError, match=r"irreps|word|nothing"):
        Property(name=name, irreps=irreps)


def test_heads_know_what_their_backbone_lacks(crystal):
    """Without any odd or tensor feature, a field gradient is zero and not an error."""
    network = TENSORS.model_copy(update={"hidden_irreps": "6x0e"})
    assert np.abs(small_tensor_model((EFG,), network).efg(crystal)).max() == 0


def test_far_features_do_not_explode():
    """Products of features a thousand sizes off would be a million: they are held at eight, those of training are not."""
    from jaxnmr.potential._irreps import parse_irreps
    from jaxnmr.potential._tensor_network import _standardised

    irreps = parse_irreps("2x0e+1x1o")
    standard = {"0e": {"centre": jnp.ones(2), "size": jnp.full(2, 0.1)}, "1o": {"size": jnp.full(1, 0.5)}}
    far = jnp.full((1, 1, 2), 101.0), jnp.full((1, 3, 1), -500.0)
    scalars, vectors = _standardised(irreps, standard, far)
    np.testing.assert_allclose(scalars, 8, rtol=1e-3)
    np.testing.assert_allclose(vectors, -8, rtol=1e-3)
    near = jnp.full((1, 1, 2), 1.2), jnp.full((1, 3, 1), 0.5)
    for found, plain in zip(_standardised(irreps, standard, near), (2.0, 1.0), strict=True):
        np.testing.assert_allclose(found, plain, rtol=1.1e-3)
