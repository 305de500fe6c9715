"""Figures: what is drawn where, and how they refuse."""

import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.spectrum import plot_regimes, plot_sites, plot_stack, site_spectra
from tests.systems import relative_l2

pytest.importorskip("matplotlib")

PPM = np.linspace(0.0, 100.0, 201)


@pytest.fixture(autouse=True)
def closed():
    """Figures do not pile up."""
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def bell(at, height=1.0):
    return jn.Spectrum(PPM, PPM * 50, height * np.exp(-(((PPM - at) / 5) ** 2)), isotope="17O")


def test_stack_is_in_rows():
    """Equal distances, one scale, descending ppm, labels in powers of ten where a value is large."""
    ax = plot_stack([bell(30), bell(50, 0.5), bell(70)], [1e2, 1e4, 3e6], overlap=2.0)
    rows = [line.get_ydata() for line in ax.get_lines()]
    np.testing.assert_allclose([row.max() for row in rows], [2, 1 + 1, 2 + 2], atol=1e-6)
    np.testing.assert_allclose([row.min() for row in rows], [0, 1, 2], atol=1e-6)
    assert ax.get_xlim() == (100, 0)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["$10^{2}$", "$10^{4}$", r"$3\times10^{6}$"]
    assert "{17}" in ax.get_xlabel()
    order = [line.get_zorder() for line in ax.get_lines()]
    assert order == sorted(order, reverse=True)  # lower rows in front
    bottom, top = ax.get_ylim()
    assert bottom < 0
    assert top > 4


def test_stack_on_scales_of_their_own():
    """Each row as tall as the others; kHz; plain labels."""
    ax = plot_stack([bell(30), bell(50, 0.1)], [250, 300], name="T / K", unit="hz", same_scale=False)
    np.testing.assert_allclose([line.get_ydata().max() for line in ax.get_lines()], [1.6, 2.6], atol=1e-6)
    assert ax.get_xlim() == (5, 0)
    assert ax.get_ylabel() == "T / K"
    assert [text.get_text() for text in ax.get_yticklabels()] == ["250", "300"]


def test_stack_of_many_names_some():
    """No more labels than fit."""
    ax = plot_stack([bell(50)] * 40, np.arange(40.0))
    assert len(ax.get_yticks()) <= 12
    assert ax.get_figure().get_size_inches()[1] < 8  # a page


@pytest.mark.parametrize(
    ("arguments", "options", "advice"),
    [
        (([], []), {}, "spectra: got none"),
        (([bell(1)], [1, 2]), {}, r"values: got shape \(2,\) for 1"),
        (([bell(1)], [1]), {"overlap": 0.0}, "overlap"),
        (([bell(1)], [1]), {"unit": "eV"}, "unit: got 'eV'"),
    ],
)
def test_stack_refuses(arguments, options, advice):
    """Each message names the argument."""
    with pytest.raises(ValueError, match=advice):
        plot_stack(*arguments, **options)


SITES = jn.Sites("13C", np.array([np.eye(3) * 40.0, np.eye(3) * 90.0]), weights=[0.25, 0.75])
STATIC, AXIS = jn.Static(9.4), jn.Axis(ppm=(400.0, -300.0), points=1401)
OPTIONS = {"linewidth": (300.0, 500.0), "resolution": jn.Resolution(256, samples=1024)}


def test_lines_of_sites():
    """Each where its shift is, as wide and as large as it should be; together the whole."""
    parts = site_spectra(SITES, STATIC, AXIS, **OPTIONS, labels=["a", "b"])
    for part, at, share, width in zip(parts, (40, 90), (0.25, 0.75), (300, 500), strict=True):
        assert abs(float(part.ppm[part.intensity.argmax()]) - at) < 0.3
        # A Lorentzian's height is 2 / (pi FWHM); points are 50 Hz apart.
        np.testing.assert_allclose(float(part.intensity.max()), share * 2 / (np.pi * width), rtol=0.03)
    assert [part.label for part in parts] == ["a", "b"]
    whole = jn.simulate(SITES, STATIC, AXIS, **OPTIONS)
    # The wings past the record's band are put back to first order.
    assert relative_l2(sum(np.asarray(part.intensity) for part in parts), whole.intensity) < 1e-3
    with pytest.raises(ValueError, match="labels: got 1 for 2"):
        site_spectra(SITES, STATIC, AXIS, **OPTIONS, labels=["a"])


def test_plot_of_sites():
    """The first curve is the sum of the others, which hang below it, named in the legend."""
    ax = plot_sites(SITES, STATIC, AXIS, **OPTIONS)
    whole, *parts = (line.get_ydata() for line in ax.get_lines())
    below = parts[0] + parts[1] - whole
    np.testing.assert_allclose(below, below[0], atol=1e-12)
    assert max(part.max() for part in parts) <= whole.min() + 1e-4 * whole.max()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["sum", "site 0", "site 1"]
    left, right = ax.get_xlim()
    assert left > right


def test_map_of_regimes():
    """Lines at 2 pi times each frequency; shades a factor of ten from the splitting."""
    fields = [5.0, 10.0]
    ax = plot_regimes(SITES, jn.MAS(9.4, 15e3), fields, linewidth=300.0, rates=(1.0, 1e12))
    at = {line.get_label(): line.get_xdata() for line in ax.get_lines()}
    larmor = 10.7084e6 * np.array(fields)  # 13C, Hz
    np.testing.assert_allclose(at["Larmor"], 2 * np.pi * larmor, rtol=1e-4)
    np.testing.assert_allclose(at["isotropic"], 2 * np.pi * 50e-6 * larmor, rtol=1e-4)
    np.testing.assert_allclose(at["rotor"], 2 * np.pi * 15e3, rtol=1e-6)
    np.testing.assert_allclose(at["linewidth"], np.pi * 300, rtol=1e-6)
    assert "anisotropic" not in at  # there is none
    slow, middle, fast = (shade.get_paths()[0].vertices[:, 0] for shade in ax.collections)
    assert slow.min() == pytest.approx(1.0)
    np.testing.assert_allclose([slow.max(), middle.max()], 2 * np.pi * 50e-6 * larmor[1] * np.array([0.1, 10]), rtol=1e-4)
    assert fast.max() == pytest.approx(1e12)
    assert ax.get_xscale() == "log"
    assert ax.get_ylim() == (5, 10)


@pytest.mark.parametrize(
    ("fields", "options", "advice"),
    [
        ([9.4], {}, "fields: got 1"),
        ([5.0, 10.0], {"rates": (10.0, 1.0)}, "rates"),
        ([5.0, 10.0], {"pair": (0, 2)}, r"pair: got \(0, 2\)"),
        ([5.0, 10.0], {"pair": (1, 1)}, "two different"),
    ],
)
def test_map_refuses(fields, options, advice):
    """Each message names the argument."""
    with pytest.raises(ValueError, match=advice):
        plot_regimes(SITES, STATIC, fields, linewidth=300.0, **options)
