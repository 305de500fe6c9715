"""From the spread of a committee to an uncertainty that data which were held out confirm."""

from __future__ import annotations

import numpy as np

from jaxnmr.potential._tensor_model import TensorModel
from jaxnmr.potential._tensor_network import BARE, Calibration

__all__ = ["BARE", "fit_calibration", "uncalibrated"]


def fit_calibration(error: np.ndarray, spread: np.ndarray, size: np.ndarray, away: np.ndarray | None = None) -> Calibration:
    r"""The likeliest factor a and floor b of $u^2 = a^2 s^2 + b^2 S^2$ for errors of normal distribution.

    Held-out data are like the learnt ones and do not tell how errors grow far from both. In proportion to the distance, is
    taken: from the root mean square error at the root mean square distance. Of the models of benchmarks/tensors.py this came
    within a factor of four of the errors in crystals of another kind; the committee alone was too sure by up to five.

    Args:
        error: root mean square error over the elements of each value, (n,).
        spread: of the committee, s, (n,).
        size: typical size S of the property for each, (n,).
        away: distance from the learnt atoms, (n,); None where it is not known.

    Returns:
        a and b; 1 and 0, the bare spread, without data.
    """
    good = np.isfinite(error) & np.isfinite(spread) & (size > 0)
    if not good.any():
        return BARE
    e, s = (error[good] / size[good]) ** 2, (spread[good] / size[good]) ** 2
    # Two numbers, one smooth function: a grid in their logarithms, made finer about the best.
    a = np.append(0.0, np.geomspace(0.05, 50, 60)) if s.any() else np.zeros(1)
    b = np.sqrt(e.mean()) * np.append(0.0, np.geomspace(1e-3, 3, 60))
    for _ in range(3):
        variance = (a**2)[:, None, None] * s + (b**2)[None, :, None] * np.ones_like(s)
        variance = np.maximum(variance, 1e-12 * max(float(e.mean()), 1e-300))
        cost = np.mean(np.log(variance) + e / variance, axis=-1)
        i, j = np.unravel_index(int(np.argmin(cost)), cost.shape)
        best = float(a[i]), float(b[j])
        a, b = (x * np.geomspace(0.8, 1.25, 21) if x > 0 else np.zeros(1) for x in best)
    beyond = 0.0
    if away is not None and np.isfinite(away[good]).all() and away[good].any():
        beyond = float(np.sqrt(e.mean() / np.mean(away[good] ** 2)))
    return Calibration(np.asarray(best[0]), np.asarray(best[1]), np.asarray(beyond))


def uncalibrated(model: TensorModel) -> tuple[str, ...]:
    """The properties whose uncertainty no held-out data have confirmed: it is the bare spread of the committee.

    That is too small as a rule, and unknown (NaN) where the committee has a single member.

    Args:
        model: trained, or from a file.
    """
    both = zip(model.properties, model.calibrations, strict=True)
    return tuple(prop.name for prop, each in both if each.bare)
