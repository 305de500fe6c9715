"""Which products of features and harmonics there are, and their coefficients."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from jaxnmr.potential._irreps import Irrep

__all__ = ["Path", "Products", "coupling", "message_irreps", "message_paths"]

# Who computes the products: this package, for any machine, or the kernels of cuEquivariance, for NVIDIA's.
Products = Literal["rows", "cuequivariance"]


class Path(NamedTuple):
    """One product: which chunk of the features, which degree of harmonics, and what comes out."""

    source: int
    l2: int
    out: Irrep


def message_paths(irreps_in: tuple[Irrep, ...], l_max: int, irreps_out: tuple[Irrep, ...]) -> tuple[Path, ...]:
    """All products of features with harmonics up to l_max that give irreps which are wanted, sorted by what they give.

    The order is e3nn's: results by degree and parity, then by the features', then by the harmonics' degree. The
    columns of the radial network follow it.
    """
    wanted = {irrep.kind for irrep in irreps_out}
    paths = [
        Path(source, l2, Irrep(irrep.channels, l3, irrep.parity * (-1) ** l2))
        for source, irrep in enumerate(irreps_in)
        for l2 in range(l_max + 1)
        for l3 in range(abs(irrep.degree - l2), irrep.degree + l2 + 1)
        if (l3, irrep.parity * (-1) ** l2) in wanted
    ]
    return tuple(sorted(paths, key=lambda path: path.out.order))


def message_irreps(paths: tuple[Path, ...]) -> tuple[Irrep, ...]:
    """What the products give together, each kind once."""
    totals: dict[tuple[int, int], int] = {}
    for path in paths:
        totals[path.out.kind] = totals.get(path.out.kind, 0) + path.out.channels
    return tuple(Irrep(channels, *kind) for kind, channels in totals.items())


@lru_cache
def coupling(l1: int, l2: int, l3: int) -> np.ndarray:
    """Real Clebsch-Gordan coefficients of e3nn's basis, (2l1 + 1, 2l2 + 1, 2l3 + 1), a component of unit variance each."""
    import e3nn_jax as e3nn

    return np.asarray(e3nn.clebsch_gordan(l1, l2, l3), dtype=np.float64) * np.sqrt(2 * l3 + 1)
