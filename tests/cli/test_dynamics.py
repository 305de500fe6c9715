"""`jaxnmr minimise | md | neb | rates`: numbers that are known, files that read back, and one line for what is wrong."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

import jaxnmr as jn
from jaxnmr.cli import _main
from jaxnmr.cli._say import Failure
from jaxnmr.cli._ways import _joined, _other_side
from jaxnmr.dynamics import Surface, dimer, minimise, read_trajectory
from tests.dynamics.test_neb import bistable

runner = CliRunner()


class Hop:
    """A hydrogen between two oxygens, in the form of a potential from a file."""

    cutoff, elements = 4.0, ("H", "O")

    def energy_fn(self, positions, cell, graph):
        return bistable(positions[:3])


NEAR = jn.Structure(["H", "O", "O"], np.array([[1.0, 0.1, 0], [0.0, 0, 0], [2.6, 0, 0.1]]))


@pytest.fixture
def paths(tmp_path, monkeypatch):
    monkeypatch.setattr(jn, "load_potential", lambda path: Hop())
    near = np.asarray(NEAR.positions)
    NEAR.write(tmp_path / "start.xyz")
    jn.Structure(["H", "O", "O"], np.stack([near[1] + near[2] - near[0], near[1], near[2]])).write(tmp_path / "end.xyz")
    middle = np.array([[1.3, 0.05, 0], *near[1:]])
    jn.Structure(["H", "O", "O"], middle).write(tmp_path / "middle.xyz")
    return tmp_path


def run(*arguments, code=0):
    done = runner.invoke(_main.app, [str(a) for a in arguments])
    assert done.exit_code == code, (done.exit_code, done.output, done.exception)
    return json.loads(done.stdout) if "--json" in arguments and done.stdout else done


# Without the list of neighbours, which is most of what there is to compile; `minimise` has it.
PLAIN = Surface(bistable, species=NEAR.species)


@pytest.fixture
def plain(monkeypatch):
    for module in ("_motion", "_ways"):
        monkeypatch.setattr(f"jaxnmr.cli.{module}.surface_of", lambda job, structure: PLAIN)


@pytest.fixture(scope="module")
def known():
    """Energies of the well and of the top between the two."""
    surface = PLAIN
    low = minimise(surface, NEAR.positions, max_force=1e-6)
    middle = np.array([[1.3, 0.0, 0], [0.0, 0, 0], [2.6, 0, 0]])
    top = dimer(surface, middle, np.array([[1.0, 0, 0], [0] * 3, [0] * 3]), sides=False)
    return float(low.energy), float(top.energy)


def test_minimise(paths, known):
    files = ["-o", paths / "low.xyz", "-o", paths / "low.png"]
    report = run("minimise", paths / "start.xyz", "-m", "m.nqx", *files, "--json")
    assert (paths / "low.png").stat().st_size > 5_000
    assert report["converged"] and abs(report["energy_ev"] - known[0]) < 1e-6
    low = jn.structure.read(paths / "low.xyz")
    assert abs(float(bistable(jnp.asarray(low.positions))) - known[0]) < 1e-6
    again = run("minimise", paths / "start.xyz", "-m", "m.nqx", "-o", paths / "low.xyz", code=2)
    assert "exists; add --force" in again.stderr and again.stderr.count("\n") == 1
    short = run("minimise", paths / "start.xyz", "-m", "m.nqx", "-o", paths / "low.xyz", "--force", "--max-steps", 2, code=3)
    assert "max_steps reached" in short.stderr and "wrote" in short.stderr


def test_md_and_its_resumption(paths, plain):
    common = ["md", paths / "start.xyz", "-m", "m.nqx", "--temperature-k", 50, "--frame-every", 20, "--dt-fs", 0.25]
    whole = run(*common, "-o", paths / "a.h5", "-o", paths / "a.png", "--steps", 200, "--json")
    assert whole["ending"] == "finished" and whole["samples"] == 20
    assert (paths / "a.png").stat().st_size > 10_000
    run(*common, "-o", paths / "b.h5", "--steps", 100, "--checkpoint", paths / "b.npz")
    run(*common, "-o", paths / "b.h5", "--steps", 200, "--resume", paths / "b.npz", "--json")
    one, two = (read_trajectory(paths / name)[1] for name in ("a.h5", "b.h5"))
    assert len(one.time) == 10
    np.testing.assert_array_equal(one.positions, two.positions)
    hot = run(*common[:-1], 30, "-o", paths / "c.xyz", "--steps", 200, "--json", code=3)
    assert hot["ending"] in ("hot", "not_finite") and "smaller dt" in hot["error"]
    cell = run(*common, "-o", paths / "d.xyz", "--ensemble", "npt", code=2)
    assert "NPT moves a cell" in cell.stderr


def test_neb_with_its_saddle(paths, plain, known):
    flags = ["-m", "m.nqx", "-o", paths / "path.xyz", "-o", paths / "path.png", "--images", 7, "--saddle", "--json"]
    report = run("neb", paths / "start.xyz", paths / "end.xyz", *flags)
    # The climbing image is above the saddle by F²/2κ at most, 1e-4 eV for forces of 0.02 eV/Å.
    assert report["converged"] and abs(report["barrier_ev"] - (known[1] - known[0])) < 1e-3
    # The ends are converged to 1e-3 eV/Å: energies to F²/2κ, 1e-6 eV.
    assert abs(report["saddle_ev"] - (known[1] - known[0])) < 1e-5
    # Both ways down lead to the ends, which lie as high.
    assert report["joins_ends"] and max(np.abs(report["sides_ev"])) < 1e-5 and max(report["sides_from_ends_a"]) < 0.05
    assert report["files"] == [str(paths / name) for name in ("path.xyz", "path.png", "path-saddle.xyz")]
    assert len(jn.structure.read_all(paths / "path.xyz")) == 7
    assert abs(float(bistable(jnp.asarray(jn.structure.read(paths / "path-saddle.xyz").positions))) - known[1]) < 1e-6
    jn.Structure(["H", "H", "O"], np.eye(3)).write(paths / "other.xyz")
    other = run("neb", paths / "start.xyz", paths / "other.xyz", "-m", "m.nqx", "-o", paths / "no.xyz", code=2)
    assert "end: has other atoms" in other.stderr
    (paths / "path.xyz").unlink()
    kept = run("neb", paths / "start.xyz", paths / "end.xyz", "-m", "m.nqx", "-o", paths / "path.xyz", "--saddle", code=2)
    assert "path-saddle.xyz exists; add --force" in kept.stderr


def test_neb_of_ends_in_another_order(paths, plain, known, monkeypatch):
    """Atoms take the start's order, whatever that of the end; an end that is the start renamed is no path."""
    near = np.asarray(NEAR.positions)
    jn.Structure(["H", "O", "N"], near).write(paths / "start.xyz")
    jn.Structure(["N", "H", "O"], np.stack([near[2], near[1] + near[2] - near[0], near[1]])).write(paths / "end.xyz")
    common = ["-m", "m.nqx", "-o", paths / "path.xyz", "--images", 7, "--match", 10]
    with monkeypatch.context() as elements:
        surface = Surface(bistable, species=("H", "O", "N"))
        elements.setattr("jaxnmr.cli._ways.surface_of", lambda job, structure: surface)
        report = run("neb", paths / "start.xyz", paths / "end.xyz", *common, "--json")
    assert report["converged"] and abs(report["barrier_ev"] - (known[1] - known[0])) < 1e-3
    assert report["order"] == [1, 2, 0]
    assert jn.structure.read(paths / "path.xyz", frame=-1).species == ("H", "O", "N")
    NEAR.write(paths / "start.xyz")
    jn.Structure(["O", "H", "O"], np.stack([near[1], near[1] + near[2] - near[0], near[2]])).write(paths / "end.xyz")
    same = run("neb", paths / "start.xyz", paths / "end.xyz", *common, "--force", code=2)
    assert "match: with like atoms renamed the end is the start" in same.stderr


def test_neb_of_kept_ends_names_the_one_that_is_no_minimum(paths, plain):
    jn.Structure(NEAR.species, np.asarray(NEAR.positions) + np.array([[0.1, 0, 0], [0] * 3, [0] * 3])).write(
        paths / "up.xyz"
    )
    kept = ["-m", "m.nqx", "-o", paths / "path.xyz", "--images", 7, "--keep-ends"]
    up = run("neb", paths / "up.xyz", paths / "end.xyz", *kept, code=2)
    assert "start: is no minimum" in up.stderr and not (paths / "path.xyz").exists()


def test_a_saddle_that_joins_other_minima_is_told():
    """One way down ends 1 eV lower, at a minimum that is no end of the path."""
    apart = np.array([[1.0, 0, 0], [0] * 3, [0] * 3])
    ends = [np.asarray(NEAR.positions), np.asarray(NEAR.positions) + apart]
    path = SimpleNamespace(positions=np.stack(ends), energies=np.array([0.0, 0.3, 0.1]))
    sides = SimpleNamespace(positions=np.stack([ends[0] + 2 * apart, ends[0]]), energy=np.array([-1.0, 0.0]))
    saddle = SimpleNamespace(sides=sides, energy=0.3, curvature=-2.0)
    with pytest.warns(jn.errors.JaxnmrWarning, match=r"saddle: leads down to minima at \+0.0000 and -1.0000 eV"):
        found = _joined(PLAIN, saddle, path)
    assert not found["joins_ends"] and found["sides_from_ends_a"][0] < 1e-6 < 0.5 < found["sides_from_ends_a"][1]


def test_rates(paths, plain, known):
    report = run(
        "rates", paths / "start.xyz", paths / "middle.xyz", "-m", "m.nqx", "--classical", "-o", paths / "k.png", "--json"
    )
    assert abs(report["barrier_ev"] - (known[1] - known[0])) < 1e-5 and report["imaginary_per_cm"] < -100
    assert abs(report["back_barrier_ev"] - report["barrier_ev"]) < 1e-5  # the way back is the mirror image
    t, k = np.array(report["temperatures_k"]), np.array(report["rates_per_s"])
    slope = np.polyfit(1 / t, np.log(k), 1)[0]
    # The molecule's rotation depends on temperature in both alike, so the slope is the barrier.
    assert abs(-slope * 8.617333262e-5 - report["barrier_ev"]) < 1e-6
    assert (paths / "k.png").stat().st_size > 10_000
    wrong = run("rates", paths / "start.xyz", paths / "middle.xyz", "-m", "m.nqx", "--temperatures-k", "warm", code=2)
    assert "temperatures_k: got 'warm'" in wrong.stderr
    # Each of two numbers: the minimum is counted twice too often, the saddle is not.
    half = run("rates", paths / "start.xyz", paths / "middle.xyz", "-m", "m.nqx", "--classical", "--symmetry", 2, "--json")
    np.testing.assert_allclose(half["rates_per_s"], 2 * k, rtol=1e-9)


def test_rates_write_their_points_and_name_their_stages(paths, plain, known, monkeypatch):
    """Minimum, saddle and product as frames with their energies; a terminal reads each stage's own name."""
    said = []

    class Terminal:
        is_terminal = True

        def __init__(self, **settings):
            self.update = said.append

        def status(self, what):
            return nullcontext(self)

    monkeypatch.setattr("rich.console.Console", Terminal)
    report = run("rates", paths / "start.xyz", paths / "middle.xyz", "-m", "m.nqx", "-o", paths / "points.xyz", "--json")
    assert report["files"] == [str(paths / "points.xyz")]
    frames = jn.structure.read_all(paths / "points.xyz")
    energies = [float(bistable(jnp.asarray(frame.positions))) for frame in frames]
    np.testing.assert_allclose(energies, [known[0], known[1], known[0]], atol=1e-6)
    comments = (paths / "points.xyz").read_text().splitlines()[1::5]
    written = [float(line.split(" energy=")[1]) for line in comments]
    np.testing.assert_allclose(written, energies, rtol=1e-12)
    stages = [line.split(":")[0] for line in said]
    assert list(dict.fromkeys(stages)) == [
        "going down to the minimum",
        "looking for the way up",
        "refining the saddle and going down from it",
        "vibrations of the minimum",
        "vibrations of the saddle",
        "vibrations of the product",
    ]
    assert any(line.startswith(stages[0] + ": ") for line in said) and any(" of 500, " in line for line in said)
    kept = ["-m", "m.nqx", "-o", paths / "points.xyz", "--force", "--as-is"]
    places = [np.asarray(frame.positions) for frame in frames]
    for name, place in zip(("low.xyz", "top.xyz"), places, strict=False):
        jn.Structure(NEAR.species, place).write(paths / name)
    run("rates", paths / "low.xyz", paths / "top.xyz", *kept)
    assert len(jn.structure.read_all(paths / "points.xyz")) == 2


def test_rates_at_no_temperature_are_refused_before_any_search(paths, monkeypatch):
    monkeypatch.setattr("jaxnmr.cli._ways.surface_of", lambda job, structure: pytest.fail("a search began"))
    cold = run("rates", paths / "start.xyz", paths / "middle.xyz", "-m", "m.nqx", "--temperatures-k", "300,-5", code=2)
    assert "temperatures_k: got '300,-5'; give temperatures above 0 K" in cold.stderr


def test_a_saddle_of_another_minimum_is_refused():
    sides = SimpleNamespace(energy=np.array([0.3, 0.1]), positions=np.array([[1.0], [2.0]]))
    assert _other_side(SimpleNamespace(energy=0.1), SimpleNamespace(sides=sides)) == [1.0]
    with pytest.raises(Failure, match=r"saddle: leads to minima at \+0.3000 and \+0.1000 eV"):
        _other_side(SimpleNamespace(energy=0.0), SimpleNamespace(sides=sides))


def test_what_is_wrong_is_said_in_one_line(paths, monkeypatch):
    jn.Structure(["Xe"] * 2, np.eye(3)[:2]).write(paths / "xe.xyz")
    unknown = run("minimise", paths / "xe.xyz", "-m", "m.nqx", "-o", paths / "x.xyz", code=2)
    assert "does not know Xe" in unknown.stderr and unknown.stderr.count("\n") == 1
    ending = run("md", paths / "start.xyz", "-m", "m.nqx", "-o", paths / "x.doc", code=2)
    assert "no known ending" in ending.stderr
    monkeypatch.undo()
    (paths / "bad.nqx").write_bytes(b"nothing")
    model = run("minimise", paths / "start.xyz", "-m", paths / "bad.nqx", "-o", paths / "x.xyz", code=2)
    assert "in no known format" in model.stderr and model.stderr.count("\n") == 1
