"""What is said of predictions beside labels."""

import json
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from jaxnmr.potential.training import Comparison


def comparison(errors: Any, uncertainty: Any) -> Comparison:
    """Labels of zero, one number each."""
    found = np.asarray(errors, float)
    return Comparison("shielding", "ppm", "O", np.zeros(found.shape), found, np.asarray(uncertainty, float))


def test_rank_correlation_is_spearmans_with_ties_too():
    """scipy's, on numbers of which many are equal; and of tensors by the root mean square of their elements."""
    rng = np.random.default_rng(0)
    for size in (5, 10, 200):
        errors, uncertainty = rng.integers(0, 6, size) - 2.0, rng.integers(1, 4, size) * 0.3
        expected: Any = spearmanr(np.abs(errors), uncertainty)[0]
        assert np.isfinite(expected)
        assert comparison(errors, uncertainty).rank_correlation() == pytest.approx(expected, abs=1e-12)
    errors, uncertainty = rng.normal(size=(50, 3, 3)), rng.uniform(1, 2, 50)
    expected = spearmanr(np.linalg.norm(errors, axis=(1, 2)), uncertainty)[0]
    assert comparison(errors, uncertainty).rank_correlation() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("errors", "uncertainty"),
    [
        ([1.0, 2.0, 3.0, 4.0], [0.5] * 4),
        ([1.0, -1.0, 1.0, -1.0], [0.1, 0.2, 0.3, 0.4]),
        ([1.0, 2.0], [0.1, 0.2]),
        ([1.0, 2.0, 3.0], [0.1, np.nan, 0.2]),
    ],
)
def test_rank_correlation_of_what_does_not_vary_is_no_number(errors, uncertainty):
    """Constant uncertainties say nothing of errors, though errors that rise in the files' order look as if; nor do two."""
    assert np.isnan(comparison(errors, uncertainty).rank_correlation())


def test_a_report_holds_null_for_it():
    """JSON has no NaN."""
    from jaxnmr.cli._train_report import table

    (row,) = table("test", [comparison([1.0, 2.0, 3.0, 4.0], [0.5] * 4)])
    assert row["rank_correlation"] is None
    assert json.loads(json.dumps(row, allow_nan=False))["within_1_u"] == 0.0
