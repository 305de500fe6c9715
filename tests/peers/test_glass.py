"""Disordered solids against mrsimulator's Czjzek models, static and spinning."""

from __future__ import annotations

import numpy as np
import pytest

from . import glass, mrsim

# The project's bound. mrsimulator's grid is within 1e-3; half its sigma, or twice, scores above 0.3, and a tenth more 3e-2.
TOLERANCE = 1e-2

needs_mrsimulator = pytest.mark.skipif(
    mrsim.installed_version() is None, reason="mrsimulator is not installed (pip install 'jaxnmr[test]')"
)

named = pytest.mark.parametrize("each", glass.GLASSES, ids=lambda each: each.name)


def simulated(each: glass.Glass, scale: float = 1.0) -> np.ndarray:
    """By jaxnmr's constructors and defaults; `scale` multiplies the disorder."""
    import jaxnmr as jn
    from tests.peers.cases import GAMMA

    field = each.field * 1e6 * GAMMA[each.isotope] / abs(jn.isotope(each.isotope).larmor_frequency(1.0))
    if each.mean is None:
        sites = jn.spins.czjzek(each.isotope, scale * each.sigma)
    else:
        c_q, eta, epsilon = each.mean
        mean = jn.Sites(each.isotope, jn.shift_tensor(0.0), jn.quadrupole_tensor(c_q, eta))
        sites = jn.spins.extended_czjzek(mean, epsilon=scale * epsilon)
    start, stop, points = each.axis
    spectrum = jn.simulate(
        sites,
        jn.MAS(field, each.rate) if each.rate else jn.Static(field),
        jn.Axis(hz=(start, stop), points=points),
        linewidth=each.linewidth,
        resolution=jn.Resolution(orientations=1024),
    )
    return np.asarray(spectrum.intensity)


@named
def test_against_stored(each):
    """Each glass against what mrsimulator 1.0.0 gave."""
    assert mrsim.relative_l2(simulated(each), glass.stored_spectrum(each)) < TOLERANCE


def test_another_width_is_seen():
    """A tenth more disorder scores far above the tolerance."""
    each = glass.GLASSES[0]
    assert mrsim.relative_l2(simulated(each, 1.1), glass.stored_spectrum(each)) > 3 * TOLERANCE


@pytest.mark.peer
@needs_mrsimulator
def test_against_installed():
    """The quickest live, on half the stored grid."""
    each = glass.GLASSES[2]
    assert mrsim.relative_l2(simulated(each), glass.spectrum(each, (21, 8))) < TOLERANCE
