"""How far atoms are from learnt ones, and that uncertainties follow it beyond these and nowhere else."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr.potential import EFG, SHIELDING, HeadConfig, NequipConfig, Property, load_tensor_model, save_tensor_model
from jaxnmr.potential._container import pack, unpack
from jaxnmr.potential._domain import distance, excess
from jaxnmr.potential.training import Settings, _frozen, as_sample, calibrated, compare, new_tensor_model, train
from jaxnmr.potential.training._domain import Seen, fit_domain
from jaxnmr.structure import Structure
from tests.potential.small import CONFIG, crystals, small_tensor_model

pytest.importorskip("optax")
pytest.importorskip("safetensors")
CONFIG = CONFIG.model_copy(update={"n_layers": 1})
TENSORS = NequipConfig(**CONFIG.model_dump() | {"hidden_irreps": "4x0e+3x1o+2x2e", "l_max": 2, "scalar_output": False})
HEADS = HeadConfig(channels=4, width=8, depth=1, members=2)


def atoms(count=400, channels=12, scattering=12, seed=0):
    """Features of atoms of two of three elements, correlated, of sizes from 0.01 to 100."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(scattering, channels)) * np.geomspace(0.01, 100, channels)
    species = rng.integers(0, 2, count) * 2
    return rng.normal(size=(count, scattering)) @ mixing + 50.0 * species[:, None], species


def seen(x, species, samples=8):
    """Of so many samples, in turns."""
    return Seen(x, species, np.arange(len(x)) % samples)


def test_distances_are_those_of_mahalanobis():
    """Against the inverse of the scatter matrix itself; mean square one over the learnt, ends at their 99th hundredth."""
    x, species = atoms()
    domain = fit_domain(seen(x, species), 3)
    away, end = (np.asarray(part) for part in distance(domain, jnp.asarray(x), jnp.asarray(species)))
    centred = x - np.stack([x[species == z].mean(axis=0) for z in (0, 0, 2)])[species]
    scaled = centred / np.asarray(domain.size)
    scatter = scaled.T @ scaled / len(x)
    inverse = np.linalg.inv(scatter + 1e-3 * np.linalg.eigvalsh(scatter).max() * np.eye(12))
    square = np.einsum("ni,ij,nj->n", scaled, inverse, scaled)
    np.testing.assert_allclose(away, np.sqrt(square / square.mean()), rtol=1e-9)
    assert abs(np.mean(away**2) - 1) < 1e-9
    for z in (0, 2):
        assert np.mean(away[species == z] > end[species == z]) <= 0.015
    assert np.isnan(domain.end[1])


def test_few_directions_tell_what_all_do():
    """Of 100 channels only ten numbers matter, so 64 directions are as good; what never changed is not infinitely far."""
    x, species = atoms(channels=100, scattering=10)
    domain = fit_domain(seen(x, species), 3)
    assert domain.directions.shape == (100, 64)
    shifted = x + 0.5 * np.asarray(domain.size)[None] * np.sign(np.random.default_rng(1).normal(size=100))
    for points in (x, shifted):
        away = np.asarray(distance(domain, jnp.asarray(points), jnp.asarray(species))[0])
        scaled = (points - np.asarray(domain.mean)[species]) / np.asarray(domain.size)
        learnt = (x - np.asarray(domain.mean)[species]) / np.asarray(domain.size)
        scatter = learnt.T @ learnt / len(x)
        inverse = np.linalg.inv(scatter + 1e-3 * np.linalg.eigvalsh(scatter).max() * np.eye(100))
        norm = np.einsum("ni,ij,nj->n", learnt, inverse, learnt).mean()
        np.testing.assert_allclose(away, np.sqrt(np.einsum("ni,ij,nj->n", scaled, inverse, scaled) / norm), rtol=1e-6)
    single = fit_domain(seen(x[:1], species[:1]), 3)
    assert all(np.isfinite(part).all() for part in single[:-1])


def test_ends_are_those_of_atoms_that_were_not_learnt():
    """Of few learnt atoms nearly all others of their kind would lie outside; one half tells how far the other goes."""
    x, species = atoms(2000, channels=60, scattering=60)
    few, fresh = slice(0, 80), slice(400, None)
    for samples in (8, 1):  # of one sample, its atoms
        domain = fit_domain(seen(x[few], species[few], samples), 3)
        away, end = (np.asarray(p) for p in distance(domain, jnp.asarray(x[fresh]), jnp.asarray(species[fresh])))
        assert np.mean(away > 2 * end) < 0.01
        assert np.mean(away > end) < 0.2
        assert np.median(away / end) > 0.2
    # Nine atoms of an element tell nothing of others.
    rare = np.where(np.cumsum(species == 2) > 9, 0, species)[:200]
    assert np.isnan(fit_domain(seen(x[:200], rare), 3).end).tolist() == [False, True, True]


def test_elements_of_few_structures_are_met(monkeypatch):
    """Of a thousand structures some hundred tell; but not such that an element is passed over."""
    structures, samples = crystals(40), []
    for k, structure in enumerate(structures):
        efg = np.full((4, 3, 3), np.nan)
        efg[3 if k % 2 else slice(0, 3)] = 0.0  # hydrogen in every other one
        samples.append(as_sample(Structure(structure.species, structure.positions, structure.cell, efg=efg), (EFG,)))
    monkeypatch.setattr(_frozen, "_STRUCTURES", 6)
    monkeypatch.setattr(_frozen, "_OF_EACH", 12)
    model = small_tensor_model((EFG,), network=TENSORS)
    found = _frozen.even_scalars(model.config, model.params["backbone"], samples)
    assert found is not None
    counts = np.bincount(found.species, minlength=3)
    assert counts.min() >= 12
    assert counts.sum() < 80
    assert found.scalars.shape == (counts.sum(), 4)
    whole, _ = _frozen.features(model.config, model.params["backbone"], samples)
    assert {row.tobytes() for row in found.scalars} <= {row.tobytes() for row in np.asarray(whole.chunks[0])[:, 0, :]}


def test_variance_beyond_the_end():
    """Zero among the learnt, in proportion to the square beyond, one at last; its derivative is a number everywhere."""
    away, end = jnp.asarray([0.0, 0.9, 2.0, 1e6]), jnp.ones(4)
    error = jnp.asarray(0.01)
    found = np.asarray(excess(away, end, error))
    assert found[:2].tolist() == [0.0, 0.0]
    assert abs(found[2] - 3e-4 / (1 + 3e-4)) < 1e-12
    assert abs(found[3] - 1) < 1e-7
    slope = jax.vmap(jax.grad(lambda d: excess(d[None], jnp.ones(1), error)[0]))(away)
    assert np.isfinite(slope).all()
    assert np.asarray(excess(away, jnp.full(4, jnp.nan), error)).tolist() == [0.0] * 4


@pytest.fixture(scope="module")
def learnt():
    """A model of frozen features, and the samples that it has learnt from and been judged by."""
    teacher, samples = small_tensor_model(network=TENSORS), []
    for structure in crystals(14):
        done = teacher.label(structure)
        samples.append(as_sample(done, (SHIELDING, EFG)))
    base = small_tensor_model(network=TENSORS, seed=3)
    start = new_tensor_model(base, (SHIELDING, EFG), samples[:10], heads=HEADS)
    settings = Settings(epochs=60, batch_size=8, learning_rate=2e-2, ema=0.9)
    return train(start, samples[:10], samples[10:], settings, frozen=True).model, samples


def test_uncertainties_follow_the_distance(learnt):
    """What is like the learnt keeps its uncertainty; that of a crystal pressed by a fifth comes nearer to its error."""
    model, samples = learnt
    near, crystal = samples[0].structure, samples[12].structure
    far = Structure(crystal.species, 0.93 * crystal.positions, 0.93 * crystal.cell)
    assert (model.novelty(near) < 1.2).all()
    assert (model.novelty(far) > 1).sum() >= 2
    plain = type(model)(model.config, model.params, model.scales, model.calibrations, model.card)
    for name in ("shielding", "efg"):
        inside = model.novelty(near) < 1
        np.testing.assert_array_equal(model.uncertainty(near, name)[inside], plain.uncertainty(near, name)[inside])
        np.testing.assert_array_equal(model.predict(far, name).values, plain.predict(far, name).values)
        assert ((model.uncertainty(far, name) > plain.uncertainty(far, name)) == (model.novelty(far) > 1)).all()
        truth = small_tensor_model(network=TENSORS).predict(far, name).values
        error = np.sqrt(np.mean((model.predict(far, name).values - truth) ** 2))
        told, before = (np.sqrt(np.mean(each.uncertainty(far, name) ** 2)) for each in (model, plain))
        assert before < 0.7 * error
        assert 1.02 * before < told < 1.5 * error
    for each in compare(model, samples[10:]):
        assert 0.3 < each.coverage(1.0) <= 1.0


def test_calibrating_anew_gives_the_same(learnt):
    """`calibrated` finds the same domain for the same learnt samples, and keeps the one it has without them."""
    model, samples = learnt
    again = calibrated(model, samples[10:], learnt=samples[:10])
    crystal = samples[12].structure
    np.testing.assert_allclose(again.novelty(crystal), model.novelty(crystal), rtol=1e-6)
    kept = calibrated(model, samples[10:])
    np.testing.assert_allclose(kept.novelty(crystal), model.novelty(crystal), rtol=1e-6)
    assert model.astype("float32").novelty(crystal).dtype == np.float64
    np.testing.assert_allclose(model.astype("float32").novelty(crystal), model.novelty(crystal), rtol=1e-3)


def test_files_keep_it_and_files_of_before_are_read(learnt, tmp_path):
    """The same numbers back; a file of format 1, without a domain, gives what it gave and knows of no distance."""
    model, samples = learnt
    path, crystal = tmp_path / "model.safetensors", samples[12].structure
    save_tensor_model(model, path)
    again = load_tensor_model(path)
    np.testing.assert_array_equal(again.novelty(crystal), model.novelty(crystal))
    np.testing.assert_array_equal(again.uncertainty(crystal), model.uncertainty(crystal))
    text, arrays = unpack(path.read_bytes(), "model", "jaxnmr-tensors", (1, 2))
    old = {name: array for name, array in arrays.items() if not name.startswith("domain/") and not name.endswith("/beyond")}
    pack(path, "jaxnmr-tensors", 1, text, old)
    before = load_tensor_model(path)
    np.testing.assert_array_equal(before.efg(crystal), model.efg(crystal))
    plain = type(model)(model.config, model.params, model.scales, model.calibrations, model.card)
    np.testing.assert_array_equal(before.uncertainty(crystal), plain.uncertainty(crystal))
    with pytest.raises(ValueError, match="was made before jaxnmr kept"):
        before.novelty(crystal)
    damaged = {name: array for name, array in arrays.items() if name != "domain/atoms/end"}
    pack(path, "jaxnmr-tensors", 2, text, damaged)
    with pytest.raises(ValueError, match="domain"):
        load_tensor_model(path)
    assert json.loads(text)["card"]["name"] == model.card.name


def test_a_structure_is_as_far_as_its_atoms():
    """Root mean square over the real atoms, fillers left out, for the property of a structure beside one of its atoms."""
    total = Property(name="polarisability", unit="a.u.", irreps="0e+2e", pooling="sum")
    model, rng = small_tensor_model((EFG, total), network=TENSORS), np.random.default_rng(0)
    domain = fit_domain(seen(0.1 * rng.normal(size=(60, 4)), np.arange(60) % 3), 3)
    calibrations = tuple(each._replace(beyond=np.asarray(0.1)) for each in model.calibrations)
    model = dataclasses.replace(model, domain=domain, calibrations=calibrations)
    for structure in crystals(2):
        atoms, whole = (model.predict(structure, name) for name in ("efg", "polarisability"))
        places = np.array([model.elements.index(symbol) for symbol in structure.species])
        away, end = atoms.novelty * np.asarray(domain.end)[places], np.asarray(domain.end)[places]
        assert whole.novelty == pytest.approx(np.sqrt(np.mean(away**2) / np.mean(end**2)), rel=1e-9)
        growth = 0.01 * (np.mean(away**2) - np.mean(end**2))
        assert growth > 0
        plain = dataclasses.replace(model, domain=None).predict(structure, "polarisability")
        assert np.isnan(plain.novelty)
        size = np.sqrt((whole.uncertainty**2 - plain.uncertainty**2) / (growth / (1 + growth)))
        other = dataclasses.replace(model, calibrations=tuple(c._replace(beyond=np.asarray(1e9)) for c in calibrations))
        far = other.predict(structure, "polarisability").uncertainty
        assert size == pytest.approx(np.sqrt(far**2 - plain.uncertainty**2), rel=1e-9)  # ignorance: the property's size
