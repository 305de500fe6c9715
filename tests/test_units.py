"""Constants hold together, and give the numbers that the field quotes."""

import pytest

from jaxnmr import units


def test_efg_factor():
    """234.965 MHz per barn and atomic unit; a wrong CODATA year would move the eighth digit only."""
    assert units.EFG_AU_TO_HZ_PER_BARN == pytest.approx(234.9647e6, rel=1e-6)
    assert units.EFG_AU == pytest.approx(9.7173624424e21, rel=1e-10)  # tabulated by CODATA 2022 itself


def test_derived_constants():
    """Relations between constants, to the digits given."""
    assert units.HARTREE_IN_EV == pytest.approx(27.211386245981, rel=1e-12)
    assert pytest.approx(1.054571817e-34, rel=1e-9) == units.HBAR
    assert pytest.approx(8.314462618, rel=1e-9) == units.GAS_CONSTANT
    assert units.BOLTZMANN_IN_EV == pytest.approx(8.617333262e-5, rel=1e-9)
    # E_h = ħ² / (m_e a_0²)
    assert pytest.approx(units.HBAR**2 / (units.ELECTRON_MASS * units.BOHR**2), rel=1e-9) == units.HARTREE
    # μ_N = e ħ / (2 m_p)
    proton = 1.67262192595e-27
    magneton = units.ELEMENTARY_CHARGE * units.HBAR / (2 * proton)
    assert pytest.approx(magneton, rel=1e-9) == units.NUCLEAR_MAGNETON


def test_against_scipy():
    """SciPy of the same CODATA year agrees; older SciPy has another year and is left alone."""
    constants = pytest.importorskip("scipy.constants")
    if constants.physical_constants["Bohr radius"][0] != units.BOHR:
        pytest.skip("SciPy's constants are of another CODATA year")
    for name, ours in {
        "Hartree energy": units.HARTREE,
        "electron mass": units.ELECTRON_MASS,
        "atomic mass constant": units.AMU,
        "nuclear magneton": units.NUCLEAR_MAGNETON,
        "vacuum mag. permeability": units.VACUUM_PERMEABILITY,
        "atomic unit of electric field gradient": units.EFG_AU,
    }.items():
        assert ours == pytest.approx(constants.physical_constants[name][0], rel=1e-10)
