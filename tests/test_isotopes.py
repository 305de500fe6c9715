"""The isotope table: what it must hold, how it is asked, and second opinions on its numbers."""

import dataclasses
import subprocess
import sys
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnmr import units
from jaxnmr.isotopes import Isotope, isotope, isotopes

IN_USE = """1H 2H 6Li 7Li 10B 11B 13C 14N 15N 17O 19F 23Na 25Mg 27Al 29Si 31P 33S 35Cl 37Cl 39K 43Ca 45Sc
47Ti 49Ti 51V 55Mn 59Co 63Cu 65Cu 67Zn 69Ga 71Ga 77Se 79Br 81Br 85Rb 87Rb 87Sr 89Y 91Zr 93Nb 95Mo 109Ag 113Cd
115In 119Sn 121Sb 125Te 127I 129Xe 133Cs 137Ba 139La 183W 195Pt 199Hg 203Tl 205Tl 207Pb 209Bi""".split()


@pytest.mark.parametrize("name", IN_USE)
def test_has_the_isotopes_in_use(name):
    assert isotope(name).name == name


def test_table_is_sane():
    """Spins fit the mass number, Q is zero for spin 1/2 alone, abundances of an element do not pass one."""
    assert len(isotopes()) == len(set(isotopes())) >= 110
    totals = {}
    for name in isotopes():
        nucleus = isotope(name)
        assert name == f"{nucleus.mass_number}{nucleus.symbol}"
        assert (round(2 * nucleus.spin) % 2 == 1) == (nucleus.mass_number % 2 == 1)
        assert nucleus.is_quadrupolar == (nucleus.spin > 0.5) == (nucleus.quadrupole_moment != 0)
        assert 3e6 < abs(nucleus.gamma) < 3e8
        totals[nucleus.symbol] = totals.get(nucleus.symbol, 0) + nucleus.abundance
    assert max(totals.values()) <= 1 + 1e-9


@pytest.mark.parametrize("name", ["17O", "O17", "o-17", "O-17", "17o", " 17 O "])
def test_spellings(name):
    assert isotope(name) is isotope("17O")


def test_oxygen():
    """The numbers themselves, once."""
    oxygen = isotope("17O")
    assert (oxygen.symbol, oxygen.mass_number, oxygen.spin) == ("O", 17, 2.5)
    assert oxygen.gamma == pytest.approx(-3.62808e7)
    assert oxygen.quadrupole_moment == pytest.approx(-0.02558)
    assert oxygen.abundance == pytest.approx(0.00038)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("16O", "'16O', which has spin 0; use '17O'"),
        ("12C", "spin 0; use '13C'"),
        ("14Si", "use '29Si'"),
        ("26Al", "not in the table; use '27Al'"),
        ("O", "without a mass number; use '17O'"),
        ("17Q", "did you mean '17O'"),
        ("17", "use a mass number"),
        ("", "use a mass number"),
    ],
)
def test_unknown(name, says):
    with pytest.raises(ValueError, match="isotope: got") as caught:
        isotope(name)
    assert says in str(caught.value)


def test_own_isotope():
    """Other constants are a new object; impossible ones are refused."""
    oxygen = dataclasses.replace(isotope("17O"), quadrupole_moment=-0.0256)
    assert isotope(oxygen) is oxygen
    with pytest.raises(ValueError, match="spin: got 0"):
        Isotope("16O", "O", 16, 0.0, 0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="quadrupole_moment"):
        dataclasses.replace(isotope("1H"), quadrupole_moment=0.1)


def test_larmor_frequency():
    """600 MHz for protons at 14.1 T; negative where gamma is; linear for tracers."""
    assert isotope("1H").larmor_frequency(14.1) == pytest.approx(600.34e6, rel=1e-5)
    assert isotope("17O").larmor_frequency(14.1) == pytest.approx(-81.418e6, rel=1e-4)
    slope = jax.jit(jax.grad(isotope("29Si").larmor_frequency))(jnp.asarray(9.4))
    assert float(slope) == pytest.approx(isotope("29Si").gamma / (2 * np.pi))


def test_needs_no_jax():
    """The table answers without jax."""
    code = "import sys, jaxnmr.isotopes as i; i.isotope('17O'); assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# What another table has wrong, or has from another measurement, and why.
MENDELEEV_GAMMA = {
    "109Ag": "its g factor lacks the sign",
    "147Sm": "Harris et al. hold an older moment, 0.7 % apart",
    "149Sm": "Harris et al. hold an older moment, 0.6 % apart",
    "155Gd": "Harris et al. hold an older moment, 0.7 % apart",
    "157Gd": "Harris et al. hold an older moment, 0.7 % apart",
    "197Au": "Harris et al. hold an older moment, 2 % apart",
    "207Pb": "Harris et al. hold an older moment, 1.4 % apart",
}
MENDELEEV_MOMENT = {
    "33S": "ten times too large",
    "39K": "ten times too large",
    "40K": "ten times too large",
    "41K": "ten times too large",
    "138La": "another measurement, 390 mb",
    "141Pr": "another measurement, -77 mb",
    "143Nd": "another measurement, -610 mb",
    "145Nd": "another measurement, -314 mb",
    "185Re": "another measurement, 2070 mb",
    "187Re": "another measurement, 1940 mb",
}
MENDELEEV_ABUNDANCE = {
    name: "the middle of the interval of natural variation, not the representative value"
    for name in ("2H", "3He", "6Li", "7Li", "10B", "11B", "13C", "15N", "17O", "33S")
} | {"3H": "none", "99Tc": "none"}


@pytest.fixture(scope="module")
def second_opinion():
    """Spin, gamma, Q and abundance of every isotope, from mendeleev."""
    fetch = pytest.importorskip("mendeleev.fetch")
    symbols = dict(fetch.fetch_table("elements")[["atomic_number", "symbol"]].itertuples(index=False))
    rows = fetch.fetch_table("isotopes").itertuples()
    return {f"{row.mass_number}{symbols[row.atomic_number]}": row for row in rows}


@pytest.mark.peer
def test_spins_against_mendeleev(second_opinion):
    assert {n: isotope(n).spin for n in isotopes()} == {n: Fraction(second_opinion[n].spin) for n in isotopes()}


@pytest.mark.peer
def test_gammas_against_mendeleev(second_opinion):
    """gamma = g mu_N / hbar within 0.5 %, the size of the diamagnetic corrections that tables disagree on."""
    off = {}
    for name in isotopes():
        theirs = second_opinion[name].g_factor * units.NUCLEAR_MAGNETON / units.HBAR
        if abs(isotope(name).gamma / theirs - 1) > 5e-3:
            off[name] = isotope(name).gamma / theirs
    assert not off.keys() - MENDELEEV_GAMMA.keys(), off


@pytest.mark.peer
def test_moments_against_mendeleev(second_opinion):
    """Q within 1.5 % (of the rounding of that table: 115 in 114.6 mb); a sign or a digit shows."""
    off = {}
    for name in isotopes():
        theirs, ours = second_opinion[name].quadrupole_moment, isotope(name).quadrupole_moment
        if abs(ours - theirs) > 1.5e-2 * abs(ours):
            off[name] = (ours, theirs)
    assert not off.keys() - MENDELEEV_MOMENT.keys(), off


@pytest.mark.peer
def test_abundances_against_mendeleev(second_opinion):
    """Natural fractions within 0.3 % of themselves."""
    off = {}
    for name in isotopes():
        theirs, ours = second_opinion[name].abundance, isotope(name).abundance
        if not abs(100 * ours - theirs) <= 3e-3 * theirs:
            off[name] = (ours, theirs)
    assert not off.keys() - MENDELEEV_ABUNDANCE.keys(), off


@pytest.mark.peer
def test_frequencies_against_mrsimulator():
    """gamma within 2 % of mrsimulator's; its Q are older, so only their signs and scale are asked."""
    peer = pytest.importorskip("mrsimulator.spin_system.isotope").ISOTOPE_DATA
    shared = [name for name in isotopes() if name in peer]
    assert len(shared) > 100
    for name in shared:
        ours, theirs = isotope(name), peer[name]
        assert (theirs["spin_multiplicity"] - 1) / 2 == ours.spin
        assert ours.gamma / (2e6 * np.pi) == pytest.approx(theirs["gyromagnetic_ratio"], rel=2e-2), name
        if ours.is_quadrupolar:
            assert 0.6 < theirs["quadrupole_moment"] / ours.quadrupole_moment < 1.5, name
