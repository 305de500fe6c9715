"""`jaxnmr tensors`: parameters known beforehand come back, in each convention."""

import csv
import io
import json

import numpy as np
import pytest
from typer.testing import CliRunner

import jaxnmr as jn
from jaxnmr.cli import _main
from jaxnmr.rotations import euler_to_matrix

runner = CliRunner()

# Principal shieldings 40, 70 and 130 ppm (iso 80); in units of shift with a reference near 200: 160, 130, 70.
PRINCIPAL = np.diag([70.0, 40.0, 130.0])
# |V_zz| >= |V_yy| >= |V_xx|: eta_Q = 0.2.
GRADIENT = np.diag([-0.4, -0.6, 1.0])


def turned(tensor, *degrees):
    r = np.asarray(euler_to_matrix(*np.radians(degrees)))
    return r @ tensor @ r.T


@pytest.fixture
def path(tmp_path):
    """Three oxygens, the second like the first but turned, the third without a field gradient; and a silicon."""
    sigma = np.stack([PRINCIPAL, turned(PRINCIPAL, 30, 40, 50), PRINCIPAL + 5 * np.eye(3), np.eye(3)])
    efg = np.stack(
        [turned(GRADIENT, 0, 35, 0), turned(turned(GRADIENT, 0, 35, 0), 30, 40, 50), np.full((3, 3), np.nan), GRADIENT]
    )
    file = tmp_path / "a.magres"
    positions = np.arange(12.0).reshape(4, 3)
    jn.Structure(["O", "O", "O", "Si"], positions, np.eye(3) * 20, shielding=sigma, efg=efg).write(file)
    return file


def rows(path, *arguments):
    done = runner.invoke(_main.app, ["tensors", str(path), "--isotope", "17O", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_haeberlen_shift_and_coupling(path):
    """sigma_zz is farthest from the mean, so zeta of the shift is -50; eta = (70 - 40) / 50; C_Q by the constant."""
    first, second, third = rows(path, "--reference-ppm", "200", "--atoms", "O_1,O_2,O_3")
    scale = 1 / (1 - 200e-6)
    assert first["atom"] == "O_1"
    np.testing.assert_allclose(first["delta_iso_ppm"], 120 * scale, atol=1e-6)
    np.testing.assert_allclose([first["zeta_ppm"], first["eta"]], [-50 * scale, 0.6], atol=1e-6)
    # C_Q / MHz = 234.965 Q V_zz, Q(17O) = -0.02558 b; magres holds six digits.
    np.testing.assert_allclose([first["c_q_mhz"], first["eta_q"]], [234.965 * -0.02558, 0.2], rtol=1e-3)
    # Rotation changes the angles to the crystal alone. The coupling's z leans by 35 degrees on the shift's.
    for name in ("delta_iso_ppm", "zeta_ppm", "eta", "c_q_mhz", "eta_q", "relative_beta_deg"):
        np.testing.assert_allclose(second[name], first[name], rtol=1e-4, atol=1e-4)
    assert abs(first["relative_beta_deg"] - 35) < 1e-3
    assert abs(second["beta_deg"] - 40) < 1e-3
    assert third["c_q_mhz"] is None
    assert third["relative_beta_deg"] is None
    np.testing.assert_allclose(third["delta_iso_ppm"], 115 * scale, atol=1e-6)


@pytest.mark.parametrize(
    ("convention", "arguments", "expected"),
    [
        (
            "iupac",
            ["--reference-ppm=-1,200"],
            {"delta_iso_ppm": 120, "delta_11_ppm": 160, "delta_22_ppm": 130, "delta_33_ppm": 70},
        ),
        ("herzfeld-berger", ["--reference-ppm=-1,200"], {"delta_iso_ppm": 120, "span_ppm": 90, "skew": 1 / 3}),
        ("haeberlen", [], {"sigma_iso_ppm": 80, "zeta_ppm": 50, "eta": 0.6}),
        ("iupac", [], {"sigma_iso_ppm": 80, "sigma_11_ppm": 40, "sigma_22_ppm": 70, "sigma_33_ppm": 130}),
        ("herzfeld-berger", [], {"sigma_iso_ppm": 80, "span_ppm": 90, "skew": 1 / 3}),
    ],
)
def test_conventions(path, convention, arguments, expected):
    """By hand: Omega = 160 - 70, kappa = 3 (130 - 120) / 90; shieldings where no reference was given."""
    row = rows(path, *arguments, "--convention", convention)[0]
    np.testing.assert_allclose([row[name] for name in expected], list(expected.values()), atol=1e-6)


def test_equivalent_atoms_share_a_row(path):
    """The turned pair is one row of two; the atom without a gradient is left out, since it cannot be compared."""
    (row,) = rows(path, "--merge", "--atoms", "O_1,O_2")
    assert (row["atom"], row["multiplicity"]) == ("O_1", 2)
    np.testing.assert_allclose([row["sigma_iso_ppm"], row["zeta_ppm"]], [80, 50], atol=1e-4)


def test_rows_of_several_sets_keep_their_names(tmp_path):
    """Sets mixed in the file, and mirror-like pairs that differ in the relative orientation alone."""
    kinds = [turned(GRADIENT, 0, 35, 0), turned(GRADIENT, 0, 55, 0), 0.5 * GRADIENT]
    order = [0, 1, 0, 2, 1, 0]
    angles = np.random.default_rng(1).uniform(0, 180, (6, 3))
    sigma = np.stack([turned(PRINCIPAL, *a) for a in angles])
    efg = np.stack([turned(kinds[kind], *a) for kind, a in zip(order, angles, strict=True)])
    jn.Structure(["O"] * 6, np.arange(18.0).reshape(6, 3), np.eye(3) * 30, shielding=sigma, efg=efg).write(
        tmp_path / "b.magres"
    )
    found = rows(tmp_path / "b.magres", "--merge")
    assert [(row["atom"], row["multiplicity"]) for row in found] == [("O_1", 3), ("O_2", 2), ("O_4", 1)]
    np.testing.assert_allclose([row["relative_beta_deg"] for row in found], [35, 55, 0], atol=0.1)


def test_csv_and_table_hold_the_same(path):
    """One header, one line an atom; the table rounds, and marks what is missing."""
    asked = ["tensors", str(path), "--isotope", "17O"]
    table = runner.invoke(_main.app, asked).stdout.splitlines()
    parsed = list(csv.DictReader(io.StringIO(runner.invoke(_main.app, [*asked, "--csv"]).stdout)))
    assert table[0].split() == list(parsed[0])
    assert len(table) == 1 + len(parsed) == 4
    assert table[1].split()[0] == parsed[0]["atom"] == "O_1"
    assert float(table[1].split()[1]) == pytest.approx(float(parsed[0]["sigma_iso_ppm"]), abs=0.005)
    assert "-" in table[3].split()
    assert parsed[2]["c_q_mhz"] == ""


def test_spin_one_half_has_no_coupling(path):
    """29Si: no columns of a quadrupole."""
    done = runner.invoke(_main.app, ["tensors", str(path), "--isotope", "29Si"])
    assert done.exit_code == 0
    assert "c_q_mhz" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["--isotope", "27Al"], "no Al; it has O, Si"),
        (["--isotope", "17X"], "17X"),
        (["--isotope", "17O", "--atoms", "O_7"], "has no 'O_7' (did you mean"),
        (["--isotope", "17O", "--reference-ppm", "a"], "'a' is no number"),
        (["--isotope", "17O", "--json", "--csv"], "choose one"),
        (["--isotope", "17O", "--merge"], "O_3"),
    ],
)
def test_bad_input_is_one_line(path, arguments, advice):
    """Status 2 and what is wrong."""
    done = runner.invoke(_main.app, ["tensors", str(path), *arguments])
    assert done.exit_code == 2, done.output
    assert advice in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_such_file(tmp_path):
    """Named, in one line."""
    done = runner.invoke(_main.app, ["tensors", str(tmp_path / "no.magres"), "--isotope", "17O"])
    assert done.exit_code == 2
    assert "no.magres" in done.stderr
