"""Which average of a tensor holds, by the spread of shift and coupling; errors of C_Q at first order."""

import numpy as np
import pytest

from jaxnmr.isotopes import isotope
from jaxnmr.workflow._site_numbers import _V_ZZ, _largest_error
from jaxnmr.workflow._spectra import _traceless
from jaxnmr.workflow._timescales import averaging


def test_couplings_of_integer_spins_count():
    """A deuteron whose coupling changes by 50 kHz in 10 µs is not averaged, however little its shift changes."""
    slow = averaging(1e10, 9.4, "2H", 1.0, 5e4, 1.6e5)
    # ν_Q = 3 C_Q / 2 for spin 1.
    assert slow.splitting == pytest.approx(2 * np.pi * 1e-5 * 1.5 * 5e4) and slow.rule.startswith("none")
    assert averaging(1e10, 9.4, "2H", 1.0).splitting < 0.01
    # In 10 ns it is, at first order, though the Larmor period is shorter.
    fast = averaging(1e7, 9.4, "2H", 1.0, 5e4, 1.6e5)
    assert fast.larmor > 1 and fast.rule == "mean tensor, at first order"
    assert averaging(100.0, 9.4, "2H", 1.0, 5e4, 1.6e5).rule == "mean tensor"


def test_the_central_line_moves_at_second_order():
    """Of 17O: 25/144 [I(I+1) - 3/4] ν_Q²/ν_0, and its change with C_Q; a larger shift spread counts in its place."""
    larmor = abs(float(isotope("17O").larmor_frequency(14.1)))
    found = averaging(1e9, 14.1, "17O", 0.0, 1e5, 7e6)
    width = lambda c: 25 / 144 * 8 * (3 * c / 20) ** 2 / larmor  # noqa: E731
    assert found.splitting == pytest.approx(2 * np.pi * 1e-6 * (width(7.1e6) - width(7e6)), rel=1e-9)
    assert averaging(1e9, 14.1, "17O", 100.0, 1e5, 7e6).splitting == pytest.approx(2 * np.pi * 1e-6 * 1e-4 * larmor)
    assert averaging(1e6, 14.1, "17O", 0.0, 1e5, 7e6).rule == "neither the mean tensor nor the mean second order"
    assert averaging(np.nan, 14.1, "17O", 0.0).rule == "unknown" and averaging(1e3, 9.4, "13C", 5.0).rule == "mean tensor"


def test_errors_of_the_largest_value():
    """Against drawing, of errors 1 % as large as the tensor: 20000 draws know a deviation to 0.5 %."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    tensor = turn @ np.diag([-0.3, -0.7, 1.0]) @ turn.T
    largest = lambda t: np.linalg.eigvalsh(t)[:, -1]  # noqa: E731
    drawn = largest(tensor + 0.01 * _traceless(rng, 20000)).std()
    assert drawn == pytest.approx(0.01 * _V_ZZ, rel=0.03)
    stderr = 0.01 * np.array([[1.0, 0.5, 0.2], [0.5, 0.3, 0.8], [0.2, 0.8, 0.6]])
    noise = np.triu(rng.normal(size=(20000, 3, 3)) * stderr)
    noise = noise + np.swapaxes(np.triu(noise, 1), 1, 2)
    assert largest(tensor + noise).std() == pytest.approx(_largest_error(tensor, stderr), rel=0.03)
