"""Figures of fits: what stands in them, by the numbers of their lines."""

import numpy as np
import pytest

from jaxnmr.fitting import LogRate, Positive, Samples, fit, profile
from tests.systems.doublet import LARMOR, PPM, START, clean, doublet, noisy

plt = pytest.importorskip("matplotlib.pyplot")
figures = pytest.importorskip("matplotlib.figure")

RATES = {"k": LogRate(), "lw": Positive()}
SIGMA = 0.02


@pytest.fixture(scope="module")
def found():
    """One line, part of which is left out."""
    return fit(doublet, START, noisy(clean(), SIGMA, 1), constraints=RATES, regions=(35.0, -30.0))


@pytest.fixture(autouse=True)
def closed():
    """No figure is left open."""
    yield
    plt.close("all")


def test_fit_and_residual(found):
    """Measured, fit and residual over the noise, ppm descending; nothing where points do not count."""
    figure = found.plot()
    upper, lower = figure.axes
    data, line, dotted = (np.asarray(each.get_ydata(), float) for each in upper.lines)
    np.testing.assert_allclose(data, noisy(clean(), SIGMA, 1).intensity, atol=1e-6)
    used = (PPM <= 35) & (PPM >= -30)
    np.testing.assert_allclose(line[used], np.asarray(found.spectrum.intensity)[used])
    assert np.isnan(line[~used]).all() and np.isnan(dotted[used]).all() and not np.isnan(dotted[~used]).any()
    (residual,) = (np.asarray(each.get_ydata(), float) for each in lower.lines)
    np.testing.assert_allclose(residual[used], np.asarray(found.residual)[used] / found.noise)
    assert np.isnan(residual[~used]).all() and 0.8 < np.nanstd(residual) < 1.2
    assert upper.get_xlim() == lower.get_xlim() == (PPM.max(), PPM.min())
    assert lower.get_xlabel() == "$^{13}$C chemical shift / ppm"
    wide = found.plot(figures.Figure(), unit="hz")
    np.testing.assert_allclose(wide.axes[0].lines[0].get_xdata(), PPM * LARMOR * 1e-9)
    with pytest.raises(ValueError, match="use 'ppm' or 'hz'"):
        found.plot(unit="MHz")


def test_series_has_a_pair_of_panels_each():
    """Four spectra: eight panels, three abreast, each named."""

    def four(p):
        return {f"{t} K": doublet(p) for t in (200, 220, 240, 260)}

    data = {f"{t} K": noisy(clean(), SIGMA, t) for t in (200, 220, 240, 260)}
    figure = fit(four, START, data, constraints=RATES).plot()
    assert [ax.get_title(loc="left") for ax in figure.axes[::2]] == ["200 K", "220 K", "240 K", "260 K"]
    assert len(figure.axes) == 8 and {ax.get_subplotspec().get_gridspec().nrows for ax in figure.axes} == {2}


def test_profile_and_correlation(found):
    """The rise, its level, the shaded interval; the matrix of correlations by name."""
    rise = profile(found, "k")
    ax = rise.plot()
    curve, points, level = ax.lines
    np.testing.assert_allclose(points.get_xdata(), rise.values)
    np.testing.assert_allclose(points.get_ydata(), rise.rise)
    assert set(level.get_ydata()) == {rise.threshold}
    # The interpolated curve passes the level where the interval ends.
    x, y = curve.get_data()
    inside = x[np.asarray(y) < rise.threshold]
    np.testing.assert_allclose([inside.min(), inside.max()], rise.interval, rtol=0.05)
    ax = found.plot_correlation()
    np.testing.assert_allclose(ax.images[0].get_array(), found.correlation)
    assert [label.get_text() for label in ax.get_xticklabels()] == list(found.names)


def test_corner():
    """Histograms on the diagonal, draws below it, wide ones by their logarithm, marks where they belong."""
    rng = np.random.default_rng(0)
    values = np.stack([rng.normal(3.0, 0.1, (2, 500)), 10 ** rng.uniform(1, 5, (2, 500))], axis=-1)
    drawn = Samples(("d", "k"), values, 0, np.ones(2), np.full(2, 1000.0))
    figure = drawn.plot(marks={"k": 1e3})
    top, _, cross, last = figure.axes
    assert last.get_xlabel() == "lg k" and cross.get_xlabel() == "d" and len(top.patches) == 40
    np.testing.assert_allclose(cross.lines[0].get_ydata(), np.log10(values[:, :, 1].ravel()))
    np.testing.assert_allclose(last.lines[0].get_xdata(), 3.0)
    with pytest.raises(ValueError, match="no parameter 'kk'"):
        drawn.plot(["kk"])
