"""Every notebook runs from its first cell to its last, at its small setting, and is kept with what it shows."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Compiling the chain's programs takes minutes.
LONG = {"khco3"}


def cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def test_there_are_notebooks():
    """The list is not empty because a folder moved."""
    assert len(NOTEBOOKS) >= 3


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem in LONG)) for path in NOTEBOOKS]
)
def test_runs(path, monkeypatch):
    """In a kernel of its own, as in Jupyter; a cell that fails, or warns of its physics, fails here."""
    reason = "needs nbclient and ipykernel: pip install 'jaxnmr[notebooks]'"
    nbclient, nbformat = (pytest.importorskip(name, reason=reason) for name in ("nbclient", "nbformat"))
    pytest.importorskip("ipykernel", reason=reason)
    for name, value in {
        "JAXNMR_SMALL": "1",
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache" / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        "PYTHONPATH": str(ROOT),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(path.parent)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    said = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    warned = [out.text for out in said if out.get("name") == "stderr" and "ResolutionWarning" not in out.text]
    assert not any("Warning" in text for text in warned), warned


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_kept_as_it_was_run(path):
    """All code run once, in order, without an error; figures inside; small, and with no path of anyone's machine."""
    text = path.read_text(encoding="utf-8")
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [out for cell in code for out in cell["outputs"]]
    assert {out["output_type"] for out in outputs} <= {"display_data", "stream"}
    assert not [out for out in outputs if out.get("name") == "stderr"]
    assert sum("image/png" in out.get("data", {}) for out in outputs) >= 2
    assert len(text.encode()) < 300_000
    assert not [mark for mark in ("/home/", "/root/", "/Users/", "/work/", "C:\\\\") if mark in text]
