"""Files of tensor models: what was saved comes back, and what is not whole is refused with a reason."""

import json

import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.potential import ModelCard, Property, load_potential, load_tensor_model, save_potential, save_tensor_model
from jaxnmr.structure import Structure
from tests.potential.small import small_potential, small_tensor_model

pytest.importorskip("safetensors")
WATER = Structure(["O", "H", "H"], [[0, 0, 0], [0.96, 0, 0], [-0.3, 0.9, 0]])


@pytest.fixture(scope="module")
def model():
    return small_tensor_model()


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_tensor_model(model, path, ModelCard(name="water", data_licence="CC0"))
    return path


def edited(saved, folder, change):
    """The file with another header."""
    content = saved.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    model = json.loads(header["__metadata__"]["model"])
    change(model)
    header["__metadata__"]["model"] = json.dumps(model)
    text = json.dumps(header).encode()
    path = folder / "edited.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
    return path


def test_a_model_comes_back_as_it_was(model, saved):
    """Values and uncertainties to the last bit, and the card."""
    back = jn.load_tensor_model(saved)
    assert back.config == model.config
    assert back.card == ModelCard(name="water", data_licence="CC0")
    for name in ("shielding", "efg"):
        for one, two in zip(back.predict(WATER, name), model.predict(WATER, name), strict=True):
            assert np.array_equal(one, two, equal_nan=True)
    single = load_tensor_model(saved, "float32")
    np.testing.assert_allclose(single.shielding(WATER), model.shielding(WATER), atol=1e-4)


@pytest.mark.parametrize("name", ["params", "heads", "standard", "backbone"])
def test_any_word_names_a_property(tmp_path, name):
    """Those that stand in the file for something else, too."""
    model = small_tensor_model(properties=(Property(name=name, irreps="0e+2e"),))
    save_tensor_model(model, tmp_path / "m.safetensors")
    back = load_tensor_model(tmp_path / "m.safetensors")
    for one, two in zip(back.predict(WATER, name), model.predict(WATER, name), strict=True):
        assert np.array_equal(one, two, equal_nan=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(units={"length": "bohr"}), "bohr"),
        (lambda m: m.update(charge=1), "charge"),
        (lambda m: m["config"]["heads"].update(members=4), "has shape .* asks for"),
        (lambda m: m["config"]["properties"].pop(), "lacks|not known"),
        (lambda m: m["config"]["properties"][1].update(name="gradient"), "lacks the scales"),
        (lambda m: m["config"]["properties"][1].update(irreps="0e+2e"), "lacks|shape"),
    ],
)
def test_headers_that_say_something_else_are_refused(saved, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        load_tensor_model(edited(saved, tmp_path, change))


@pytest.mark.parametrize("part", [3, 100, 0.5, 0.99])
def test_a_file_cut_short_is_refused(saved, tmp_path, part):
    content = saved.read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(content[: part if isinstance(part, int) else int(part * len(content))])
    with pytest.raises(ValueError, match=r"path: .*(cut|known format)"):
        load_tensor_model(path)


def test_each_reader_names_the_other(saved, tmp_path):
    """A tensor model is no potential, and the other way round; neither are weights of another program."""
    with pytest.raises(ValueError, match=r"model\.safetensors is a tensor model, not a potential; .* load_tensor_model"):
        load_potential(saved)
    save_potential(small_potential(), tmp_path / "potential.safetensors")
    with pytest.raises(ValueError, match=r"is a potential, not a tensor model; read it with load_potential\."):
        load_tensor_model(tmp_path / "potential.safetensors")
    (tmp_path / "x.nqx").write_bytes(b'{"hidden_irreps": "2x0e"}\n')
    with pytest.raises(ValueError, match=r"x\.nqx .* weights of a potential .*\(\.nqx\), .* read it with load_potential\."):
        load_tensor_model(tmp_path / "x.nqx")
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(ValueError, match=r"in no known format; give a \.safetensors of a tensor model"):
        load_tensor_model(tmp_path / "x.png")


def test_a_folder_that_is_not_there_is_named(model, tmp_path):
    with pytest.raises(ValueError, match="cannot write to"):
        save_tensor_model(model, tmp_path / "none" / "model.safetensors")
