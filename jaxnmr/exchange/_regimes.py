"""Where motion is slow, and where fast: each pair of sites against every scale of the spectrum that it meets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Int

from jaxnmr.errors import is_concrete
from jaxnmr.exchange._deviation import Known, cost, frequencies, survey
from jaxnmr.exchange._grouping import find_groups, mean_width
from jaxnmr.exchange._model import ExchangeModel, Group
from jaxnmr.spins import Sites, Transition, transitions

__all__ = ["Regimes", "Scale", "regimes_at"]


@dataclasses.dataclass(frozen=True)
class Scale:
    r"""One scale of the spectrum beside the rates of all pairs.

    Attributes:
        name: "isotropic", "anisotropic", "rotor", "linewidth" or "Larmor".
        hz: its size, Hz, (pair,).
        ratio: $k_{ex}$ over the scale as a rate, (pair,): $2\pi$ times a frequency, $\pi$ times a linewidth.
        margin: the ratio is "fast" above this, "slow" below its inverse, "intermediate" between; "none" without a scale.
    """

    name: str
    hz: Float[np.ndarray, " pair"]
    ratio: Float[np.ndarray, " pair"]
    margin: float = 10.0

    @property
    def words(self) -> tuple[str, ...]:
        """The regime of each pair in a word."""
        return tuple(self._word(hz, ratio) for hz, ratio in zip(self.hz, self.ratio, strict=True))

    def _word(self, hz: float, ratio: float) -> str:
        if hz == 0:
            return "none"
        return "fast" if ratio > self.margin else "slow" if ratio < 1 / self.margin else "intermediate"


@dataclasses.dataclass(frozen=True)
class Regimes:
    r"""The report of `jaxnmr.regimes`; `print` shows it as a table.

    Attributes:
        pairs: sites that jumps join directly, (pair, 2).
        k_ex: $k_{ij} + k_{ji}$, $s^{-1}$, (pair,).
        scales: isotropic splitting; anisotropic (largest over orientations, without the isotropic); rotor; linewidth;
            Larmor frequency.
        splitting: δν, largest over orientations of the whole difference in frequency, sites at rest, Hz, (pair,).
        residual: width that the pair's mean coherence lacks, Hz, (pair,): $4\pi p_1 p_2\,\delta\nu^2/k_{ex}$ with $p_1 +
            p_2 = 1$, at the worst orientation.
        deviation: the same of one site with the pair's mean tensors, Hz, (pair,): for quadrupolar nuclei also by how much
            the second order at this rate differs from that of the mean tensor.
        limit: of either, Hz, (pair,).
        groups: sites that share one line.
        alike: parts of these groups for which their mean tensors may stand; the same where there is no second order.
    """

    pairs: Int[np.ndarray, "pair 2"]
    k_ex: Float[np.ndarray, " pair"]
    scales: tuple[Scale, ...]
    splitting: Float[np.ndarray, " pair"]
    residual: Float[np.ndarray, " pair"]
    deviation: Float[np.ndarray, " pair"]
    limit: Float[np.ndarray, " pair"]
    groups: tuple[Group, ...]
    alike: tuple[Group, ...]

    @property
    def merges(self) -> Bool[np.ndarray, " pair"]:
        """Whether the two sites of each pair share one line."""
        return _together(self.pairs, self.groups)

    def __str__(self) -> str:
        """A table, one row a pair, each scale in Hz with the regime."""
        head = [
            "sites",
            "k_ex /s",
            *(f"{scale.name} /Hz" for scale in self.scales),
            "residual /Hz",
            "limit /Hz",
            "merged by",
        ]
        columns = [[f"{hz:.3g} {word}" for hz, word in zip(s.hz, s.words, strict=True)] for s in self.scales]
        alike = _together(self.pairs, self.alike)
        rows = [
            [
                f"{i}-{j}",
                f"{self.k_ex[row]:.3g}",
                *(column[row] for column in columns),
                f"{self.residual[row]:.3g}",
                f"{self.limit[row]:.3g}",
                "mean tensors" if alike[row] else "mean frequency" if self.merges[row] else "-",
            ]
            for row, (i, j) in enumerate(self.pairs.tolist())
        ]
        if not rows:
            return "no jumps"
        sizes = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]
        return "\n".join("  ".join(c.ljust(n) for c, n in zip(line, sizes, strict=True)).rstrip() for line in [head, *rows])


def regimes_at(
    sites: Sites,
    exchange: ExchangeModel,
    *,
    field: float,
    linewidth: ArrayLike | Sequence[float],
    rate: float = 0.0,
    angle: float = float(np.arctan(np.sqrt(2.0))),
    transition: Transition = None,
    tolerance: float = 0.01,
) -> Regimes:
    r"""Compare jumps with the scales of a spectrum, from plain numbers; `jaxnmr.regimes` takes an experiment.

    Args:
        sites: tensors, values known.
        exchange: jumps, values known.
        field: tesla.
        linewidth: FWHM of all broadening together, Hz, one number or (site,).
        rate: of the rotor, Hz; 0 for a static sample, `inf` for the limit without sidebands, where only what the rotor
            leaves of a splitting counts. At finite rates the whole static splitting counts, which is safe.
        angle: of the rotor, radians; used at infinite rate.
        transition: as in `jaxnmr.Static`; where several are observed the largest splitting counts.
        tolerance: deviation allowed, in linewidths. 0.01 keeps the relative L2 below 0.01.

    Raises:
        ValueError: traced values, no linewidth, a tolerance that is not positive, another number of sites.
    """
    if not is_concrete(sites, exchange, field, linewidth, rate, angle):
        raise ValueError(
            "regimes: which sites become one depends on values, and these are traced; call it outside jit and grad, and "
            "use jaxnmr.exchange.merge with its groups inside."
        )
    if not tolerance > 0:
        raise ValueError(f"tolerance: got {tolerance}; give the deviation allowed in linewidths, such as 0.01.")
    if not (np.ndim(rate) == 0 and rate >= 0):
        raise ValueError(f"rate: got {rate} Hz; a rotor frequency is >= 0, 0 for a static sample.")
    width = np.asarray(linewidth, dtype=np.float64)
    if width.ndim and width.shape != (len(sites),):
        raise ValueError(f"linewidth: got shape {width.shape}; give one number or one per site, ({len(sites)},).")
    if not (np.isfinite(width).all() and (width > 0).all()):
        raise ValueError(f"linewidth: got {width.tolist()} Hz; what motion may add is measured by it, give > 0.")
    width = np.broadcast_to(width, (len(sites),))
    ms = tuple(m for m, _ in transitions(sites.nucleus, transition))
    known = survey(sites, exchange, field, ms, width, angle if np.isinf(rate) else None)
    pairs = [(int(i), int(j)) for i, j in np.argwhere(np.triu(known.rates > 0, 1))]
    costs = [cost(known, pair) for pair in pairs]
    residual = np.array([c.residual for c in costs]).reshape(-1)
    groups, alike = find_groups(known, pairs, residual, tolerance)
    larmor = abs(float(np.asarray(sites.nucleus.larmor_frequency(known.field))))
    first, second = np.array(pairs, dtype=int).reshape(-1, 2).T
    k_ex = known.rates[first, second] + known.rates[second, first]
    offsets = np.stack([frequencies(known, m) for m in ms])
    isotropic = np.stack([_isotropic(known, m) for m in ms])
    # Below 1e-4 ppm a splitting is rounding.
    settled = lambda hz: np.where(np.abs(hz) < 1e-10 * larmor, 0.0, hz)  # noqa: E731
    apart = settled(isotropic[:, second] - isotropic[:, first])
    whole = settled(offsets[:, :, second] - offsets[:, :, first])
    scales = [
        _scale("isotropic", np.abs(apart).max(axis=0), k_ex),
        _scale("anisotropic", np.abs(settled(whole - apart[:, None, :])).max(axis=(0, 1)), k_ex),
        _scale("linewidth", (width[first] + width[second]) / 2, k_ex, np.pi),
        _scale("Larmor", np.full(len(pairs), larmor), k_ex, margin=100.0),
    ]
    if 0 < rate < np.inf:
        scales.insert(2, _scale("rotor", np.full(len(pairs), float(rate)), k_ex))
    return Regimes(
        pairs=np.array(pairs, dtype=int).reshape(-1, 2),
        k_ex=k_ex,
        scales=tuple(scales),
        splitting=np.abs(whole).max(axis=(0, 1)),
        residual=residual,
        deviation=np.array([c.deviation for c in costs]).reshape(-1),
        limit=tolerance * np.array([mean_width(known, pair) for pair in pairs]).reshape(-1),
        groups=groups,
        alike=alike,
    )


def _scale(name: str, hz: np.ndarray, k_ex: np.ndarray, factor: float = 2 * np.pi, margin: float = 10.0) -> Scale:
    none = hz == 0
    return Scale(name, hz, np.where(none, np.inf, k_ex / np.where(none, 1.0, factor * hz)), margin)


def _isotropic(known: Known, m: float) -> np.ndarray:
    return frequencies(known._replace(basis=known.basis * (np.arange(len(known.basis)) == 0)[:, None]), m)[0]


def _together(pairs: np.ndarray, groups: tuple[Group, ...]) -> Bool[np.ndarray, " pair"]:
    return np.array([any(i in group and j in group for group in groups) for i, j in pairs], dtype=bool)
