"""Model files: what was saved comes back, and what is not whole is refused with a reason."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxnmr.potential import ModelCard, load_potential, save_potential
from jaxnmr.structure import Structure
from tests.potential.small import small_potential

pytest.importorskip("safetensors")
WATER = Structure(["O", "H", "H"], [[0, 0, 0], [0.96, 0, 0], [-0.3, 0.9, 0]])


@pytest.fixture(scope="module")
def potential():
    return small_potential()


@pytest.fixture(scope="module")
def saved(potential, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_potential(potential, path, ModelCard(name="water", data_licence="CC0", training="none"))
    return path


def edited(saved, folder, change):
    """The file with another header."""
    content = saved.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path = folder / "edited.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
    return path


def test_a_model_comes_back_as_it_was(potential, saved):
    """Bit by bit, with its card, and readable by anyone who knows safetensors."""
    from safetensors.numpy import load_file

    back = load_potential(saved)
    assert back.config == potential.config
    assert back.card == ModelCard(name="water", data_licence="CC0", training="none")
    for a, b in zip(jax.tree.leaves(back.params), jax.tree.leaves(potential.params), strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
    assert back.energy(WATER) == potential.energy(WATER)
    assert load_file(saved)["params/backbone/layer_0/mix/1o"].shape == (3, 4)


def test_foundation_weights_survive_the_projects_own_format(oam, quartz, tmp_path):
    """From Nequix's file to ours and back: the same energy, and the header that they came with."""
    save_potential(oam.astype("float32"), tmp_path / "oam.safetensors")
    back = load_potential(tmp_path / "oam.safetensors", "float64")
    assert back.energy(quartz) == oam.energy(quartz)
    assert "MIT" in back.card.licence
    assert json.loads(back.card.training)["cutoff"] == 6.0


def test_a_file_is_replaced_whole_or_not_at_all(potential, saved, tmp_path, monkeypatch):
    """A failure in the middle leaves the old file, and nothing beside it."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"before")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("no room")))
    with pytest.raises(OSError, match="no room"):
        save_potential(potential, path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def _later(header):
    header["__metadata__"]["format_version"] = "2"


def _other(header):
    header["__metadata__"]["format"] = "pt"


def _units(header):
    model = json.loads(header["__metadata__"]["model"])
    header["__metadata__"]["model"] = json.dumps(model | {"units": {"length": "bohr", "energy": "hartree"}})


def _key(header):
    model = json.loads(header["__metadata__"]["model"])
    header["__metadata__"]["model"] = json.dumps(model | {"charge": 1})


def _layers(header):
    model = json.loads(header["__metadata__"]["model"])
    header["__metadata__"]["model"] = json.dumps(model | {"config": model["config"] | {"n_layers": 3}})


def _width(header):
    model = json.loads(header["__metadata__"]["model"])
    header["__metadata__"]["model"] = json.dumps(model | {"config": model["config"] | {"radial_width": 16}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_later, "format version '2', this package reads 1"),
        (_other, "not of a jaxnmr-potential"),
        (_units, "bohr"),
        (_key, "charge"),
        (_layers, "lacks backbone/layer_1"),
        (_width, "has shape .* asks for"),
    ],
)
def test_headers_that_say_something_else_are_refused(saved, tmp_path, change, message):
    """Each message says what is there and what was expected."""
    with pytest.raises(ValueError, match=message):
        load_potential(edited(saved, tmp_path, change))


@pytest.mark.parametrize("part", [3, 100, 0.5, 0.99])
def test_a_file_cut_short_is_refused(saved, tmp_path, part):
    """In the length, in the header, among the numbers, before their end."""
    content = saved.read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(content[: part if isinstance(part, int) else int(part * len(content))])
    with pytest.raises(ValueError, match=r"path: .*cut"):
        load_potential(path)


@pytest.mark.parametrize("part", [100, 0.01, 0.5, 0.98, 0.9999])
def test_a_nequix_file_cut_short_is_refused(shared, tmp_path, part):
    """In its header, and before, in and after its arrays."""
    content = (shared / "weights" / "nequix-oam-1.nqx").read_bytes()
    path = tmp_path / "cut.nqx"
    path.write_bytes(content[: part if isinstance(part, int) else int(part * len(content))])
    with pytest.raises(ValueError, match="copy it again"):
        load_potential(path)


def test_a_nequix_file_of_another_shape_is_refused(shared, tmp_path):
    """A header that asks for more radial functions than the arrays have, and one with terms that we do not have."""
    content = (shared / "weights" / "nequix-mp-1.nqx").read_bytes()
    path = tmp_path / "other.nqx"
    path.write_bytes(content.replace(b'"radial_basis_size": 8', b'"radial_basis_size": 9', 1))
    with pytest.raises(ValueError, match=r"array 2 .* \(8, 64\), but its header asks for \(9, 64\)"):
        load_potential(path)
    path.write_bytes(content.replace(b'"layer_norm": true', b'"layer_norm": true, "repulsion": true', 1))
    with pytest.raises(ValueError, match="needs 'repulsion'"):
        load_potential(path)
    path.write_bytes(content.replace(b'"lmax": 3, ', b"", 1))
    with pytest.raises(ValueError, match="lacks lmax"):
        load_potential(path)


def test_what_is_no_model_file_is_refused(tmp_path):
    """No file, an empty one, a picture, JSON of something else."""
    with pytest.raises(ValueError, match="cannot read"):
        load_potential(tmp_path / "none.nqx")
    path = tmp_path / "some.nqx"
    picture, other = b"\x89PNG\r\n" * 9, b'{"a": 1}\n'
    for content, message in ((b"", "no known format"), (picture, "no known format"), (other, "not such a header")):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load_potential(path)


def test_a_folder_that_is_not_there_is_named(potential, tmp_path):
    """Before anything is computed or written."""
    with pytest.raises(ValueError, match="cannot write to"):
        save_potential(potential, tmp_path / "none" / "model.safetensors")


def test_the_room_loads_without_what_networks_need():
    """Names can be had, and files be refused, before flax, e3nn, ASE or jax-md are loaded: each takes seconds."""
    code = "import sys, jaxnmr; jaxnmr.load_potential, jaxnmr.Potential; print(*sorted(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "jaxnmr.potential" in loaded
    assert not loaded & {"flax", "e3nn_jax", "ase", "jax_md", "vesin", "safetensors"}
