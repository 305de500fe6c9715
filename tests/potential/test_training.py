"""Training on labels that a model of known weights made: they are learnt, and an interrupted run ends as an unbroken one."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr.potential import EFG, SHIELDING, HeadConfig, NequipConfig, Property, PropertyScale
from jaxnmr.potential.training import (
    Sample,
    Settings,
    as_sample,
    calibrated,
    compare,
    new_potential,
    new_tensor_model,
    shifted_potential,
    train,
    uncalibrated,
)
from jaxnmr.potential.training._batches import StructureBatches
from jaxnmr.potential.training._calibrate import fit_calibration
from jaxnmr.potential.training._domain import fit_domain
from jaxnmr.potential.training._frozen import even_scalars
from jaxnmr.potential.training._loop import optimise
from jaxnmr.potential.training._tasks import EnergyTask, Sums, TensorTask
from jaxnmr.structure import Structure, neighbor_pairs
from tests.potential.small import CELL, CONFIG, crystals, labelled, small_potential, small_tensor_model

pytest.importorskip("optax")
pytest.importorskip("safetensors")
# One layer: a few products, compiled in seconds.
CONFIG = CONFIG.model_copy(update={"n_layers": 1})
TENSORS = NequipConfig(**CONFIG.model_dump() | {"hidden_irreps": "4x0e+3x1o+2x2e", "l_max": 2, "scalar_output": False})
HEADS = HeadConfig(channels=4, width=8, depth=1, members=2)


def molecules(count, seed=5):
    rng = np.random.default_rng(seed)
    water = np.array([[0, 0, 0], [0.96, 0, 0], [-0.3, 0.9, 0]])
    return [Structure(["O", "H", "H"], water + 0.05 * rng.normal(size=(3, 3))) for _ in range(count)]


@pytest.fixture(scope="module")
def energies():
    return labelled(small_potential(CONFIG), [*crystals(10), *molecules(6)])


@pytest.fixture(scope="module")
def tensors():
    """Of two elements only: hydrogen has no label, and one crystal has a single one."""
    model, samples = small_tensor_model(network=TENSORS), []
    for k, structure in enumerate(crystals(10)):
        done = model.label(structure)
        sigma, efg = np.array(done.shielding), np.array(done.efg)
        sigma[3], efg[3] = np.nan, np.nan
        if k == 0:
            sigma[1:], efg[:] = np.nan, np.nan
        samples.append(as_sample(Structure(structure.species, structure.positions, CELL, shielding=sigma, efg=efg),
                                 (SHIELDING, EFG)))  # fmt: skip
    return samples


def test_the_loss_vanishes_for_the_model_that_made_the_labels(energies, tensors):
    """Energies without references, forces, stresses and tensors, through batches with fillers: to rounding."""
    potential, model = small_potential(CONFIG), small_tensor_model(network=TENSORS)
    references = np.asarray(potential.scale.references) + float(potential.scale.shift)
    task, batches = EnergyTask(CONFIG, potential.scale, Settings()), StructureBatches(CONFIG, (), energies, 4, references)
    sums = [task.sums(potential.params, batch) for _, batch in batches.ordered()]
    assert float(sum(each.loss for each in sums)) < 1e-18
    assert float(sum(each.weight for each in sums)) == 16
    assert np.sum([each.count for each in sums], axis=0).tolist() == [16, 10 * 12 + 6 * 9, 90]
    task = TensorTask(model.config, model.scales, Settings())
    batches = StructureBatches(TENSORS, model.properties, tensors, 4)
    sums = [task.sums(model.params, batch) for _, batch in batches.ordered()]
    assert np.max([each.absolute for each in sums]) < 1e-9
    assert np.sum([each.count for each in sums], axis=0).tolist() == [9 * (9 * 3 + 1), 9 * 9 * 3]
    # Not a test of nothing: one sign turned, and all three errors are of the size of the labels.
    wrong = [sample._replace(forces=-sample.forces, stress=-sample.stress) for sample in energies]
    batch = next(StructureBatches(CONFIG, (), wrong, 16, references).ordered())[1]
    errors = EnergyTask(CONFIG, potential.scale, Settings()).sums(potential.params, batch)
    assert (np.asarray(errors.square)[1:] > 0).all()


@pytest.mark.slow
def test_a_potential_learns(energies):
    """Twenty epochs bring validation forces below half of their size, and fit references at once."""
    learn, choose = energies[:8] + energies[10:14], energies[8:10] + energies[14:]
    model = new_potential(CONFIG, learn)
    done = train(model, learn, choose, Settings(epochs=40, batch_size=4, learning_rate=2e-2, ema=0.9))
    assert done.course[-1].validation_loss < 0.3 * done.course[0].validation_loss
    force = next(each for each in compare(done.model, choose) if each.name == "forces")
    assert force.r2 > 0.5
    assert [progress.epoch for progress in done.course] == list(range(1, 41))


@pytest.mark.parametrize("frozen", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_tensors_are_learnt(tensors, frozen):
    """Heads on frozen features, and all together; elements without labels stay unknown, uncertainties are calibrated."""
    base = small_tensor_model(network=TENSORS, seed=3)
    start = new_tensor_model(base, (SHIELDING, EFG), tensors[:8], heads=HEADS)
    settings = Settings(epochs=150 if frozen else 45, batch_size=8, learning_rate=2e-2, ema=0.9)
    done = train(start, tensors[:8], tensors[8:], settings, frozen=frozen)
    same = jax.tree.map(np.array_equal, done.model.params["backbone"], base.params["backbone"])
    assert all(jax.tree.leaves(same)) if frozen else not any(jax.tree.leaves(same))
    assert done.model.predicts("efg") == ("O", "Si")
    assert done.course[-1].train_loss < 0.2 * done.course[0].train_loss
    for each in compare(done.model, tensors[8:]):
        assert 0.3 < each.coverage(1.0) <= 1.0
        assert np.isfinite(each.uncertainty).all()
    assert np.isnan(done.model.shielding(tensors[0].structure)[3]).all()


def test_learnt_heads_go_on(tensors):
    """With the same properties and sizes nothing changes, on frozen features neither; what is new to them gets its scale."""
    base = small_tensor_model(network=TENSORS, members=2)
    known = np.array([0.0, 10.0, 10.0])  # nothing of hydrogen
    base = type(base)(base.config, base.params, tuple(s._replace(count=known) for s in base.scales), base.calibrations,
                      base.card)  # fmt: skip
    structure = tensors[1].structure
    for sizes in (None, base.config.heads):
        again = new_tensor_model(base, (SHIELDING, EFG), tensors, heads=sizes, seed=5)
        for name in ("shielding", "efg"):
            for one, other in zip(again.predict(structure, name), base.predict(structure, name), strict=True):
                assert np.array_equal(one, other, equal_nan=True)
    # A step too small to be seen: "standard" belongs to the heads, which would say something else with another one.
    settings = Settings(epochs=1, batch_size=64, learning_rate=1e-12, ema=0.0)
    done = train(again, tensors, (), settings, frozen=True).model
    np.testing.assert_allclose(done.shielding(structure), base.shielding(structure), rtol=1e-6)
    sigma = np.array(tensors[2].values[0])
    sigma[3] = 31 * np.eye(3)
    hydrogen = tensors[2]._replace(values=(sigma, tensors[2].values[1]))
    more = new_tensor_model(base, (SHIELDING, EFG), [*tensors, hydrogen])
    assert more.predicts("shielding") == ("H", "O", "Si")
    assert float(more.scales[0].mean[0, 0]) == pytest.approx(31 * 3**0.5)
    assert np.array_equal(more.scales[0].mean[1:], base.scales[0].mean[1:])
    # Others begin anew: other sizes, other properties.
    larger = HEADS.model_copy(update={"width": 9})
    for properties, sizes in (((SHIELDING, EFG), larger), ((EFG, SHIELDING), None)):
        other = new_tensor_model(base, properties, [s._replace(values=s.values[:: 1 if sizes else -1]) for s in tensors],
                                 heads=sizes)  # fmt: skip
        assert not np.allclose(other.efg(structure)[0], base.efg(structure)[0], rtol=0.1)


def test_what_no_label_confirmed_is_not_called_calibrated(tensors):
    """Without validation, or where it lacks a property; what an earlier training found is not kept for other parameters."""
    start = small_tensor_model(network=TENSORS, members=2)
    assert uncalibrated(start) == ()
    settings = Settings(epochs=1, batch_size=64)
    assert uncalibrated(train(start, tensors[:8], (), settings, frozen=True).model) == ("shielding", "efg")
    lacking = [sample._replace(values=(sample.values[0], np.full((4, 3, 3), np.nan))) for sample in tensors[8:]]
    done = train(start, tensors[:8], lacking, settings, frozen=True).model
    assert uncalibrated(done) == ("efg",)
    assert uncalibrated(calibrated(done, tensors[8:])) == ()
    # Of labels alone, what is there stays.
    again = calibrated(start, lacking)
    assert again.calibrations[1] == start.calibrations[1] and again.calibrations[0] != start.calibrations[0]


def pooled_sample(prop, structure, value):
    none = float("nan"), np.full((len(structure), 3), np.nan), np.full((3, 3), np.nan)
    return Sample(structure, *none, (np.asarray(value),), "made")


def repeated(structure, times):
    cell = np.asarray(structure.cell) * np.array([[times], [1], [1]])
    steps = [k * np.asarray(structure.cell)[0] for k in range(times)]
    positions = np.concatenate([np.asarray(structure.positions) + step for step in steps])
    return Structure(list(structure.species) * times, positions, cell)


@pytest.mark.parametrize("pooling", ["mean", "sum"])
def test_losses_of_pooled_properties_do_not_know_the_number_of_atoms(pooling):
    """Heads of zero miss the spread of the labels: a loss of one, for 4 atoms and for 32."""
    prop, rng, losses = Property(name="gap", irreps="0e", pooling=pooling), np.random.default_rng(0), []
    for times in (1, 8):
        structures = [repeated(each, times) for each in crystals(12)]
        size = 3.0 if pooling == "sum" else 0.2
        samples = [pooled_sample(prop, each, 5 + size * rng.normal()) for each in structures]
        model = new_tensor_model(TENSORS, (prop,), samples, heads=HEADS)
        params = model.params | {"heads": jax.tree.map(np.zeros_like, model.params["heads"])}
        task = TensorTask(model.config, model.scales, Settings(loss="mse"))
        batch = next(StructureBatches(TENSORS, (prop,), samples, 12).ordered())[1]
        sums = task.sums(params, batch)
        losses.append(float(sums.loss / sums.weight))
    np.testing.assert_allclose(losses, 1.0, rtol=1e-6)


def test_neither_atoms_nor_structures_drown_the_others():
    """Errors of 1 of each atom and 2 of each structure, of 8 and of 12 atoms: (1 + 4) / 2, and 28 / 22 label by label.

    An atom of a structure where no other has a label is the mean of it. Atoms alone count label by label, as ever.
    """
    charge, gap = Property(name="charge", irreps="0e"), Property(name="gap", irreps="0e", pooling="mean")
    unit = PropertyScale(np.zeros((3, 1)), np.ones((3, 1)), np.ones(3))
    small, large = (repeated(crystals(1)[0], times) for times in (2, 3))
    lone = np.append(3.0, np.full(11, np.nan))
    for properties, of_large, expected, weight in (
        ((charge, gap), np.ones(12), (1 + 1 + 4 + 4) / 4, 4),
        ((charge, gap), lone, (1 + 9 + 4 + 4) / 4, 4),
        ((charge,), lone, (8 * 1 + 9) / 9, 9),
    ):
        model = small_tensor_model(properties, TENSORS, members=2)
        params = model.params | {"heads": jax.tree.map(np.zeros_like, model.params["heads"])}
        # The size of a mean over n atoms is that of one atom over the root of n.
        samples = [
            pooled_sample(gap, each, 0.0)._replace(values=(charges, np.asarray(2 / len(each) ** 0.5))[: len(properties)])
            for each, charges in ((small, np.ones(8)), (large, of_large))
        ]
        task = TensorTask(model.config, (unit,) * len(properties), Settings(loss="mse"))
        batch = next(StructureBatches(TENSORS, properties, samples, 2).ordered())[1]
        # Both are of like size, and come together.
        assert batch.graph.n_structures == 2 and (np.asarray(batch.atoms) > 0).all()
        sums = task.sums(params, batch)
        assert float(sums.weight) == weight
        assert float(sums.loss / sums.weight) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("pooling", ["sum", pytest.param("mean", marks=pytest.mark.slow)])
def test_pooled_properties_are_learnt(pooling):
    """Sums over bonds, of atoms' parts, in crystals of 4 and of 8 atoms: validation errors of a third of the spread."""
    prop, samples = Property(name="bonds", irreps="0e", pooling=pooling), []
    for k, structure in enumerate(crystals(72, seed=2)):
        structure = repeated(structure, 1 + k % 2)
        value = np.exp(-((neighbor_pairs(structure, TENSORS.cutoff)[3] - 1.8) ** 2) / 0.5).sum()
        samples.append(pooled_sample(prop, structure, value / (len(structure) if pooling == "mean" else 1)))
    start = new_tensor_model(TENSORS, (prop,), samples[:64], heads=HEADS)
    sizes = [np.asarray(part["size"]) for part in start.params["standard"].values()]
    assert not any((size == 1).all() for size in sizes)
    settings = Settings(epochs=40, batch_size=8, learning_rate=2e-2, ema=0.9, validate_epochs=8)
    done = train(start, samples[:64], samples[64:], settings)
    assert done.course[-1].train_loss < 0.1
    (found,) = compare(done.model, samples[64:])
    assert found.r2 > 0.8
    # The domain is of the features that the trained backbone makes, and errors grow by the distance of whole structures.
    trained, domain = done.model, done.model.domain
    seen = even_scalars(trained.config, trained.params["backbone"], samples[:64], every=True)
    expected = fit_domain(seen, len(TENSORS.elements))
    for one, two in zip(domain, expected, strict=True):
        np.testing.assert_allclose(np.abs(one), np.abs(two), rtol=1e-6, atol=1e-9)
    untrained = even_scalars(start.config, start.params["backbone"], samples[:64], every=True)
    assert np.abs(np.asarray(domain.mean) - fit_domain(untrained, len(TENSORS.elements)).mean).max() > 1e-3
    away, wrong = [], []
    for sample in samples[64:]:
        places = np.array([trained.elements.index(symbol) for symbol in sample.structure.species])
        said = trained.predict(sample.structure, "bonds")
        away.append(said.novelty * np.sqrt(np.mean(np.asarray(domain.end)[places] ** 2)))
        wrong.append(float(said.values - sample.values[0]))
    size = float(trained.scales[0].scale[0, 0])
    ratio = np.sqrt(np.mean(np.square(wrong)) / np.mean(np.square(away))) / size
    assert float(trained.calibrations[0].beyond) == pytest.approx(ratio, rel=0.01)


@pytest.mark.parametrize("frozen", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_elements_without_labels_in_training_do_not_judge(tensors, frozen):
    """A hydrogen that only the validation has a label of changes neither its loss, nor errors, nor the calibration."""
    sigma = np.array(tensors[9].values[0])
    sigma[3] = 31 * np.eye(3)
    stranger = tensors[9]._replace(values=(sigma, tensors[9].values[1]))
    start = new_tensor_model(small_tensor_model(network=TENSORS, seed=3), (SHIELDING, EFG), tensors[:8], heads=HEADS)
    settings = Settings(epochs=2, batch_size=8)
    plain, other = (train(start, tensors[:8], [each], settings, frozen=frozen) for each in (tensors[9], stranger))
    # Alike but for the order of sums over rows of another number.
    for one, two in zip(plain.course, other.course, strict=True):
        numbers = [[p.train_loss, p.validation_loss, *(x for s in p.scores for x in (s.mae, s.rmse))] for p in (one, two)]
        np.testing.assert_allclose(*numbers, rtol=1e-12)
    for one, two in zip(jax.tree.leaves(plain.model.calibrations), jax.tree.leaves(other.model.calibrations), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-9)
    for each in compare(other.model, [stranger]):
        assert each.element != "H" and np.isfinite([each.rmse, each.mae]).all()
    hydrogen = stranger._replace(
        values=(np.where(np.arange(4)[:, None, None] == 3, sigma, np.nan), np.full((4, 3, 3), np.nan))
    )
    with pytest.raises(ValueError, match="validation: has no label that can be judged"):
        train(start, tensors[:8], [hydrogen], settings, frozen=frozen)


@pytest.mark.slow
def test_layers_frozen_by_name_stay(energies):
    """Names as the parameters are called; a name that is not there is an error which lists those that are."""
    model = new_potential(CONFIG, energies)
    settings = Settings(epochs=2, freeze=("backbone/layer_0/mix",))
    done = train(model, energies, (), settings).model
    before, after = model.params["backbone"]["layer_0"], done.params["backbone"]["layer_0"]
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, before["mix"], after["mix"])))
    assert not any(jax.tree.leaves(jax.tree.map(np.array_equal, before["skip"], after["skip"])))
    with pytest.raises(ValueError, match="no parameter begins with 'backbone/layer_7'; there are backbone/layer_0"):
        train(model, energies, (), Settings(freeze=("backbone/layer_7",)))


class Killed(Exception):
    pass


@pytest.mark.parametrize("frozen", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_an_interrupted_training_ends_as_an_unbroken_one(tensors, tmp_path, monkeypatch, frozen):
    """Ended in the middle of an epoch, without a farewell: parameters and metrics equal bit by bit in the end."""
    start = new_tensor_model(TENSORS, (SHIELDING, EFG), tensors[:8], heads=HEADS)
    settings = Settings(epochs=4, batch_size=2 if not frozen else 4, checkpoint_steps=3)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir(), broken.mkdir()
    expected = train(start, tensors[:8], tensors[8:], settings, frozen=frozen, folder=whole)

    from jaxnmr.potential.training import _loop

    step, count = _loop._step, [0]

    def mortal(*arguments):
        inner = step(*arguments)

        def run(state, batch):
            count[0] += 1
            if count[0] == 8:  # two steps after a checkpoint
                raise Killed
            return inner(state, batch)

        return run

    monkeypatch.setattr(_loop, "_step", mortal)
    with pytest.raises(Killed):
        train(start, tensors[:8], tensors[8:], settings, frozen=frozen, folder=broken)
    monkeypatch.setattr(_loop, "_step", step)
    # What a run wrote after its last checkpoint is dropped.
    with (broken / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "half a li')
    found = train(start, tensors[:8], tensors[8:], settings, frozen=frozen, folder=broken)
    for a, b in zip(jax.tree.leaves(found.model), jax.tree.leaves(expected.model), strict=True):
        assert np.array_equal(a, b, equal_nan=True)
    assert (broken / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    assert [json.loads(line)["epoch"] for line in (whole / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3, 4]
    assert found.course == expected.course
    with pytest.raises(ValueError, match="checkpoint of a training with other settings"):
        train(start, tensors[:8], tensors[8:], settings.model_copy(update={"learning_rate": 1e-4}), frozen=frozen,
              folder=broken)  # fmt: skip


@pytest.mark.parametrize("stop", [3, pytest.param(7, marks=pytest.mark.slow)])
def test_an_interrupted_training_of_a_potential(energies, tmp_path, monkeypatch, stop):
    """Checkpoints at ends of epochs without a validation too, with the sums of the loss so far: the same bit by bit.

    Two steps an epoch, validated every other one, ended after step 3 or 7: the epochs 1 and 3 were kept.
    """
    from jaxnmr.potential.training import _loop

    learn, choose = energies[:8], energies[8:10]
    start = new_potential(CONFIG, learn)
    settings = Settings(epochs=4, batch_size=4, checkpoint_steps=2, validate_epochs=2)
    expected = train(start, learn, choose, settings, folder=tmp_path / "whole")
    step, count, places = _loop._step, [0], []

    def mortal(*arguments):
        inner = step(*arguments)

        def run(state, batch):
            places.append(int(state.step))
            count[0] += 1
            if count[0] == stop + 1:
                raise Killed
            return inner(state, batch)

        return run

    monkeypatch.setattr(_loop, "_step", mortal)
    with pytest.raises(Killed):
        train(start, learn, choose, settings, folder=tmp_path / "deep" / "broken")
    found = train(start, learn, choose, settings, folder=tmp_path / "deep" / "broken")
    assert places[stop + 1] == stop - 1  # the step after the checkpoint, not after the validation before
    for a, b in zip(jax.tree.leaves(found.model), jax.tree.leaves(expected.model), strict=True):
        assert np.array_equal(a, b, equal_nan=True)
    assert found.course == expected.course


def test_other_data_are_another_training(energies):
    """All that a result depends on is in the fingerprint: elements, cell, stress, validation, energy scale."""
    from jaxnmr.potential.training._train import _fingerprint

    model, settings, one = small_potential(CONFIG), Settings(), energies[0]
    s = one.structure
    others = [
        Structure(["Si", "O", "H", "O"], s.positions, s.cell),
        Structure(s.species, s.positions, 1.01 * s.cell),
        Structure(s.species, s.positions, s.cell, (True, True, False)),
        Structure(s.species, s.positions + 1e-9, s.cell),
    ]
    changed = [one._replace(structure=each) for each in others]
    changed += [one._replace(stress=2 * one.stress), one._replace(energy=0.0)]
    scaled = model.scale._replace(scale=np.float64(0.9))
    rescaled = type(model)(model.config, model.params, scaled, model.card)
    runs = [(model, [one], [one]), (rescaled, [one], [one]), (model, [one], []), (model, [one, one], [])]
    runs += [(model, [each], [one]) for each in changed] + [(model, [one], [each]) for each in changed]
    prints = [_fingerprint(*run, settings, False) for run in runs]
    assert len(set(prints)) == len(prints)
    assert _fingerprint(model, [one], [one], settings.model_copy(update={"patience": 3}), False) == prints[0]


def test_a_training_that_cannot_write_says_so(energies, tmp_path):
    """A folder is made with those above it; a file in its place is told."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"folder: cannot make .*file/below: .*; name another"):
        train(small_potential(CONFIG), energies, (), Settings(epochs=1), folder=tmp_path / "file" / "below")


class Edge:
    """A loss whose value is fine where its slope is not."""

    measures = ()

    def sums(self, params, batch):
        loss, none = jnp.sqrt(jnp.sum(params["x"] ** 2)), jnp.zeros(0)
        return Sums(loss, jnp.ones(()), none, none, none)


class Empty:
    def __init__(self, count):
        self.count = count

    def epoch(self, seed, epoch):
        yield from [np.zeros(())] * self.count

    def ordered(self):
        yield np.zeros(1, int), np.zeros(())


@pytest.mark.parametrize(("steps", "count"), [(1, 2), (100, 1)])
def test_parameters_that_are_not_finite_are_never_kept(tmp_path, steps, count):
    """Neither by a checkpoint within an epoch nor by one at its end: each restart would fail."""
    settings = Settings(epochs=1, checkpoint_steps=steps)
    with pytest.raises(ValueError, match=r"the parameters are no longer finite at step 1;"):
        optimise(Edge(), {"x": jnp.zeros(3)}, Empty(count), None, settings, folder=tmp_path)
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_a_damaged_checkpoint_says_what_would_do(tmp_path):
    """No other copy of it is anywhere."""
    arguments = Edge(), {"x": jnp.ones(3)}, Empty(2), None, Settings(epochs=1)
    optimise(*arguments, folder=tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"path: .*checkpoint.safetensors is damaged.*; remove it, or begin .* --restart"):
        optimise(*arguments, folder=tmp_path)


def test_frozen_features_are_kept(tensors, tmp_path, monkeypatch):
    """The second time they come from the disk, for any choice of structures; other structures have others."""
    from jaxnmr.potential.training import _frozen

    config = small_tensor_model(network=TENSORS).config
    backbone = small_tensor_model(network=TENSORS).params["backbone"]
    first, owner = _frozen.features(config, backbone, tensors[:8], tmp_path)
    assert owner.tolist() == [0] + [k for k in range(1, 8) for _ in range(3)]
    compute, computed = _frozen._computed, []

    def counted(config, backbone, samples, rows):
        computed.append(len(samples))
        return compute(config, backbone, samples, rows)

    monkeypatch.setattr(_frozen, "_computed", counted)
    again, _ = _frozen.features(config, backbone, tensors[7:3:-1], tmp_path)
    order = np.concatenate([np.flatnonzero(owner == k) for k in (7, 6, 5, 4)])
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        assert np.array_equal(np.asarray(a)[order], b, equal_nan=True)
    more, _ = _frozen.features(config, backbone, tensors, tmp_path)
    assert computed == [0, 2]
    assert len(more.species) == len(owner) + 6 and len(list(tmp_path.iterdir())) == 10
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(more), strict=True):
        assert np.array_equal(a, b[: len(owner)], equal_nan=True)
    # A file cut short is made anew; other versions of the features have other names.
    damaged = min(tmp_path.iterdir())
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:100])
    _frozen.features(config, backbone, tensors, tmp_path)
    assert computed == [0, 2, 1] and len(damaged.read_bytes()) == len(whole)
    monkeypatch.setattr(_frozen, "_VERSION", _frozen._VERSION + 1)
    _frozen.features(config, backbone, tensors[:2], tmp_path)
    assert computed == [0, 2, 1, 2]


def test_calibration_finds_what_made_the_errors():
    """Errors of a = 2 times the spread and a floor of 0.3 sizes: both within 10 % from 4000 tensors."""
    rng = np.random.default_rng(0)
    spread, size = np.exp(rng.normal(size=4000)), np.full(4000, 1.7)
    deviation = np.sqrt((2 * spread) ** 2 + (0.3 * size) ** 2)
    error = np.sqrt(np.mean((deviation[:, None] * rng.normal(size=(4000, 9))) ** 2, axis=1))
    factor, floor, beyond = fit_calibration(error, spread, size)
    assert factor == pytest.approx(2, rel=0.1)
    assert floor == pytest.approx(0.3, rel=0.1)
    assert beyond == 0
    # Far from what was learnt, errors in proportion to the distance: a root mean square of one to a distance of five.
    away = np.full(4000, 5.0)
    assert fit_calibration(error, spread, size, away).beyond == pytest.approx(np.sqrt(np.mean(error**2)) / 1.7 / 5)


def test_references_move_to_labels_of_another_zero(energies):
    """Energies from another program: per-element differences are found by least squares."""
    potential = small_potential(CONFIG)
    moved = [s._replace(energy=s.energy + 3.0 * s.structure.species.count("O") - 7.0 * s.structure.species.count("H"))
             for s in energies]  # fmt: skip
    found = shifted_potential(potential, moved)
    assert compare(found, moved)[0].rmse < 1e-9
