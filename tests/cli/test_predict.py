"""`jaxnmr predict`: files that other programs and this one read."""

import dataclasses
import json

import numpy as np
import pytest
from typer.testing import CliRunner

import jaxnmr as jn
from jaxnmr.cli import _main, _predict, _predict_frames
from jaxnmr.potential import Property, save_potential, save_tensor_model
from jaxnmr.potential.training import read_samples
from jaxnmr.potential.training._domain import Seen, fit_domain
from jaxnmr.structure import Structure, write
from tests.potential.small import CONFIG, small_potential, small_tensor_model

pytest.importorskip("safetensors")
runner = CliRunner()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model with random weights, one crystal, and two frames of it."""
    folder = tmp_path_factory.mktemp("predict")
    save_tensor_model(small_tensor_model(), folder / "m.safetensors")
    cell = np.diag([4.1, 4.3, 4.5])
    crystal = Structure(["Si", "O", "O", "H"], np.array([[0, 0, 0], [2, 2, 0], [2, 0, 2], [0, 2, 2.2]]), cell)
    write(crystal, folder / "one.extxyz")
    write([crystal, Structure(crystal.species, crystal.positions + [[0.1, 0, 0]] * 4, cell)], folder / "two.extxyz")
    return folder


def run(folder, source, target, *flags):
    arguments = ["predict", str(folder / source), "--model", str(folder / "m.safetensors"), "-o", str(folder / target)]
    return runner.invoke(_main.app, [*arguments, *flags])


def test_magres_that_others_read(folder):
    """The tensors of the model in ASE's own reader and in ours; a table of sites from them."""
    done = run(folder, "one.extxyz", "out.magres", "--json")
    assert done.exit_code == 0, done.output
    model = jn.load_tensor_model(folder / "m.safetensors")
    expected = model.shielding(jn.structure.read(folder / "one.extxyz"))
    found = jn.structure.read(folder / "out.magres")
    np.testing.assert_allclose(found.shielding, expected, rtol=1e-10)
    ase_io = pytest.importorskip("ase.io")
    atoms = ase_io.read(folder / "out.magres")
    np.testing.assert_allclose(np.stack(atoms.get_array("ms")), expected, rtol=1e-10)
    rows = json.loads(done.stdout)
    assert [row["atom"] for row in rows] == ["Si_1", "O_1", "O_2", "H_1"]
    assert rows[0]["shielding_iso_ppm"] == pytest.approx(np.trace(expected[0]) / 3)
    assert rows[0]["shielding_uncertainty"] > 0
    listed = runner.invoke(_main.app, ["tensors", str(folder / "out.magres"), "--isotope", "17O", "--json"])
    assert len(json.loads(listed.stdout)) == 2


def test_all_frames_as_extxyz(folder):
    """Both frames; the second is the first one moved, so that nothing differs."""
    done = run(folder, "two.extxyz", "out.extxyz")
    assert done.exit_code == 0, done.output
    assert "shielding: median uncertainty" in done.stderr
    one, two = jn.structure.read_all(folder / "out.extxyz")
    np.testing.assert_allclose(one.efg, two.efg, atol=1e-9)
    model = jn.load_tensor_model(folder / "m.safetensors")
    frame = jn.structure.read_frames(folder / "out.extxyz", ["ms_uncertainty", "efg_uncertainty"])[1]
    for found, name in zip(frame.numbers, ("shielding", "efg"), strict=True):
        np.testing.assert_allclose(found[:, 0], model.uncertainty(frame.structure, name), rtol=1e-9)


def test_energies_and_forces_that_others_read(folder):
    """Those of the potential, in ASE and as labels to train on; a molecule has no stress."""
    potential = small_potential(CONFIG.model_copy(update={"n_layers": 1}))
    save_potential(potential, folder / "p.safetensors")
    water = Structure(["O", "H", "H"], np.array([[0, 0, 0], [0.96, 0, 0], [-0.3, 0.9, 0]]))
    write([jn.structure.read(folder / "one.extxyz"), water], folder / "both.extxyz")
    target = folder / "energies.extxyz"
    arguments = ["predict", str(folder / "both.extxyz"), "-m", str(folder / "p.safetensors"), "--energies"]
    done = runner.invoke(_main.app, [*arguments, "-o", str(target), "--json"])
    assert done.exit_code == 0, done.output
    rows, samples = json.loads(done.stdout), read_samples([target])
    atoms = pytest.importorskip("ase.io").read(target, ":")
    for row, sample, peer in zip(rows, samples, atoms, strict=True):
        expected = potential.energy_forces_stress(sample.structure)
        assert row["energy_ev"] == pytest.approx(expected.energy, rel=1e-12)
        np.testing.assert_allclose(sample.forces, expected.forces, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(peer.get_forces(), expected.forces, rtol=1e-10, atol=1e-12)
        assert peer.get_potential_energy() == pytest.approx(sample.energy, rel=1e-12) == expected.energy
    np.testing.assert_allclose(samples[0].stress, potential.stress(samples[0].structure), rtol=1e-10, atol=1e-12)
    assert np.isnan(samples[1].stress).all()
    done = runner.invoke(_main.app, [*arguments, "-o", str(folder / "energies.magres")])
    assert done.exit_code == 2 and "does not end in .xyz or .extxyz" in done.stderr
    done = runner.invoke(_main.app, [*arguments[:-1], "-o", str(folder / "tensors.extxyz")])
    assert done.exit_code == 2 and "p.safetensors is a potential; add --energies" in done.stderr
    done = run(folder, "one.extxyz", "none.extxyz", "--energies")
    assert done.exit_code == 2 and "m.safetensors is a tensor model, which has no energies" in done.stderr


def test_atoms_unlike_the_learnt_are_told(folder):
    """Their number and distance on stderr; a column of the file and of the rows; nothing where no domain is known."""
    crystal, rng = jn.structure.read(folder / "one.extxyz"), np.random.default_rng(0)
    model = small_tensor_model()
    domain = fit_domain(Seen(0.02 * rng.normal(size=(90, 12)), np.arange(90) % 3, np.arange(90) // 9), 3)
    save_tensor_model(dataclasses.replace(model, domain=domain), folder / "known.safetensors")
    arguments = ["predict", str(folder / "one.extxyz"), "--model", str(folder / "known.safetensors"), "-o"]
    done = runner.invoke(_main.app, [*arguments, str(folder / "far.extxyz"), "--json"])
    assert done.exit_code == 0, done.output
    novelty = dataclasses.replace(model, domain=domain).novelty(crystal)
    assert (novelty > 2).any()
    assert f"{(novelty > 2).sum()} of 4 atoms are unlike those the model has learnt from" in " ".join(done.stderr.split())
    np.testing.assert_allclose([row["novelty"] for row in json.loads(done.stdout)], novelty, rtol=1e-6)
    ase_io = pytest.importorskip("ase.io")
    np.testing.assert_allclose(ase_io.read(folder / "far.extxyz").get_array("novelty"), novelty, rtol=1e-6)
    assert "unlike those" not in run(folder, "one.extxyz", "near.extxyz").stderr


def test_elements_of_which_nothing_was_learnt_are_named(folder):
    """Known to the backbone, without labels: the file says nothing of them, and so a line does."""
    model = small_tensor_model()
    counts = np.array([0.0, 10.0, 10.0])
    scales = (model.scales[0]._replace(count=counts), model.scales[1])
    model = type(model)(model.config, model.params, scales, model.calibrations, model.card)
    save_tensor_model(model, folder / "partly.safetensors")
    arguments = ["predict", str(folder / "one.extxyz"), "-m", str(folder / "partly.safetensors")]
    for flags in ([], ["--json"]):
        done = runner.invoke(_main.app, [*arguments, "-o", str(folder / "partly.magres"), "--force", *flags])
        assert done.exit_code == 0, done.output
        assert "warning: shielding: no values of H, of which the model has learnt nothing." in done.stderr
        assert "efg: no values" not in done.stderr
    assert np.isnan(jn.structure.read(folder / "partly.magres").shielding[3]).all()


def test_a_frame_that_the_model_cannot_take_is_named(folder):
    """With its file, before any is computed, for tensors and energies alike."""
    crystal = jn.structure.read(folder / "one.extxyz")
    strange = Structure(["Si", "O", "Al", "H"], crystal.positions, crystal.cell)
    near = Structure(crystal.species, np.asarray(crystal.positions) * [[1, 1, 1], [0, 0, 0.01], [1, 1, 1], [1, 1, 1]],
                     crystal.cell)  # fmt: skip
    save_potential(small_potential(CONFIG.model_copy(update={"n_layers": 1})), folder / "p1.safetensors")
    write([crystal, strange], folder / "strange.extxyz")
    write([crystal, near], folder / "near.extxyz")
    write(strange, folder / "single.extxyz")
    for source, advice in (
        ("strange.extxyz", "strange.extxyz, frame 1: has Al, which the model does not know; it knows H, O, Si."),
        ("near.extxyz", "near.extxyz, frame 1: "),
        ("single.extxyz", "single.extxyz: has Al, which"),
    ):
        for model, flags in (("m.safetensors", []), ("p1.safetensors", ["--energies"])):
            arguments = ["predict", str(folder / source), "-m", str(folder / model), "-o", str(folder / "never.extxyz")]
            done = runner.invoke(_main.app, [*arguments, *flags])
            assert done.exit_code == 2, done.output
            assert advice in done.stderr and len(done.stderr.splitlines()) == 1
    arguments = ["predict", str(folder / "strange.extxyz"), "-m", str(folder / "m.safetensors"), "--frame", "1"]
    done = runner.invoke(_main.app, [*arguments, "-o", str(folder / "never.extxyz")])
    assert "strange.extxyz, frame 1: has Al" in done.stderr


@pytest.fixture(scope="module")
def many(folder):
    """Nine frames of three sizes (4, 16 and 3 atoms) in no order."""
    rng, frames = np.random.default_rng(0), []
    crystal = jn.structure.read(folder / "one.extxyz")
    large = jn.structure.repeated(crystal, (2, 2, 1))
    water = Structure(["O", "H", "H"], np.array([[0, 0, 0], [0.96, 0, 0], [-0.3, 0.9, 0]]))
    for base in (crystal, large, crystal, water, crystal, large, crystal, crystal, water):
        moved = np.asarray(base.positions) + 0.02 * rng.normal(size=(len(base), 3))
        frames.append(Structure(base.species, moved, base.cell))
    write(frames, folder / "many.extxyz")
    return frames


def test_frames_of_many_sizes_come_in_few_shapes_and_in_order(folder, many, monkeypatch):
    """Four small ones together, or two large ones: two shapes for nine frames; each as if it were alone."""
    monkeypatch.setattr(_predict_frames, "_ATOMS", 32)
    monkeypatch.setattr(_predict_frames, "_SECONDS", 0.0)
    monkeypatch.setattr(_predict, "_PIECE", 10)
    evaluate, shapes = jn.TensorModel.evaluate, []

    def counted(model, batch):
        shapes.append((batch.graph.n_atoms, batch.graph.n_neighbors, batch.graph.n_structures))
        return evaluate(model, batch)

    monkeypatch.setattr(jn.TensorModel, "evaluate", counted)
    done = run(folder, "many.extxyz", "many.out.extxyz", "--json")
    assert done.exit_code == 0, done.output
    assert len(shapes) == 3 and len(set(shapes)) == 2
    assert "9/9 frames checked" in done.stderr and "9/9 frames predicted" in done.stderr
    monkeypatch.setattr(jn.TensorModel, "evaluate", evaluate)
    model, rows = jn.load_tensor_model(folder / "m.safetensors"), json.loads(done.stdout)
    found = jn.structure.read_frames(folder / "many.out.extxyz", ["ms_uncertainty"])
    assert len(rows) == sum(map(len, many))
    for k, (frame, structure) in enumerate(zip(found, many, strict=True)):
        np.testing.assert_allclose(frame.structure.positions, structure.positions, rtol=1e-15)
        if k in (0, 1):
            expected = model.predict(structure, "shielding")
            np.testing.assert_allclose(frame.structure.shielding, expected.values, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(frame.numbers[0][:, 0], expected.uncertainty, rtol=1e-9)
        assert [row["frame"] for row in rows].count(k) == len(structure)


def test_no_batch_waits_for_ever(monkeypatch):
    """Frames behind one that is alone of its size are not held back until the end of the file."""
    monkeypatch.setattr(_predict_frames, "_WAIT", 4)
    groups = [_predict_frames._Group(size, 8, 8) for size in (3, 2)]
    batches = list(_predict_frames._batches(groups, [0, 1, 0, 0, 0, 0, 0, 1, 1, 0, 1]))
    assert batches == [(0, [0, 2, 3]), (1, [1]), (0, [4, 5, 6]), (1, [7, 8]), (0, [9]), (1, [10])]


@pytest.mark.parametrize("energies", [False, True])
def test_what_breaks_off_leaves_nothing(folder, many, monkeypatch, energies):
    """Neither half a file nor the one aside; a file of before stays as it is."""
    monkeypatch.setattr(_predict_frames, "_ATOMS", 1)
    monkeypatch.setattr(_predict, "_PIECE", 1)
    kind, source = (jn.Potential, "p2.safetensors") if energies else (jn.TensorModel, "m.safetensors")
    if energies:
        save_potential(small_potential(CONFIG.model_copy(update={"n_layers": 1})), folder / source)
    evaluate, count = kind.evaluate, [0]

    def mortal(model, batch):
        count[0] += 1
        if count[0] == 3:
            raise OSError("no room")
        return evaluate(model, batch)

    monkeypatch.setattr(kind, "evaluate", mortal)
    target = folder / "broken" / "out.extxyz"
    target.parent.mkdir(exist_ok=True)
    target.write_text("of before")
    arguments = ["predict", str(folder / "many.extxyz"), "-m", str(folder / source), "-o", str(target), "--force"]
    done = runner.invoke(_main.app, [*arguments, *(["--energies"] if energies else [])])
    assert done.exit_code == 2 and "no room" in done.stderr
    assert [path.name for path in target.parent.iterdir()] == ["out.extxyz"] and target.read_text() == "of before"


@pytest.mark.parametrize("target", ["isotropic.magres", "isotropic.extxyz"])
def test_isotropic_shieldings_are_written_as_tensors(folder, target):
    """Without anisotropy, as the library's own; and a line says so."""
    isotropic = Property(name="shielding", irreps="0e", unit="ppm")
    model = small_tensor_model((isotropic,))
    save_tensor_model(model, folder / "isotropic.safetensors")
    arguments = ["predict", str(folder / "one.extxyz"), "-m", str(folder / "isotropic.safetensors")]
    done = runner.invoke(_main.app, [*arguments, "-o", str(folder / target)])
    assert done.exit_code == 0, done.output
    assert "warning: shielding: the model has learnt isotropic values alone" in done.stderr
    structure = jn.structure.read(folder / target)
    np.testing.assert_allclose(structure.shielding, model.shielding(structure), rtol=1e-9)


def test_magres_of_a_slab_is_refused_before_anything_is_computed(folder, monkeypatch):
    """Periodic in two directions, which magres cannot say."""
    crystal = jn.structure.read(folder / "one.extxyz")
    write(Structure(crystal.species, crystal.positions, crystal.cell, (True, True, False)), folder / "slab.extxyz")
    monkeypatch.setattr(jn.TensorModel, "evaluate", None)
    done = run(folder, "slab.extxyz", "slab.magres")
    assert done.exit_code == 2, done.output
    assert "magres cannot say" in done.stderr and "use extxyz" in done.stderr


@pytest.mark.parametrize(
    ("source", "target", "advice"),
    [
        ("one.extxyz", "out.cif", "does not end in .magres"),
        ("two.extxyz", "many.magres", "holds one structure"),
        ("none.extxyz", "none.magres", "does not exist"),
        ("one.extxyz", "one.extxyz", "add --force"),
        ("one.extxyz", "none/out.magres", "does not exist or cannot be written"),
    ],
)
def test_bad_input_is_one_line(folder, source, target, advice):
    done = run(folder, source, target)
    assert done.exit_code == 2, done.output
    assert advice in done.stderr
    assert len(done.stderr.splitlines()) == 1
