"""A run's folder: whose it is, what a full disk leaves, and which files a report calls its own."""

import errno
import json

import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.workflow import Step, _folder as folder_of
from jaxnmr.workflow._folder import Store, same_material
from jaxnmr.workflow._records import Relaxed
from jaxnmr.workflow._report import _plain

from . import toy

pytestmark = pytest.mark.filterwarnings("ignore::jaxnmr.errors.JaxnmrWarning")
CELL = np.diag([4.9, 4.9, 5.4])


def test_the_mark_of_a_material(tmp_path):
    """Written once; an empty one is none; another cell of the same atoms is another material, a relaxed one is not."""
    species, mark = ("Si", "O", "O"), tmp_path / "material.txt"
    mark.write_text("")  # as a full disk leaves it
    same_material(tmp_path, species, CELL, False)
    assert mark.read_text().split("\n")[:2] == ["Si O O", "4.900 0.000 0.000"]
    before = mark.stat().st_mtime_ns, mark.stat().st_ino
    same_material(tmp_path, species, 1.01 * CELL, False)
    assert (mark.stat().st_mtime_ns, mark.stat().st_ino) == before
    with pytest.raises(ValueError, match="in another cell"):
        same_material(tmp_path, species, np.diag([4.9, 4.9, 7.0]), False)
    with pytest.raises(ValueError, match="in another cell"):
        same_material(tmp_path, species, None, False)
    with pytest.raises(ValueError, match="other atoms"):
        same_material(tmp_path, ("Si", "O"), CELL, False)
    same_material(tmp_path, ("Si", "O"), None, True)
    same_material(tmp_path, ("Si", "O"), None, False)
    mark.write_text("Si O O\n")  # of an earlier version
    same_material(tmp_path, species, CELL, False)
    assert len(mark.read_text().split("\n")) == 5


def test_a_full_disk(tmp_path, monkeypatch):
    """The error names stage and folder; what was made stays, no half file lies about, and the run goes on afterwards."""
    config, told, real = toy.config(tmp_path), [], folder_of.written_aside

    def full(path):
        if path.name == "ends.npz":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path)

    monkeypatch.setattr(folder_of, "written_aside", full)
    run = lambda: jn.run(config, potential=toy.surface(), tensors=toy.Tensors(), until="ends", progress=told.append)  # noqa: E731
    with pytest.raises(OSError, match=r"No space left on device, in stage ends of the run in .*run; what was made") as error:
        run()
    assert error.value.errno == errno.ENOSPC
    assert (tmp_path / "run" / "stages" / "relax.npz").exists() and not list((tmp_path / "run").rglob("*.part*"))
    monkeypatch.undo()
    told.clear()
    run()
    assert told[:2] == [Step("relax", "kept"), Step("ends", "begins")] and told[-1] == Step("ends", "done")
    assert all(step.name == "ends" and "of at most 3000 steps" in step.state for step in told[2:-1]) and len(told) > 3


def test_only_arrays_are_written(tmp_path, monkeypatch):
    """NumPy before 2.1 takes every keyword of savez for an array."""
    real = np.savez

    def old(file, **arrays):
        real(file, **{f"kept_{name}" if name == "allow_pickle" else name: array for name, array in arrays.items()})

    monkeypatch.setattr(np, "savez", old)
    store = Store(tmp_path, False, lambda step: None, {})
    store.step("relax", Relaxed, {}, lambda: Relaxed(np.zeros((1, 3)), 0.0, 0.0, 1))
    with np.load(store.path("relax")) as file:
        assert sorted(file.files) == ["_head", "positions"]


def test_numbers_that_json_cannot_hold():
    """Null in their places."""
    assert _plain({"a": [1.0, float("nan")], "b": (float("-inf"), "x", 2)}) == {"a": [1.0, None], "b": [None, "x", 2]}


def test_cold_and_then_warm(tmp_path):
    """At 4 K no rate is left, but the prefactor is, and the report is whole; at 298 K the cold run's files are gone."""
    changes = {"uncertainty__barrier_ev": 0.01, "uncertainty__draws": 8}
    models = {"potential": toy.surface(), "tensors": toy.Tensors()}
    cold = jn.run(toy.config(tmp_path, experiment__temperatures_k=[4.0], **changes), **models)
    assert cold.rates.htst[0, 0] == 0.0
    attempt = toy.rate() * np.exp(toy.barrier() / (toy.BOLTZMANN_IN_EV * toy.KELVIN))
    assert cold.rates.prefactor_per_s[0] == pytest.approx(attempt, rel=1e-3)
    numbers = json.loads((cold.folder / "report.json").read_text())
    assert numbers["events"][0]["rates"][0]["rate_per_s"] == 0.0
    for name in numbers["files"]:
        assert (cold.folder / name).exists()
    assert "spectrum-B-9.4T-4K.csv" in numbers["files"] and "minimum-1.extxyz" in numbers["files"]
    (cold.folder / "notes.txt").write_text("mine")
    (cold.folder / "motion").mkdir()
    (cold.folder / "motion" / "sample-4K-0123456789abcdef.npz").write_bytes(b"of other settings")

    warm = jn.run(toy.config(tmp_path, **changes), **models)
    assert not list(warm.folder.glob("*-4K.csv")) and not list((warm.folder / "motion").iterdir())
    assert (warm.folder / "notes.txt").exists()  # which no report has listed
    numbers = json.loads((warm.folder / "report.json").read_text())
    left = {path.name for path in warm.folder.iterdir() if path.is_file()}
    assert left == {*numbers["files"], "notes.txt", "report.json", "material.txt", "lock"}
    # Eight draws make a band of 7/9, and its columns say so.
    band = (warm.folder / "band-B-9.4T-298K.csv").read_text().split("\n")[0]
    assert band == "ppm,hz,intensity,low_78,high_78"
    event = numbers["events"][0]
    assert event["barrier_error_ev"] == 0.01 and event["energy_error_ev"] is None
    assert event["regimes_at"] == {"field_t": toy.FIELD, "temperature_k": toy.KELVIN}
    page = (warm.folder / "report.html").read_text()
    assert "± 0.01<" in page and "hops at 9.4 T and 298 K" in page
