"""Sites from files: the right atoms with the right tensors, equivalent ones merged, and what is refused."""

import os
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.errors import JaxnmrWarning
from jaxnmr.rotations import euler_to_matrix
from jaxnmr.spins import Sites
from jaxnmr.spins._align import aligned
from jaxnmr.structure import Structure, read

SHARED = Path(os.environ.get("JAXNMR_DATA", Path(__file__).parents[3] / "shared" / "data"))
EYE = np.eye(3)
NONE = np.full((3, 3), np.nan)


def shared(name):
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"third-party file {path} is not there; set JAXNMR_DATA")
    return path


def turn(seed):
    return np.asarray(euler_to_matrix(*np.random.default_rng(seed).uniform(0, np.pi, 3)))


def shielding(seed):
    """A tensor of some 300 ppm with anisotropic and antisymmetric parts of tens of ppm."""
    return 300 * EYE + np.random.default_rng(seed).normal(scale=30, size=(3, 3))


def gradient(seed):
    v = np.random.default_rng(seed).normal(scale=0.5, size=(3, 3))
    v = v + v.T
    return v - np.trace(v) / 3 * EYE


def structure(species, sigma, efg=None, **rest):
    places = np.arange(3.0 * len(species)).reshape(-1, 3)
    return Structure(species, places, shielding=np.array(sigma), efg=None if efg is None else np.array(efg), **rest)


@pytest.fixture
def ice():
    """Two O with all tensors, one without a gradient, two H with shieldings only."""
    sigma = [shielding(k) for k in range(5)]
    efg = [gradient(1), NONE, gradient(3), NONE, NONE]
    labels = ["O1", "O1", "O2", "H", "H"]
    return structure(["O", "O", "O", "H", "H"], sigma, efg, labels=labels, source="ice.magres")


def test_from_file(tmp_path, ice):
    """A file gives what from_tensors gives for its tensors; those that lack one are named and left out."""
    ice.write(tmp_path / "ice.magres")
    with pytest.warns(JaxnmrWarning, match=r"ice\.magres: O1_2 of 3 O left out, without shielding and field gradient"):
        sites = Sites.read(tmp_path / "ice.magres", "17O", 287.5)
    wanted = Sites.from_tensors("17O", ice.shielding[[0, 2]], ice.efg[[0, 2]], reference=287.5)
    np.testing.assert_array_equal(sites.shift, wanted.shift)
    np.testing.assert_array_equal(sites.quadrupole, wanted.quadrupole)
    assert sites.isotope == "17O" and sites.weights is None
    # A larger shielding is a smaller shift, and a calibration does what it says.
    np.testing.assert_allclose(sites.shift[0], (287.5 * EYE - ice.shielding[0]) / (1 - 287.5e-6), rtol=1e-12)
    line = Sites.read(ice, "1H", (-0.9, 30.0))
    np.testing.assert_allclose(line.shift[1], 30 * EYE - 0.9 * ice.shielding[4], rtol=1e-12)


def test_single_precision(ice):
    """In single precision the tensors are those of double precision, rounded."""
    exact = Sites.read(ice, "17O", 287.5, atoms=[0, 2])
    with jax.enable_x64(False):
        sites = Sites.read(ice, "17O", 287.5, atoms=[0, 2], merge=True)
        assert sites.shift.dtype == sites.weights.dtype == np.float32
        np.testing.assert_allclose(sites.shift, exact.shift, atol=1e-3)


def test_spin_half_needs_no_gradient(ice):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(Sites.read(ice, "1H", 30.0)) == 2


@pytest.mark.parametrize(
    ("atoms", "chosen"),
    [([2, 0], [2, 0]), (["O2_1", "O1_1"], [2, 0]), ("O2", [2]), ([0, "O2"], [0, 2]), (np.array([2]), [2])],
)
def test_atoms(ice, atoms, chosen):
    """By position, name or label, in the order asked for."""
    sites = Sites.read(ice, "17O", 287.5, atoms=atoms)
    np.testing.assert_array_equal(sites.shift, Sites.from_tensors("17O", ice.shielding[chosen], reference=287.5).shift)


def test_isotopes():
    """Atoms of another isotope of the element are not of these sites."""
    s = structure(["H", "H", "H"], [shielding(k) for k in range(3)], isotopes=["2H", None, "1H"])
    assert len(Sites.read(s, "1H", 30.0)) == 2
    with pytest.raises(ValueError, match="atoms: H_1 is 2H, not 1H; leave it out"):
        Sites.read(s, "1H", 30.0, atoms=[0])
    with pytest.raises(ValueError, match="isotope: the structure has no 3H; its isotopes are 1H, 2H"):
        Sites.read(structure(["H", "H"], [shielding(0)] * 2, isotopes=["2H", "1H"]), "3H", 30.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"isotope": "27Al"}, r"isotope: ice\.magres has no Al; it has O, H"),
        ({"isotope": "2H"}, r"isotope: ice\.magres has no electric field gradient of H, which 2H of spin 1 needs; compute"),
        (
            {"reference": None},
            r"reference: missing; .* shielding \+ shift\. The isotropic shieldings here are 2",
        ),
        ({"atoms": ["O3"]}, r"atoms: ice\.magres has no 'O3'; its O are O1_1, O1_2, O2_1"),
        ({"atoms": [5]}, r"atoms: got 5; ice\.magres has 5 atoms, 0 to 4"),
        ({"atoms": [-1]}, "atoms: got -1"),
        ({"atoms": ["H"]}, "atoms: H_1 is H, not 17O; leave it out"),
        ({"atoms": ["O1"]}, r"atoms: O1_2 of ice\.magres lacks shielding and field gradient; leave it out"),
        ({"atoms": [0, "O1_1"]}, "atoms: O1_1 came twice"),
        ({"atoms": []}, "atoms: got none"),
        ({"merge": True, "tolerance": (0.1, 0.0)}, r"tolerance: got \(0\.1, 0\.0\); give two positive numbers"),
    ],
)
@pytest.mark.filterwarnings("ignore::jaxnmr.errors.JaxnmrWarning")
def test_refused(ice, arguments, message):
    with pytest.raises(ValueError, match=message):
        Sites.read(**{"path": ice, "isotope": "17O", "reference": 287.5, **arguments})


def test_no_shielding():
    """A file of field gradients only has no shifts; the message says how to bring one's own."""
    s = structure(["Al"], [NONE], [gradient(0)], source="gehlenite.magres")
    with pytest.raises(ValueError, match=r"gehlenite\.magres has no shielding tensor of Al; it has field gradients"):
        Sites.read(s, "27Al", 550.0)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("shape", ["general", "axial", "axial apart", "no gradient", "isotropic", "antisymmetric only"])
def test_aligned(shape, seed):
    """Tensors turned together come back onto the first ones, however degenerate they are, to rounding."""
    sigma, v = shielding(seed) - 300 * EYE, gradient(seed + 100) * 100
    axis, other = turn(seed)[:, 0], turn(seed + 1)[:, 0]
    if shape == "axial":
        sigma, v = 60 * np.outer(axis, axis), 90 * (np.outer(axis, axis) - EYE / 3)
    elif shape == "axial apart":
        sigma, v = 60 * np.outer(axis, axis), 90 * (np.outer(other, other) - EYE / 3)
    elif shape == "isotropic":
        sigma = 50 * EYE
    elif shape == "antisymmetric only":
        sigma, v = sigma - sigma.T, 90 * (np.outer(axis, axis) - EYE / 3)
    first = np.array([sigma] if shape == "no gradient" else [sigma, v])
    r = turn(seed + 50)
    np.testing.assert_allclose(aligned(r @ first @ r.T, first), first, atol=1e-6)


def test_merge():
    """Turned, mirrored and slightly noisy copies are one site with their number as weight, and the mean is nearer."""
    sigma, v = shielding(0), gradient(0)
    noise = np.random.default_rng(9).normal(scale=0.01, size=(4, 3, 3))
    copies = [turn(k) @ sigma @ turn(k).T + e for k, e in enumerate(noise)]
    copies[3] = -turn(3) @ sigma @ -turn(3).T  # an improper rotation
    efg = [turn(k) @ v @ turn(k).T for k in range(4)]
    s = structure(["O"] * 6, [*copies, shielding(1), shielding(2)], [*efg, gradient(1), v])
    sites = Sites.read(s, "17O", 287.5, merge=True)
    assert len(sites) == 3
    np.testing.assert_allclose(sites.weights, [4 / 6, 1 / 6, 1 / 6], rtol=1e-12)
    wanted = Sites.from_tensors("17O", turn(0) @ sigma @ turn(0).T, efg[0], reference=287.5)
    np.testing.assert_allclose(sites.shift[0], wanted.shift[0], atol=0.03)  # several times the noise
    np.testing.assert_allclose(sites.quadrupole[0], wanted.quadrupole[0], atol=5e-4 * 6e6)
    assert len(Sites.read(s, "17O", 287.5, merge=True, tolerance=(1e-3, 5e-4))) == 6
    assert len(Sites.read(s, "17O", 287.5)) == 6


@pytest.mark.parametrize("what", ["gradient turned", "antisymmetric part turned", "antisymmetric part opposite"])
def test_not_merged(what):
    """Each tensor alone has the same invariants, the pair has not."""
    sigma, v = shielding(0), gradient(0)
    symmetric, skew = (sigma + sigma.T) / 2, (sigma - sigma.T) / 2
    other, w = sigma, v
    if what == "gradient turned":
        w = turn(1) @ v @ turn(1).T
    elif what == "antisymmetric part turned":
        other = symmetric + turn(1) @ skew @ turn(1).T
    else:
        other = symmetric - skew
    assert len(Sites.read(structure(["O"] * 2, [sigma, other], [v, w]), "17O", 287.5, merge=True)) == 2


def test_merged_spectrum():
    """The powder spectrum of merged sites is that of all of them."""
    sigma, v = shielding(0) / 3, gradient(0) / 3
    copies = [(turn(k) @ sigma @ turn(k).T, turn(k) @ v @ turn(k).T) for k in range(3)]
    s = structure(["O"] * 4, [*(c[0] for c in copies), shielding(1) / 3], [*(c[1] for c in copies), gradient(1) / 3])
    axis = jn.Axis(ppm=(500.0, -300.0), points=256)
    spectra = [
        np.asarray(jn.simulate(Sites.read(s, "17O", 200.0, merge=m), jn.MAS(14.1, np.inf), axis, linewidth=800.0).intensity)
        for m in (True, False)
    ]
    # Left over is the powder average's error, 1e-4; equal weights for the two sites would cost 0.4.
    assert np.linalg.norm(spectra[0] - spectra[1]) < 1e-3 * np.linalg.norm(spectra[1])


@pytest.mark.parametrize(
    ("name", "isotope", "sites"),
    [
        # AlPO-14 is P-1: two of each; 48 atoms.
        ("simpyson/AlPO-14.magres", "27Al", 4),
        ("simpyson/AlPO-14.OUTCAR", "27Al", 4),
        ("simpyson/AlPO-14.magres", "31P", 4),
        ("simpyson/AlPO-14.magres", "17O", 16),
        # P2_1/n with four operations; 288 atoms.
        ("spinach/alsilicate.magres", "29Si", 23),
        ("spinach/alsilicate.magres", "27Al", 1),
        # A threefold screw axis.
        ("spinach/mhc.magres", "1H", 6),
    ],
)
def test_multiplicities(name, isotope, sites):
    """The symmetry of real crystals, found from the tensors alone."""
    merged = Sites.read(shared(name), isotope, 300.0, merge=True)
    assert len(merged) == sites
    np.testing.assert_allclose(merged.weights, 1 / sites)


def test_glued_labels_of_a_real_file():
    """Atom 100 and its neighbours, whose labels and indices have run together."""
    s = read(shared("spinach/alsilicate.magres"))
    assert len(Sites.read(s, "17O", 290.0, atoms=["O_99", "O_100", "O_192"])) == 3


@pytest.mark.parametrize(("field", "rate", "measured"), [(14.1, 30e3, 0.030), (9.4, 12.5e3, 0.039)])
def test_two_programs_one_spectrum(field, rate, measured):
    """27Al of AlPO-14 by CASTEP and by VASP, once each has its reference: relative L2 of the MAS spectra.

    One number is fitted, the mean shielding. Left over are 0.1 ppm of scatter and 4 % of the field gradients. With the
    reference of the other program the spectra differ by 0.74 and 0.51.
    """
    castep, vasp = (read(shared(f"simpyson/AlPO-14.{suffix}")) for suffix in ("magres", "OUTCAR"))
    mean = [np.trace(s.shielding[[e == "Al" for e in s.species]], axis1=1, axis2=2).mean() / 3 for s in (castep, vasp)]
    axis = jn.Axis(ppm=(90.0, -20.0), points=1024)
    a, b = (
        np.asarray(
            jn.simulate(Sites.read(s, "27Al", 50 + m, merge=True), jn.MAS(field, rate), axis, linewidth=400.0).intensity
        )
        for s, m in zip((castep, vasp), mean, strict=True)
    )
    assert np.linalg.norm(a - b) / np.linalg.norm(a) == pytest.approx(measured, abs=0.005)
