"""`jaxnmr run`: what it says, writes and refuses; the chain itself is tested in tests/workflow."""

import errno
import functools
import inspect
import tomllib
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from typer.testing import CliRunner

from jaxnmr.cli import _chain, _chain_command, _main
from jaxnmr.dynamics import Surface
from jaxnmr.errors import warn
from jaxnmr.workflow import STAGES, RunConfig, seconds_of_a_call

from ..workflow import toy

runner = CliRunner()
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.filterwarnings("ignore::jaxnmr.errors.JaxnmrWarning")

TOML = f"""
structure = {{ file = "start.extxyz" }}
motion = {{ ends = ["end.extxyz"], images = 5 }}
tensors = {{ reference_ppm = [-1.0, {toy.REFERENCE}] }}
experiment = {{ isotope = "13C", fields_t = [{toy.FIELD}], linewidth_hz = {toy.WIDTH} }}
axis = {{ ppm = [160, 0], points = 256 }}
resolution = {{ orientations = 4 }}
output = {{ folder = "run" }}
"""


def written(folder, text=TOML):
    """A file of tables, with the atoms beside it."""
    toy.config(folder)
    path = folder / "toy.toml"
    path.write_text(text)
    return path


@pytest.fixture
def injected(monkeypatch):
    """The toy's models, which no file holds."""
    whole = functools.partial(_chain.run_chain, potential=toy.surface(), tensors=toy.Tensors())
    monkeypatch.setattr(_chain, "run_chain", whole)


def test_runs_and_goes_on(tmp_path, injected):
    """A line for each step with its seconds, the same in the log; a second call keeps what the first made."""
    path = written(tmp_path)
    first = runner.invoke(_main.app, ["run", str(path), "--until", "ends"])
    assert first.exit_code == 0, first.output
    second = runner.invoke(_main.app, ["run", str(path), "--json"])
    assert second.exit_code == 0, second.output
    assert "ends: kept" in second.output and "rates: done after" in second.output
    assert '"rate_per_s"' in second.stdout and (tmp_path / "run" / "report.html").exists()
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "relax: done" in log and "all: done" in log


def test_a_stage_that_fails_stops_the_run(tmp_path, injected):
    """Status 3, with the reason, and what was made before is kept."""
    path = written(tmp_path, TOML.replace("images = 5", "images = 5, max_steps = 1"))
    failed = runner.invoke(_main.app, ["run", str(path)])
    assert failed.exit_code == 3 and "stopped in saddles-0: neb: max_steps" in failed.output
    assert "stopped in saddles-0: neb" in (tmp_path / "run" / "log.txt").read_text()
    assert (tmp_path / "run" / "stages" / "ends.npz").exists()


class Failing(toy.Tensors):
    """A tensor model that warns and fails."""

    def __init__(self, error):
        self.error = error

    def label(self, structure):
        """Nothing."""
        warn("it may fail")
        if self.error is not None:
            raise self.error
        return super().label(structure)


@pytest.mark.filterwarnings("default::jaxnmr.errors.JaxnmrWarning")
def test_whatever_stops_a_stage_is_in_the_log(tmp_path, monkeypatch):
    """ValueError and OSError with the stage's name, and the warnings before; one line on stderr, status 3 and 2."""
    path = written(tmp_path, TOML.replace('motion = { ends = ["end.extxyz"], images = 5 }', ""))
    command, chain, log = ["run", str(path), "--until", "tensors"], _chain.run_chain, tmp_path / "run" / "log.txt"
    full = "No space left on device, in stage tensors of the run"
    for error, status, words, said in (
        (ValueError("no tensors today"), 3, "no tensors today", "stopped in tensors: no tensors today"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, full, f"jaxnmr run: {full}"),
    ):
        monkeypatch.setattr(_chain, "run_chain", functools.partial(chain, potential=toy.surface(), tensors=Failing(error)))
        refused = runner.invoke(_main.app, command)
        assert refused.exit_code == status
        assert [line.startswith(said) for line in refused.output.strip().split("\n")].count(True) == 1
        last = log.read_text().strip().split("\n")[-2:]
        assert f" stopped in tensors: {words}" in last[0] and last[1].endswith(" warning: it may fail")
    monkeypatch.setattr(_chain, "run_chain", functools.partial(chain, potential=toy.surface(), tensors=Failing(None)))
    for word in ("warning", "note"):  # made, and then kept
        done = runner.invoke(_main.app, command)
        assert done.exit_code == 0, done.output
        assert f" {word}: it may fail\n" in log.read_text().split("begins")[-1].split("kept")[-1]
        assert done.output.count("it may fail") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TOML.replace("linewidth_hz", "linewidth_khz"), "did you mean 'linewidth_hz'"),
        (TOML.replace("start.extxyz", "none.extxyz"), "none.extxyz"),
        (TOML, "potential.file: is missing"),
    ],
)
def test_bad_input_is_one_line(tmp_path, text, words):
    """Status 2 and one line."""
    refused = runner.invoke(_main.app, ["run", str(written(tmp_path, text))])
    assert refused.exit_code == 2 and words in refused.output
    assert refused.output.count("\n") == 1


def test_a_folder_of_other_atoms_is_bad_input(tmp_path, injected):
    """Refused before the first stage, with status 2, and no stage is named."""
    path = written(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "material.txt").write_text("Si O O\n")
    refused = runner.invoke(_main.app, ["run", str(path)])
    assert refused.exit_code == 2 and "holds a run of other atoms" in refused.output and "stopped in" not in refused.output


def test_a_rate_without_sense_is_no_bad_input(tmp_path, injected):
    """Trajectories that have all come back say nothing of a rate: status 3, and the stages before are kept."""
    rates = "\nrates = { recrossing_pairs = 200, recrossing_fs = 40.0 }\nsample = { dt_fs = 0.2 }\n"
    path = written(tmp_path, TOML + rates)
    failed = runner.invoke(_main.app, ["run", str(path), "--until", "recrossing"])
    assert failed.exit_code == 3 and "stopped in recrossing-0: rates.recrossing_fs: after 40 fs" in failed.output
    assert (tmp_path / "run" / "stages" / "rates.npz").exists()


def test_help_names_every_stage():
    """Of those that --until takes."""
    text = inspect.get_annotations(_chain_command.run, eval_str=True)["until"].__metadata__[0].help
    assert [word.strip(",.") for word in text.removeprefix("Last stage: ").replace(" or", "").split()] == list(STAGES)


def test_dry_run_counts(tmp_path, monkeypatch):
    """Stages with their evaluations, nothing written, and nothing compiled that would cost a minute."""
    ready = functools.partial(_chain.prepared, potential=toy.surface(), tensors=toy.Tensors())
    monkeypatch.setattr(_chain, "prepared", ready)
    monkeypatch.setattr(Surface, "energy", lambda *_: pytest.fail("evaluated"))
    planned = runner.invoke(_main.app, ["run", str(written(tmp_path)), "--dry-run"])
    assert planned.exit_code == 0, planned.output
    assert "saddles: about" in planned.output and not (tmp_path / "run").exists()


def test_seconds_follow_the_sizes():
    """A tenth of a second for a foundation potential, a hundredth for the small one; linear in the pairs."""

    def guessed(numbers, pairs):
        edges = SimpleNamespace(graph=SimpleNamespace(is_edge=np.ones((pairs, 1), bool)))
        return seconds_of_a_call(Surface(jax.tree_util.Partial(lambda w, *_: w.sum(), np.zeros(numbers)), neighbors=edges))

    assert 0.005 < guessed(25_000, 752) < 0.02 and 0.1 < guessed(700_000, 1772) < 0.5
    assert guessed(25_000, 1504) == pytest.approx(2 * guessed(25_000, 752))


def test_the_file_in_readme():
    """README's file says what a run understands: hops of protons, models that come along, a motion."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("```toml run\n")[1].split("```")[0]
    config = RunConfig.from_tables(tomllib.loads(text))
    assert config.motion.hops == "protons" and config.sample.length_ps == 5.0
    assert str(config.potential.file) == str(config.tensors.file) == "khco3"
