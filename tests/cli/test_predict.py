"""`jaxnmr predict`: files that other programs and this one read."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import jaxnmr as jn
from jaxnmr.cli import _main
from jaxnmr.potential import save_tensor_model
from jaxnmr.structure import Structure, write
from tests.potential.small import small_tensor_model

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
