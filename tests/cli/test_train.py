"""`jaxnmr train`: a folder with a model that loads, its metrics and its report; mistakes in one line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import jaxnmr as jn
from jaxnmr.cli import _main
from jaxnmr.cli._train_config import read_config
from jaxnmr.potential import NequipConfig, Property, save_tensor_model
from jaxnmr.structure import Structure, write
from tests.potential.small import CONFIG, small_potential, small_tensor_model

pytest.importorskip("optax")
load_file = pytest.importorskip("safetensors.numpy").load_file
runner = CliRunner()

SMALL = """
[model.network]
cutoff = 3.0
l_max = 1
hidden_irreps = "4x0e+2x1o"
n_layers = 1
radial_width = 4
radial_depth = 1
"""
ENERGIES = SMALL + '[data]\ntrain = "frames.extxyz"\n[training]\nepochs = 2\nbatch_size = 4\n'
TENSORS = (
    '[model]\nproperties = ["shielding", { name = "charge", irreps = "0e" }]\n'
    "heads = { channels = 2, width = 4, members = 2 }\n"
    + SMALL.replace("n_layers = 1", "n_layers = 2")
    + '[data]\ntrain = ["tensors.extxyz"]\ntest = "tensors.extxyz"\n[training]\nepochs = 2\n[card]\nname = "water"\n'
)


def waters(count):
    rng = np.random.default_rng(0)
    positions = np.array([[0, 0, 0], [0.96, 0, 0], [-0.3, 0.9, 0]])
    return [Structure(["O", "H", "H"], positions + 0.05 * rng.normal(size=(3, 3))) for _ in range(count)]


@pytest.fixture
def folder(tmp_path):
    """Springs between O and H for energies, and shieldings along the bonds."""
    lines, frames = [], []
    for structure in waters(12):
        r = np.asarray(structure.positions)
        bonds = r[1:] - r[0]
        lengths = np.linalg.norm(bonds, axis=1)
        pull = 40 * (lengths - 0.96)[:, None] * bonds / lengths[:, None]
        forces = np.concatenate([pull.sum(axis=0)[None], -pull])
        lines += ["3", f"Properties=species:S:1:pos:R:3:forces:R:3 energy={20 * np.sum((lengths - 0.96) ** 2) - 14:.8f}"]
        lines += [f"{s} " + " ".join(f"{x:.8f}" for x in (*a, *f)) for s, a, f in zip("OHH", r, forces, strict=True)]
        sigma = 30 * np.tile(np.eye(3), (3, 1, 1)) + np.concatenate(
            [np.zeros((1, 3, 3)), 9 * bonds[:, :, None] * bonds[:, None]]
        )
        frames.append(Structure(["O", "H", "H"], r, shielding=sigma))
    (tmp_path / "frames.extxyz").write_text("\n".join(lines) + "\n")
    write(frames, tmp_path / "tensors.extxyz")
    text = (tmp_path / "tensors.extxyz").read_text().replace("ms:R:9", "ms:R:9:charge:R:1").splitlines()
    text = [line + (" 0.25" if line.startswith("H ") else " -0.5" if line.startswith("O ") else "") for line in text]
    (tmp_path / "tensors.extxyz").write_text("\n".join(text) + "\n")
    return tmp_path


def run(folder, text, *flags):
    (folder / "a.toml").write_text(text)
    return runner.invoke(_main.app, ["train", str(folder / "a.toml"), *flags])


def test_a_potential(folder):
    """The model predicts, the metrics are lines of JSON, the report tells errors in units, and pictures are there."""
    done = run(folder, ENERGIES, "--json")
    assert done.exit_code == 0, done.output
    target = folder / "a-model"
    potential = jn.load_potential(target / "model.safetensors")
    assert potential.elements == ("H", "O")
    assert np.isfinite(potential.energy(waters(1)[0]))
    assert [json.loads(line)["epoch"] for line in (target / "metrics.jsonl").read_text().splitlines()] == [1, 2]
    report = json.loads(done.stdout)
    assert report == json.loads((target / "report.json").read_text())
    assert report["structures"] == {"train": 11, "validation": 1, "test": 0}
    assert {(row["quantity"], row["unit"]) for row in report["errors"]} == {("energy", "eV/atom"), ("forces", "eV/angstrom")}
    assert (target / "learning.png").stat().st_size > 5000
    assert (target / "parity-validation.png").stat().st_size > 5000
    # The same again goes on from the end: nothing is left to do, and nothing changes.
    before = potential.energy(waters(1)[0])
    again = run(folder, ENERGIES)
    assert again.exit_code == 0, again.output
    assert jn.load_potential(target / "model.safetensors").energy(waters(1)[0]) == before
    assert "forces: RMSE" in again.stdout
    other = run(folder, ENERGIES.replace("batch_size = 4", "batch_size = 3"))
    assert other.exit_code == 2
    assert "other settings or data" in other.stderr
    assert run(folder, ENERGIES.replace("batch_size = 4", "batch_size = 3"), "--restart").exit_code == 0


def started(folder):
    """The program itself, with compiled code from before, so that what is killed is the training."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "XLA_FLAGS"},
        "JAX_COMPILATION_CACHE_DIR": str(Path(__file__).parents[2] / ".cache" / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "jaxnmr", "train", str(folder / "a.toml")]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


@pytest.mark.slow
def test_a_training_that_is_killed(folder):
    """SIGKILL three times between two epochs, then to the end: the numbers of one that nobody stopped, to the last bit."""
    whole, text = folder / "whole", ENERGIES.replace("epochs = 2", "epochs = 40\ncheckpoint_steps = 2")
    whole.mkdir()
    for place in (whole, folder):
        (place / "a.toml").write_text(text)
    shutil.copy(folder / "frames.extxyz", whole)
    program = started(whole)
    _, said = program.communicate(timeout=600)
    assert program.returncode == 0, said
    rng, reached = np.random.default_rng(0), 0
    for end in (8, 17, 29):
        program = started(folder)
        while f"{end}/40" not in (line := program.stderr.readline()):
            assert line, "the program ended"
            # Nothing that was kept is done again but the epoch that was broken off.
            epoch = int(line.split("/40")[0]) if "/40" in line else end
            assert epoch > reached
        threading.Timer(float(rng.uniform(0, 0.1)), program.kill).start()
        program.communicate(timeout=600)
        assert program.returncode == -signal.SIGKILL
        reached = end - 1
    program = started(folder)
    _, said = program.communicate(timeout=600)
    assert program.returncode == 0, said
    expected, found = (place / "a-model" for place in (whole, folder))
    assert (found / "metrics.jsonl").read_text() == (expected / "metrics.jsonl").read_text()
    one, other = (load_file(place / "model.safetensors") for place in (expected, found))
    assert one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_tensors_anew_and_on_frozen_features(folder):
    """A property of one's own beside the shielding; then heads on what was learnt, in another folder."""
    done = run(folder, TENSORS)
    assert done.exit_code == 0, done.output
    model = jn.load_tensor_model(folder / "a-model" / "model.safetensors")
    assert [prop.name for prop in model.properties] == ["shielding", "charge"]
    assert model.card.name == "water"
    assert json.loads(model.card.training)["structures"]["train"] == 11
    assert "test charge H: RMSE" in done.stdout
    assert (folder / "a-model" / "uncertainty-test.png").stat().st_size > 5000
    frozen = (
        '[model]\nproperties = ["shielding"]\nstart = "a-model/model.safetensors"\nfrozen = true\n'
        '[data]\ntrain = "tensors.extxyz"\n[training]\nepochs = 2\n'
    )
    done = run(folder, frozen, "--output", str(folder / "b"))
    assert done.exit_code == 0, done.output
    assert len(list((folder / "b" / "features").iterdir())) == 12  # one of each structure
    assert jn.load_tensor_model(folder / "b" / "model.safetensors").predicts("shielding") == ("H", "O")


HEADS = """
[model]
properties = ["shielding"]
start = "base.safetensors"
heads = { channels = 4, width = 8, depth = 1, members = 2 }
[data]
train = "tensors.extxyz"
[training]
epochs = 1
learning_rate = 1e-12
"""
SHIELDING = Property(name="shielding", irreps="0e+1e+2e", unit="ppm")
ONE_LAYER = NequipConfig(**CONFIG.model_dump() | {"hidden_irreps": "4x0e+3x1o+2x2e", "l_max": 2, "n_layers": 1,
                                                  "scalar_output": False})  # fmt: skip


@pytest.mark.slow
def test_learnt_heads_go_on_or_a_line_says_that_they_do_not(folder):
    """Frozen heads first, then the backbone, by command: a step too small to be seen leaves the predictions."""
    base = small_tensor_model((SHIELDING,), ONE_LAYER, members=2)
    save_tensor_model(base, folder / "base.safetensors")
    done = run(folder, HEADS, "--x64")
    assert done.exit_code == 0, done.output
    assert "begin anew" not in done.stderr
    model = jn.load_tensor_model(folder / "a-model" / "model.safetensors")
    np.testing.assert_allclose(model.shielding(waters(1)[0]), base.shielding(waters(1)[0]), rtol=1e-6)
    without = HEADS.replace("heads =", "# heads =")
    assert "begin anew" not in run(folder, without, "--dry-run").stderr
    line = "The heads begin anew, for model.{} differ from those of {}/base.safetensors ({}"
    other = run(folder, HEADS.replace("width = 8", "width = 9"), "--dry-run").stderr
    assert line.format("heads", folder, "channels = 4, width = 8, depth = 1, members = 2).") in other
    other = run(folder, without.replace('["shielding"]', '[{ name = "charge", irreps = "0e" }]'), "--dry-run").stderr
    assert line.format("properties", folder, "shielding).") in other


@pytest.mark.slow
def test_what_is_not_calibrated_is_said(folder):
    """Without validation: two heads have their bare spread, and a single one knows nothing; on stderr and in the report."""
    save_tensor_model(small_tensor_model((SHIELDING,), ONE_LAYER, members=1), folder / "base.safetensors")
    text = HEADS.replace("members = 2", "members = 1").replace("[data]", 'frozen = true\n[data]\ntest = "tensors.extxyz"')
    text = text.replace("[training]", "validation_fraction = 0\n[training]")
    done = run(folder, text, "--json")
    assert done.exit_code == 0, done.output
    assert (
        "warning: the uncertainty of shielding is not calibrated but unknown, for the model has a single head" in done.stderr
    )
    report = json.loads(done.stdout)
    assert report["uncalibrated"] == ["shielding"] and "within_1_u" not in report["errors"][0]
    arguments = ["predict", str(folder / "tensors.extxyz"), "-m", str(folder / "a-model" / "model.safetensors")]
    told = runner.invoke(_main.app, [*arguments, "-o", str(folder / "out.extxyz"), "--json"])
    assert "was never calibrated; it is unknown (a single head)" in told.stderr
    row = json.loads(told.stdout)[0]
    assert row["shielding_uncertainty"] is None and row["shielding_iso_ppm"] is not None
    assert np.isnan(jn.structure.read_frames(folder / "out.extxyz", ["ms_uncertainty"])[0].numbers[0]).all()
    done = run(folder, text.replace("members = 1", "members = 2"), "--json", "--restart")
    assert "not calibrated but the bare spread of the heads" in done.stderr
    done = run(folder, text.replace("fraction = 0", "fraction = 0.2"), "--json", "--restart")
    assert "not calibrated" not in done.stderr and json.loads(done.stdout)["uncalibrated"] == []


def test_isotropic_values_alone(folder):
    """Learnt from tensors, predicted into tensors of that trace."""
    text = HEADS.replace('["shielding"]', '[{ name = "shielding", irreps = "0e", unit = "ppm" }]').replace("1e-12", "1e-3")
    save_tensor_model(small_tensor_model((SHIELDING,), ONE_LAYER, members=2), folder / "base.safetensors")
    done = run(folder, text.replace("[data]", "frozen = true\n[data]"))
    assert done.exit_code == 0, done.output
    arguments = ["predict", str(folder / "tensors.extxyz"), "-m", str(folder / "a-model" / "model.safetensors")]
    told = runner.invoke(_main.app, [*arguments, "-o", str(folder / "out.extxyz"), "--json"])
    assert told.exit_code == 0, told.output
    model = jn.load_tensor_model(folder / "a-model" / "model.safetensors")
    frame = jn.structure.read_all(folder / "out.extxyz")[0]
    expected = model.predict(frame, "shielding").values
    assert expected.shape == (3,)
    np.testing.assert_allclose(frame.shielding, expected[:, None, None] * np.eye(3), rtol=1e-6)
    assert json.loads(told.stdout)[0]["shielding_iso_ppm"] == pytest.approx(expected[0], rel=1e-6)


def test_a_new_beginning_leaves_nothing_of_before(folder):
    """But the model that it starts from; and nothing is removed for a configuration that is wrong."""
    from jaxnmr.cli._train import _remove

    target = folder / "a-model"
    target.mkdir()
    names = ["model.safetensors", "report.json", "metrics.jsonl", "checkpoint.safetensors"]
    names += ["learning.png", "parity-test.png", "uncertainty-test.png"]
    for name in (*names, "notes.txt"):
        (target / name).write_text("of before")
    done = run(folder, ENERGIES + 'freeze = ["backbone/layer_4"]\n', "--restart")
    assert done.exit_code == 2 and len(list(target.iterdir())) == 8
    _remove(target, target / ".." / "a-model" / "model.safetensors")
    assert sorted(path.name for path in target.iterdir()) == ["model.safetensors", "notes.txt"]
    _remove(target, None)
    assert [path.name for path in target.iterdir()] == ["notes.txt"]


def test_a_training_that_fails_leaves_no_model_of_before(folder):
    """After --restart no report of another training stands beside the metrics."""
    (folder / "a-model").mkdir()
    for name in ("model.safetensors", "report.json"):
        (folder / "a-model" / name).write_text("of before")
    done = run(folder, ENERGIES.replace("epochs = 2", "epochs = 2\nlearning_rate = 1e300"), "--restart")
    assert done.exit_code == 2 and "no longer finite" in done.stderr
    assert not list((folder / "a-model").glob("model*")) and not list((folder / "a-model").glob("report*"))


def test_validation_is_of_blocks():
    """Up to five of each file, at the ends of equal stretches; of files of one frame one in ten."""
    from jaxnmr.cli._train import _held_out

    one = [f"a, frame {k}" for k in range(100)]
    assert sorted(_held_out(one, 0.1)) == [18, 19, 38, 39, 58, 59, 78, 79, 98, 99]
    assert sorted(_held_out(one[:12], 0.1)) == [11]
    many = [f"{k}.magres, frame 0" for k in range(30)]
    assert len(_held_out(many, 0.1)) == 3
    assert len(_held_out(one + many, 0.2)) == 26 and not _held_out(one, 0.0)


def test_what_is_missing_is_counted(folder):
    """Frames without energy or forces are told before the training."""
    lines = (folder / "frames.extxyz").read_text().splitlines()
    lines[1] = lines[1].split(" energy=")[0]
    lines[6:10] = [line.replace(":forces:R:3", ":other:R:3") for line in lines[6:10]]
    (folder / "frames.extxyz").write_text("\n".join(lines) + "\n")
    done = run(folder, ENERGIES, "--dry-run")
    assert "train: 11 structures (1 without energy, 1 without forces), validation: 1 structures" in done.stderr


def test_a_test_set_that_the_model_cannot_take(folder):
    """An element that training lacks, or atoms that overlap, end a dry run already."""
    text = ENERGIES.replace("[data]\n", '[data]\ntest = "test.extxyz"\n')
    for row, advice in (
        ("N 5 0 0", "frame 0: has N, which the model does not know"),
        ("O 0 0 0.1", "frame 0: two atoms are"),
    ):
        (folder / "test.extxyz").write_text(f"2\nProperties=species:S:1:pos:R:3 energy=1\nO 0 0 0\n{row}\n")
        done = run(folder, text, "--dry-run")
        assert done.exit_code == 2
        assert f"test.extxyz, {advice}" in done.stderr


def test_a_tensor_model_starts_no_potential(folder):
    """The line says what the configuration lacks."""
    save_tensor_model(small_tensor_model((SHIELDING,), ONE_LAYER, members=2), folder / "base.safetensors")
    done = run(folder, '[model]\nstart = "base.safetensors"\n' + ENERGIES.replace(SMALL, ""))
    assert done.exit_code == 2, done.output
    assert "base.safetensors is a tensor model, which knows nothing of energies; give model.properties" in done.stderr


def test_licences_go_along(folder):
    """A model that starts from another keeps its card but for what the configuration says; the record names the start."""
    from jaxnmr.potential import ModelCard, save_potential

    potential = small_potential(CONFIG.model_copy(update={"n_layers": 1}))
    base = ModelCard(name="base", licence="MIT", reference="A. Author", training="long ago")
    save_potential(potential, folder / "base.safetensors", base)
    text = '[model]\nstart = "base.safetensors"\n[card]\nname = "mine"\n' + ENERGIES.replace(SMALL, "")
    done = run(folder, text.replace("epochs = 2", "epochs = 1"))
    assert done.exit_code == 0, done.output
    card = jn.load_potential(folder / "a-model" / "model.safetensors").card
    assert (card.name, card.licence, card.reference) == ("mine", "MIT", "A. Author")
    record = json.loads(card.training)
    assert record["start"] == "base.safetensors" and record["errors"]


def test_a_picture_of_uncertainties(tmp_path):
    """Of what tells any; and labels that do not vary leave no NaN in the report, which is JSON."""
    from jaxnmr.cli._train_report import reliability, table
    from jaxnmr.potential.training import Comparison

    rng = np.random.default_rng(0)
    given, size = rng.normal(size=(60, 3, 3)), rng.uniform(0.1, 0.5, 60)
    told = Comparison("shielding", "ppm", "O", given, given + size[:, None, None] * rng.normal(size=(60, 3, 3)), size)
    bare = told._replace(name="energy", uncertainty=np.full(60, np.nan))
    reliability([bare], tmp_path / "none.png")
    reliability([told, bare], tmp_path / "some.png")
    assert [path.name for path in tmp_path.iterdir()] == ["some.png"]
    single = told._replace(given=given[:1], found=told.found[:1], uncertainty=size[:1])
    (row,) = table("test", [single])
    assert row["r2"] is None and row["rank_correlation"] is None
    json.dumps(row, allow_nan=False)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (ENERGIES + "rate = 1\n", "unknown key 'training.rate'"),
        (ENERGIES.replace("epochs = 2", "epochs = 0"), "training.epochs: got 0"),
        (ENERGIES.replace("frames.extxyz", "none.extxyz"), "none.extxyz does not exist"),
        (ENERGIES.replace("cutoff = 3.0", "cutof = 3.0"), "(did you mean 'cutoff'?)"),
        (ENERGIES.replace("4x0e+2x1o", "2x1o"), "no even scalars"),
        (ENERGIES + 'freeze = ["backbone/layer_4"]\n', "no parameter begins with 'backbone/layer_4'"),
        ('[model]\nproperties = ["efg"]\n' + ENERGIES, "none has a label of efg"),
        (ENERGIES.replace("[training]", 'names = { energy = "dft" }\n[training]'), "names.energy: no frame of"),
        ("[model]\nfrozen = true\n" + ENERGIES, "model.frozen needs model.start"),
        ('[model]\nstart = "a.nqx"\n' + ENERGIES, "model.network came together with model.start"),
        ('[model]\nstart = "a.nqx"\n' + ENERGIES.replace(SMALL, ""), "cannot read"),
        (ENERGIES.replace("[training]", 'names = { stress = "virial" }\n[training]'), "write stress = -virial / volume"),
        (ENERGIES.replace("frames.extxyz", "frames/*.magres"), "data.train: no file matches 'frames/*.magres', looked for"),
        ("[data\n", "not TOML"),
        ("[training]\n", "data: missing"),
    ],
)
def test_bad_input_is_one_line(folder, text, advice):
    """Status 2, what is wrong, and no folder left."""
    done = run(folder, text)
    assert done.exit_code == 2, done.output
    assert advice in done.stderr
    assert len(done.stderr.splitlines()) <= 2  # what was read, and what is wrong
    assert not (folder / "a-model").exists()


def test_patterns_stand_for_files(folder):
    """Sorted, from the folder of the TOML file, each file once; an existing name is no pattern, and none is no match."""
    deep = folder / "run[1]" / "deep"
    deep.mkdir(parents=True)
    for name in ("b2.extxyz", "a.extxyz", "b1.extxyz", "b[12].extxyz", "deep/c.extxyz"):
        shutil.copy(folder / "frames.extxyz", deep.parent / name)
    (deep.parent / "z.extxyz").mkdir()

    def files(text):
        (deep.parent / "a.toml").write_text(f"[data]\ntrain = {text}\n")
        return [str(path.relative_to(deep.parent)) for path in read_config(deep.parent / "a.toml", None).data.train]

    assert files('"*.extxyz"') == ["a.extxyz", "b1.extxyz", "b2.extxyz", "b[12].extxyz"]
    assert files('["b2.extxyz", "b?.extxyz", "**/c.extxyz"]') == ["b2.extxyz", "b1.extxyz", "deep/c.extxyz"]
    assert files('"b[12].extxyz"') == ["b[12].extxyz"]
    (deep.parent / "b[12].extxyz").unlink()
    assert files('"b[12].extxyz"') == ["b1.extxyz", "b2.extxyz"]
    text = ENERGIES.replace("frames.extxyz", "run[[]1]/b*.extxyz").replace("[training]", 'test = "frames.*"\n[training]')
    done = run(folder, text, "--dry-run")
    assert done.exit_code == 0, done.output
    assert "train: 22 structures, validation: 2 structures, test: 12 structures" in done.stderr
    assert "warning" not in done.stderr


def test_no_structure_is_learnt_from_and_tested_on_unawares(folder):
    """A pattern leaves out what other sets name or match; a file that is named twice is told."""
    for name in ("one.xyz", "two.xyz", "held.xyz", "last.xyz"):
        shutil.copy(folder / "frames.extxyz", folder / name)
    sets = 'train = "*.xyz"\nvalidation = "h*.xyz"\ntest = "last.xyz"'
    (folder / "apart.toml").write_text(f"[data]\n{sets}\n")
    data = read_config(folder / "apart.toml", None).data
    names = [[path.name for path in each] for each in (data.train, data.validation, data.test)]
    assert names == [["one.xyz", "two.xyz"], ["held.xyz"], ["last.xyz"]]
    text = ENERGIES.replace("[training]", 'test = "frames.extxyz"\n[training]')
    done = run(folder, text, "--dry-run")
    assert "warning: frames.extxyz is in data.train and in data.test" in done.stderr


def test_dry_run_checks_and_writes_nothing(folder):
    done = run(folder, ENERGIES, "--dry-run")
    assert done.exit_code == 0, done.output
    assert "train: 11 structures, validation: 1 structures" in done.stderr
    assert not (folder / "a-model").exists()
