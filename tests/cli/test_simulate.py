"""`jaxnmr simulate`: what it computes from flags and files, what it writes, and how it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import jaxnmr as jn
from jaxnmr import compiling
from jaxnmr.cli import _main, _outputs, _problem, _run, _simulate
from jaxnmr.cli._config import checked
from jaxnmr.cli._stack import Stack
from jaxnmr.cli._summary import summary

runner = CliRunner()

# Two lines without anisotropy, whose positions nobody need compute.
SMALL = ["--orientations", "256", "--points", "401", "--samples", "1024"]
LINES = ["--isotope", "13C", "--field-t", "9.4", "--shift-ppm", "110,160", "--linewidth-hz", "300"]
BASE = [*LINES, "--axis", "ppm:185:85", *SMALL]

TOML = """
[experiment]
isotope = "13C"
field_t = 9.4
linewidth_hz = 700

[[site]]
shift_ppm = 110
[[site]]
shift_ppm = 160

[exchange]
jumps = ["0-1"]
k_per_s = [1, 1e7]

[axis]
ppm = [185, 85]
points = 401

[resolution]
orientations = 256
samples = 1024

[output]
files = ["line.csv"]
"""


def simulate(*arguments):
    return runner.invoke(_main.app, ["simulate", *map(str, arguments)])


def report(*arguments):
    done = simulate(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def no_work(monkeypatch):
    """Whoever compiles has worked."""
    monkeypatch.setattr(_run.Program, "compiled", lambda self: pytest.fail("compiled"))


def test_flags_give_lines_where_they_were_put(tmp_path):
    """Peaks, centre of gravity and area of two isotropic lines; a figure and data that read back; times apart."""
    picture, table = tmp_path / "line.png", tmp_path / "line.csv"
    found = report(*BASE, "--weights", "0.25,0.75", "--output", picture, "-o", table)
    (row,) = found["spectra"]
    # The tail of the other line moves a peak by 0.01 ppm; points are 0.25 ppm apart.
    np.testing.assert_allclose(row["peaks_ppm"], [160, 110], atol=0.05)
    # Lorentzian tails are cut at 25 ppm (2.5 kHz) on either side: 6 % of the area, evenly but for the weights.
    assert abs(row["centre_of_gravity_ppm"] - 147.5) < 1
    assert 0.9 < row["area"] < 0.99
    assert found["isotope"] == "13C"
    assert found["populations"] == [0.25, 0.75]
    assert set(found["times"]) == {"start_up_s", "compile_s", "run_s"}
    assert picture.read_bytes().startswith(b"\x89PNG")
    line = jn.Spectrum.load(table)
    assert (line.isotope, float(line.field), len(line.ppm)) == ("13C", 9.4, 401)
    assert abs(float(line.ppm[line.intensity.argmax()]) - 160) < 0.3


def test_rates_from_a_file(tmp_path):
    """Slow: two lines; fast: one at the mean; a data file each, beside the TOML; a flag wins over the file."""
    (tmp_path / "a.toml").write_text(TOML)
    found = report(tmp_path / "a.toml", "--linewidth-hz", "300", "-o", tmp_path / "stack.svg", "-o", tmp_path / "b.csv")
    slow, fast = found["spectra"]
    np.testing.assert_allclose(sorted(slow["peaks_ppm"]), [110, 160], atol=0.05)
    np.testing.assert_allclose(fast["peaks_ppm"], [135], atol=0.05)
    assert [slow["k_per_s"], fast["k_per_s"]] == [1, 1e7]
    assert [Path(name).name for name in (*slow["files"], *fast["files"])] == ["b-k1.csv", "b-k1e+07.csv"]
    assert not (tmp_path / "line-k1.csv").exists()  # --output wins too
    line = jn.Spectrum.load(tmp_path / "b-k1e+07.csv")
    # FWHM of 300 Hz and not 700: height 2 / (pi FWHM), plus 4 pi p1 p2 dnu^2 / k_ex = 0.4 Hz.
    np.testing.assert_allclose(float(line.intensity.max()), 2 / (np.pi * 300), rtol=0.03)
    assert b"<svg" in (tmp_path / "stack.svg").read_bytes()


def test_flags_reach_the_library_with_their_units(monkeypatch, no_work):
    """Degrees, per-site values and Euler angles: what the library is asked with radians."""
    seen = []
    real = _problem.stated
    monkeypatch.setattr(_problem, "stated", lambda config: seen.append(real(config)) or seen[0])
    asked = [
        *("--isotope", "17O", "--field-t", "14.1", "--rate-hz", "20e3", "--shift-ppm", "110,160", "--zeta-ppm", "-90"),
        *(
            "--eta",
            "0.4",
            "--euler-deg",
            "10,20,30",
            "--cq-hz",
            "7e6,6e6",
            "--eta-q",
            "0.3",
            "--euler-q-deg",
            "0,0,0; 0,109,20",
        ),
        *("--exchange", "0-1:1e4", "--populations", "0.4,0.6", "--linewidth-hz", "2000,3000", "--gaussian-hz", "500"),
        *("--axis", "hz:20e3:-10e3", "--points", "64", "--angle-deg", "50", "--transition", "3/2,1/2"),
        *("--orientations", "64", "--phases", "128", "--samples", "1024", "--substeps", "1"),
    ]
    assert simulate(*asked, "--dry-run").exit_code == 0
    (job,) = seen
    angles = np.radians([[10.0, 20.0, 30.0]] * 2)
    shift = jn.shift_tensor(np.array([110.0, 160.0]), -90.0, 0.4, euler=angles)
    coupling = jn.quadrupole_tensor(np.array([7e6, 6e6]), 0.3, euler=np.radians([[0.0, 0.0, 0.0], [0.0, 109.0, 20.0]]))
    np.testing.assert_allclose(np.asarray(job.sites.shift), np.asarray(shift), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(np.asarray(job.sites.quadrupole), np.asarray(coupling), rtol=1e-10, atol=1e-4)
    assert (job.experiments[0].field, job.experiments[0].rate) == (14.1, 20e3)
    np.testing.assert_allclose(job.experiments[0].angle, np.radians(50))
    assert job.experiments[0].transition == (1.5, 0.5)
    # 0 -> 1 at 1e4, the way back by 0.4 k01 = 0.6 k10.
    np.testing.assert_allclose(np.asarray(job.models[0].rates), [[-1e4, 2e4 / 3], [1e4, -2e4 / 3]])
    assert (job.linewidth, job.gaussians[0]) == ((2000, 3000), 500)
    np.testing.assert_array_equal(job.axis.ends, [20e3, -10e3])
    assert (job.axis.unit, job.axis.points) == ("hz", 64)
    assert job.resolution == jn.Resolution(64, 128, 1024, 1)


def test_cycles_of_rates_are_looked_at(no_work):
    """Rates round a ring that break detailed balance are refused though each is fine."""
    ring = [*BASE, "--shift-ppm", "110,140,160", "--dry-run"]
    for jump in ("0-1:1e4", "1-0:1e4", "1-2:1e4", "2-1:1e4", "2-0:1e4"):
        ring += ["--exchange", jump]
    assert simulate(*ring, "--exchange", "0-2:1e4").exit_code == 0
    done = simulate(*ring, "--exchange", "0-2:5e4")
    assert done.exit_code == 2
    assert "balance" in done.stderr


def test_dry_run_computes_and_writes_nothing(tmp_path, no_work):
    """Sizes, memory and names of files; nothing on the disc."""
    (tmp_path / "a.toml").write_text(TOML)
    found = report(tmp_path / "a.toml", "--dry-run")
    assert found["sizes"]["sites"] == 2
    assert found["sizes"]["orientations"] == 256
    assert found["sizes"]["spectra"] == 2
    assert [Path(name).name for name in found["would_write"]] == ["line-k1.csv", "line-k1e+07.csv"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.toml"]


@pytest.fixture(scope="module")
def program():
    """Two sites that jump, sizes chosen and traced."""
    tables = {
        "experiment": {"isotope": "13C", "field_t": 9.4, "linewidth_hz": 300},
        "site": [{"shift_ppm": 110, "zeta_ppm": 10}, {"shift_ppm": 160}],
        "axis": {"ppm": [185, 85], "points": 401},
        "resolution": {"orientations": 256, "samples": 1024},
        "exchange": {"jumps": ["0-1:1e4"]},
    }
    return _run.prepared(_problem.stated(checked(tables, "")))


def test_memory_is_of_the_size_that_the_compiler_plans(program):
    """Within a factor of four of XLA's own figure, both ways: of the largest operation, not of all."""
    planned = program.traced.lower().compile().memory_analysis().temp_size_in_bytes
    assert planned / 4 < _run.memory(program) < 4 * planned


def test_quick_compilation_changes_nothing_but_rounding(program, monkeypatch):
    """The same spectrum as fully optimised; options that this XLA does not know are left out."""
    ((quick, _),) = program.spectra(program.compiled())
    job = program.job
    # The tests' own flags are those of quick compilation.
    thorough = program.traced.lower().compile({"xla_backend_optimization_level": 3, "xla_cpu_use_fusion_emitters": True})
    plain = thorough(job.sites, job.experiments[0], job.models[0], job.gaussians[0])
    np.testing.assert_allclose(np.asarray(quick.intensity), np.asarray(plain.intensity), rtol=1e-9)
    monkeypatch.setattr(compiling, "QUICK", {"xla_no_such_option": 1})
    assert not compiling.known.__wrapped__()
    monkeypatch.setattr(_run, "known", lambda: False)
    ((other, _),) = program.spectra(program.compiled())
    np.testing.assert_allclose(np.asarray(other.intensity), np.asarray(plain.intensity), rtol=1e-9)


def test_what_came_before_a_crash_is_kept(tmp_path, monkeypatch):
    """Each spectrum is on the disc before the next is computed."""
    (tmp_path / "a.toml").write_text(TOML)
    real = _run.Program.spectra

    def breaks(self, compiled):
        yield next(real(self, compiled))
        raise KeyboardInterrupt

    monkeypatch.setattr(_run.Program, "spectra", breaks)
    assert simulate(tmp_path / "a.toml").exit_code != 0
    assert jn.Spectrum.load(tmp_path / "line-k1.csv").label == "k = 1 /s"
    assert not (tmp_path / "line-k1e+07.csv").exists()


@pytest.mark.parametrize("name", ["line.csv", "line.spe", "line.png"])
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch, name):
    """A disc that fills up leaves the old file, and no other."""
    path = tmp_path / name
    path.write_text("old")
    line = jn.Spectrum(np.linspace(9.0, 0.0, 10), np.linspace(900.0, 0.0, 10), np.ones(10), isotope="13C", field=9.4)

    def full(handle):
        raise OSError(28, "No space left on device", name)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        if path.suffix == ".png":
            _outputs.draw([line], Stack(), path, "ppm")
        else:
            _outputs.save(line, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_is_one_line(tmp_path, monkeypatch):
    """Status 2, the file and the reason."""

    def full(config, **options):
        raise OSError(28, "No space left on device", "line.csv")

    monkeypatch.setattr(_simulate, "simulate", full)
    done = simulate(*BASE)
    assert done.exit_code == 2
    assert done.stderr.strip() == "jaxnmr simulate: line.csv: No space left on device"


def test_force_replaces(tmp_path, no_work):
    """Refused without, accepted with."""
    path = tmp_path / "line.csv"
    path.write_text("old")
    refused = simulate(*BASE, "-o", path)
    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    assert path.read_text() == "old"
    assert simulate(*BASE, "-o", path, "--force", "--dry-run").exit_code == 0


REFUSED = {
    "no site": ([*LINES[:4], *LINES[6:], "--axis", "ppm:1:0"], "--shift-ppm"),
    "no isotope": ([*LINES[2:], "--axis", "ppm:1:0"], "experiment.isotope: missing; give --isotope"),
    "no axis": (LINES, "axis: missing; give --axis"),
    "no field": ([*LINES[:2], *LINES[4:], "--axis", "ppm:1:0"], "give --field-t"),
    "isotope": ([*BASE, "--isotope", "13D"], "13D"),
    "field": ([*BASE, "--field-t", "-1"], "field_t: got -1"),
    "shift": ([*BASE, "--shift-ppm", "110,x"], "'x' is no number"),
    "nan": ([*BASE, "--shift-ppm", "nan"], "--shift-ppm: got 'nan'"),
    "eta": ([*BASE, "--eta", "1.5"], "site[0].eta: got 1.5"),
    "lengths": ([*BASE, "--zeta-ppm", "1,2,3"], "--zeta-ppm: got 3 values for 2 sites"),
    "angles": ([*BASE, "--euler-deg", "1,2"], "--euler-deg: got 2 angles"),
    "spin 1/2": ([*BASE, "--cq-hz", "1e6"], "cq_hz: got 1e+06, but 13C has spin 1/2"),
    "axis unit": ([*BASE, "--axis", "300:-100"], "ppm:300:-100"),
    "axis ends": ([*BASE, "--axis", "ppm:3:3"], "two different finite ends"),
    "points": ([*BASE, "--points", "1"], "axis.points: got 1"),
    "width": ([*BASE, "--linewidth-hz", "0"], "linewidth: got 0 Hz"),
    "transition": ([*BASE, "--transition", "3/2,1/2"], "13C"),
    "jump text": ([*BASE, "--exchange", "0:1e4"], "from-to:rate"),
    "jump index": ([*BASE, "--exchange", "0-2:1e4"], "'0-2:1e4' names site 2, but there are 2 sites, 0 to 1"),
    "jump to itself": ([*BASE, "--exchange", "1-1:1e4"], "to itself"),
    "jump twice": ([*BASE, "--exchange", "0-1:1e4", "--exchange", "0-1:2e4"], "came twice"),
    "negative rate": ([*BASE, "--exchange", "0-1:-1e4"], "finite and >= 0"),
    "no rate": ([*BASE, "--exchange", "0-1"], "0-1 has no rate"),
    "no jump": ([*BASE, "--k-per-s", "1,2"], "without jumps"),
    "no open jump": ([*BASE, "--exchange", "0-1:1e4", "--k-per-s", "1,2"], "rate of its own"),
    "populations": ([*BASE, "--exchange", "0-1:1e4", "--populations", "1"], "got 1 for 2 sites"),
    "suffix": ([*BASE, "-o", "line.pgn"], "did you mean '.png'"),
    "folder": ([*BASE, "-o", "nowhere/line.csv"], "nowhere does not exist"),
    "twice": ([*BASE, "-o", "line.csv", "-o", "./line.csv"], "written twice"),
    "structure": ([*LINES[:4], *LINES[6:], "--axis", "ppm:1:0", "--structure", "no.magres"], "no.magres"),
    "both": ([*BASE, "--structure", "no.magres"], "together with --structure"),
    "config": (["nothere.toml"], "nothere.toml: no such file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_flags_are_one_line(case, tmp_path, monkeypatch, no_work):
    """Status 2, one line on stderr that names what is wrong, nothing on stdout."""
    monkeypatch.chdir(tmp_path)
    arguments, advice = REFUSED[case]
    done = simulate(*arguments)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert advice in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("jaxnmr simulate: ")


@pytest.mark.parametrize(
    ("old", "new", "advice"),
    [
        ("linewidth_hz", "linewidht_hz", "'experiment.linewidht_hz' (did you mean 'linewidth_hz'?)"),
        ("[exchange]", "[exchagne]", "'exchagne' (did you mean 'exchange'?)"),
        ("shift_ppm = 160", "shift_pm = 160", "'site[1].shift_pm' (did you mean 'shift_ppm'?)"),
        ("points = 401", "points = 'many'", "axis.points: got 'many'"),
        ("field_t = 9.4", "field_t = ", "not TOML"),
        ("[axis]", "axis = 3\n[axes]", "axis"),
    ],
)
def test_bad_files_are_one_line(old, new, advice, tmp_path, no_work):
    """The key that is wrong, and the nearest one."""
    path = tmp_path / "a.toml"
    path.write_text(TOML.replace(old, new, 1))
    done = simulate(path)
    assert done.exit_code == 2, done.output
    assert len(done.stderr.splitlines()) == 1
    assert advice in done.stderr


def test_structure_of_computed_tensors(tmp_path, no_work):
    """Sites, their shares and the reference from a magres file; what is missing is named, with the flag."""
    sigma = np.stack([np.eye(3) * 80.0, np.eye(3) * 80.0, np.eye(3) * 30.0])
    path = tmp_path / "a.magres"
    jn.Structure(["C"] * 3, np.arange(9.0).reshape(3, 3), shielding=sigma).write(path)
    asked = ["--isotope", "13C", "--field-t", "9.4", "--linewidth-hz", "300", "--axis", "ppm:80:200", *SMALL]
    found = report(*asked, "--structure", path, "--reference-ppm", "190", "--merge", "--dry-run")
    np.testing.assert_allclose(found["populations"], [2 / 3, 1 / 3])
    assert not found["warnings"]  # the lines, 110 and 160 ppm, are in the window; an ascending one is as good
    for arguments, advice in (
        ([], "The flag is --reference-ppm"),
        (["--reference-ppm", "1,2,3"], "slope,intercept"),
        (["--reference-ppm", "190", "--atoms", "C_9"], "C_9"),
        (["--reference-ppm", "190", "--isotope", "29Si"], "no Si; it has C"),
        (["--reference-ppm", "190", "--merge", "--exchange", "0-1:1"], "structure.merge"),
    ):
        done = simulate(*asked, "--structure", path, *arguments)
        assert done.exit_code == 2
        assert advice in done.stderr
    missed = report(*asked, "--structure", path, "--reference-ppm", "1900", "--dry-run")
    assert "misses the line" in missed["warnings"][0]


def test_summary_of_known_lines():
    """Vertices between points, the higher first; a ripple is no peak."""
    ppm = np.linspace(100.0, 0.0, 501)
    bell = lambda at, height: height * np.exp(-(((ppm - at) / 3) ** 2))  # noqa: E731
    y = bell(70.07, 1.0) + bell(30.03, 0.5) + 0.002 * np.sin(ppm)
    found = summary(jn.Spectrum(ppm, ppm * 100, y))
    # Points are 0.2 ppm apart: without the parabola the error would be up to 0.1.
    np.testing.assert_allclose(found.peaks_ppm, [70.07, 30.03], atol=0.02)
    assert abs(found.centre_of_gravity_ppm - (70.07 + 0.5 * 30.03) / 1.5) < 0.1
    np.testing.assert_allclose(found.area, 1.5 * 3 * np.sqrt(np.pi) * 100, rtol=1e-3)


def test_help_of_commands_loads_nothing_heavy():
    """Flags are described before jax or numpy are imported."""
    code = (
        "import sys\nfrom jaxnmr.cli import main\n"
        "for command in ('simulate', 'tensors'):\n"
        "    sys.argv = ['jaxnmr', command, '--help']\n"
        "    try:\n        main()\n    except SystemExit:\n        pass\n"
        "print('loaded', [n for n in ('jax', 'numpy', 'matplotlib') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "--field-t" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded []"
