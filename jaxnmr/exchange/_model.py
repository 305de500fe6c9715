"""Jumps between sites: a rate matrix in detailed balance with its populations."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxnmr.errors import is_concrete

__all__ = ["ExchangeModel"]

Group = tuple[int, ...]
# Faster than any nucleus moves; exponentials of the generator are exact up to far above it.
_FASTEST = 1e15


class ExchangeModel(eqx.Module):
    r"""A Markov jump process among the sites, $\dot{\mathbf p} = \mathbf K\mathbf p$.

    Build it with `from_rates` or `from_matrix`.

    Attributes:
        rates: K, $s^{-1}$, (site, site); K[i, j] is the rate j -> i and columns sum to zero.
        populations: stationary populations within each connected group, each group summing to its share of sites, or
            to what the user gave; the whole sums to one.
        groups: sites connected by jumps, as sorted tuples; sites that never jump are groups of one.
        given: whether the user gave the populations (they then rule over `Sites.weights` between groups too).
    """

    rates: Float[Array, "site site"]
    # The defaults are refused below, with the way that was meant.
    populations: Float[Array, " site"] = eqx.field(default=None)
    groups: tuple[Group, ...] = eqx.field(static=True, default=())
    given: bool = eqx.field(static=True, default=False)

    def __check_init__(self) -> None:
        """Shapes and groups must fit; `from_rates` and `from_matrix` check the values too.

        Raises:
            ValueError: naming the attribute.
        """
        if self.populations is None or not self.groups:
            raise ValueError(
                "ExchangeModel: got no populations and groups, which the two ways of building one work out; use "
                "ExchangeModel.from_rates({(0, 1): k}) or ExchangeModel.from_matrix(K)."
            )
        shape = jnp.shape(self.rates)
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(f"rates: got shape {shape}; give a square matrix (site, site).")
        if jnp.shape(self.populations) != shape[:1]:
            came = jnp.shape(self.populations)
            raise ValueError(f"populations: got shape {came} for {shape[0]} sites; give ({shape[0]},).")
        if sorted(site for group in self.groups for site in group) != list(range(shape[0])):
            raise ValueError(f"groups: got {self.groups}; name each of the {shape[0]} sites once.")

    def __len__(self) -> int:
        """Number of sites."""
        return self.rates.shape[0]

    def lines(self, values: Float[Array, " site"]) -> Float[Array, " line"]:
        """What belongs to sites, summed for each line that is followed."""
        return values

    @classmethod
    def from_rates(
        cls,
        rates: Mapping[tuple[int, int], ArrayLike],
        populations: ArrayLike | Sequence[float] | None = None,
        n_sites: int | None = None,
    ) -> ExchangeModel:
        r"""From jump rates: `{(i, j): k}` is the rate from site i to site j.

        Where one direction is given, the way back follows from detailed balance, $k_{ji} = k_{ij}\,p_i/p_j$, with
        equal populations unless given. Where both are, their ratio is that of the populations. Differentiable in the
        rates and the populations, forward and reverse, k = 0 included.

        Args:
            rates: $s^{-1}$, zero allowed.
            populations: (site,), summing to one; without them each connected group shares its total (that of
                `Sites.weights`) by detailed balance.
            n_sites: number of sites; by default one more than the largest index.

        Raises:
            ValueError: a negative or infinite rate, an index out of range, a jump from a site to itself, one way of a
                pair that is zero while the other is not, populations that contradict the rates, or a cycle whose
                rates break detailed balance.
        """
        pairs = {}
        for key, rate in rates.items():
            i, j = _pair(key)
            if jnp.ndim(rate):
                raise ValueError(f"rates[{i}, {j}]: got shape {jnp.shape(rate)}; give one number (vmap over more).")
            if is_concrete(rate) and not 0 <= float(np.asarray(rate)) <= _FASTEST:
                raise ValueError(f"rates[{i}, {j}]: got {rate}; a rate is finite, >= 0 and at most {_FASTEST:g}, in 1/s.")
            pairs[i, j] = rate
        size = 1 + max((max(key) for key in pairs), default=-1)
        n = size if n_sites is None else n_sites
        if n < size or n < 1:
            raise ValueError(f"n_sites: got {n_sites}, but the rates name site {size - 1}; give at least {max(size, 1)}.")
        dtype = jnp.result_type(float, *pairs.values())
        pairs = {key: jnp.asarray(rate, dtype) for key, rate in pairs.items()}
        for (i, j), rate in pairs.items():
            back = pairs.get((j, i))
            if back is not None and is_concrete(rate) and is_concrete(back) and (rate == 0) != (back == 0):
                raise ValueError(
                    f"rates: {i} -> {j} is {float(rate):g} but {j} -> {i} is {float(back):g}; a one-way jump has no "
                    "detailed balance. Leave the way back out, or give it its rate."
                )
        groups, tree = _span(n, pairs)
        given = populations is not None
        if given:
            p = _populations(populations, n, dtype)
        else:
            p = _deduce(n, groups, tree, pairs, dtype)
        matrix = jnp.zeros((n, n), dtype)
        for (i, j), rate in pairs.items():
            matrix = matrix.at[j, i].set(rate)
            if (j, i) not in pairs:
                matrix = matrix.at[i, j].set(rate * p[i] / p[j])
        _check_balance(matrix, p, "populations" if given else "rates")
        return cls(matrix - jnp.diag(matrix.sum(axis=0)), p, groups, given)

    @classmethod
    def from_matrix(
        cls, rates: ArrayLike | Sequence[Sequence[float]], populations: ArrayLike | Sequence[float] | None = None
    ) -> ExchangeModel:
        r"""From the whole rate matrix K; K[i, j] is the rate j -> i, so each column sums to zero.

        Which sites are connected is read from the values; under jit, where they are not known, all sites count as one
        connected group, and of more than two sites `populations` must be given.

        Raises:
            ValueError: not square, negative rates, columns that do not sum to zero, populations that are not
                stationary or break detailed balance, traced rates of more than two sites without populations.
        """
        matrix = jnp.asarray(rates)
        matrix = matrix.astype(jnp.result_type(float, matrix))
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"rates: got shape {matrix.shape}; give a square matrix (site, site).")
        n = matrix.shape[0]
        if not is_concrete(matrix):
            if populations is None and n > 2:
                raise ValueError(
                    "populations: the rates are traced, so which jumps are zero is unknown; pass populations=, or use "
                    "from_rates, whose keys say which sites are joined."
                )
            pairs = {(j, i): matrix[i, j] for i in range(n) for j in range(n) if i != j}
            model = cls.from_rates(pairs, populations, n)
            return cls(matrix, model.populations, model.groups, model.given)
        k = np.asarray(matrix)
        off = k - np.diag(np.diag(k))
        if not np.isfinite(k).all() or off.min() < 0:
            i, j = np.unravel_index(np.argmin(np.where(np.isfinite(off), off, -np.inf)), off.shape)
            raise ValueError(f"rates: K[{i}, {j}] is {k[i, j]:g}; rates off the diagonal are finite and >= 0, in 1/s.")
        # Column by column: a slow one would pass unseen beside one a million times faster.
        sums, scale = k.sum(axis=0), np.maximum(np.abs(k).max(axis=0), np.finfo(k.dtype).tiny)
        worst = int(np.argmax(np.abs(sums) / scale))
        if abs(sums[worst]) > np.finfo(k.dtype).eps ** 0.5 * scale[worst]:
            turned = np.abs(k.sum(axis=1)) <= 1e-3 * np.maximum(np.abs(k).max(axis=1), np.finfo(k.dtype).tiny)
            cure = "pass K.T (yours runs i to j)" if turned.all() else "set K[j, j] to minus the sum of the rest of column j"
            raise ValueError(
                f"rates: columns must sum to zero (K[i, j] is the rate j -> i), but column {worst} sums to "
                f"{sums[worst]:g}; {cure}."
            )
        pairs = {(int(j), int(i)): matrix[i, j] for i, j in np.argwhere((off > 0) | (off.T > 0))}
        return cls.from_rates(pairs, populations, n)


def _pair(key: tuple[int, int]) -> tuple[int, int]:
    try:
        i, j = (operator.index(index) for index in key)
    except (TypeError, ValueError):
        raise ValueError(f"rates: key {key!r}; keys are pairs (from site, to site).") from None
    if i == j or min(i, j) < 0:
        raise ValueError(f"rates: key ({i}, {j}); a jump joins two different sites, counted from 0.")
    return i, j


def _span(n: int, pairs: Mapping[tuple[int, int], Array]) -> tuple[tuple[Group, ...], list[tuple[int, int]]]:
    """Connected groups and a spanning forest, two-way pairs first because they fix ratios of populations."""
    parent = list(range(n))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    tree = []
    for i, j in sorted(pairs, key=lambda key: ((key[1], key[0]) not in pairs, key)):
        a, b = root(i), root(j)
        if a != b:
            parent[max(a, b)] = min(a, b)
            tree.append((i, j))
    members: dict[int, list[int]] = {}
    for i in range(n):
        members.setdefault(root(i), []).append(i)
    return tuple(tuple(group) for group in members.values()), tree


def _populations(populations: ArrayLike | Sequence[float], n: int, dtype) -> Array:
    p = jnp.asarray(populations, dtype)
    if p.shape != (n,):
        raise ValueError(f"populations: got shape {p.shape} for {n} sites; give ({n},).")
    # What came and not p, which is traced inside jit even where the values are known.
    if is_concrete(populations):
        values = np.asarray(populations, dtype=np.float64)
        if not (np.isfinite(values).all() and values.min() > 0 and abs(values.sum() - 1) < 1e-5):
            raise ValueError(
                f"populations: got {values.tolist()}, sum {values.sum():.6g}; they must be > 0 and sum to one "
                "(divide by the sum; drop a site that is never visited)."
            )
    return p


def _deduce(
    n: int,
    groups: tuple[Group, ...],
    tree: list[tuple[int, int]],
    pairs: Mapping[tuple[int, int], Array],
    dtype,
) -> Array:
    """Walk the spanning forest: p_j = p_i k_ij / k_ji where both ways are given, else p_j = p_i."""
    one = jnp.ones((), dtype)
    weight: dict[int, Array] = {}
    for group in groups:
        weight[group[0]] = one
        edges = [edge for edge in tree if edge[0] in group]
        while edges:
            for edge in list(edges):
                i, j = edge
                if (i in weight) == (j in weight):
                    continue
                ratio = _ratio(pairs[i, j], pairs.get((j, i)))
                if i in weight:
                    weight[j] = weight[i] * ratio
                else:
                    weight[i] = weight[j] / ratio
                edges.remove(edge)
    p = jnp.stack([weight[i] for i in range(n)])
    for group in groups:
        members = np.asarray(group)
        p = p.at[members].set(p[members] / p[members].sum() * (len(group) / n))
    return p


def _ratio(forth: Array, back: Array | None) -> Array:
    """k_ij / k_ji, one where both vanish (frozen) or the way back is not given."""
    if back is None:
        return jnp.ones_like(forth)
    frozen = (forth == 0) | (back == 0)
    return jnp.where(frozen, 1.0, jnp.where(frozen, 1.0, forth) / jnp.where(frozen, 1.0, back))


def _check_balance(matrix: Array, p: Array, culprit: str) -> None:
    if not (is_concrete(matrix) and is_concrete(p)):
        return
    flow = np.asarray(matrix, dtype=np.float64) * np.asarray(p, dtype=np.float64)[None, :]
    # Pair by pair: the rounding of a fast pair's flow would hide what is wrong with a slow one.
    error = np.abs(flow - flow.T) / np.maximum(np.maximum(np.abs(flow), np.abs(flow.T)), np.finfo(np.float64).tiny)
    np.fill_diagonal(error, 0.0)
    i, j = np.unravel_index(np.argmax(error), error.shape)
    if error[i, j] > 1e-4:
        if culprit == "populations":
            raise ValueError(
                f"populations: p[{j}] k({j} -> {i}) = {flow[i, j]:g} but p[{i}] k({i} -> {j}) = {flow[j, i]:g}; both ways "
                "were given, and they contradict the populations. Give one way only, or leave the populations out."
            )
        raise ValueError(
            f"rates: the rates around a cycle through sites {i} and {j} break detailed balance (flows {flow[j, i]:g} and "
            f"{flow[i, j]:g} 1/s); give one way of each jump and the populations."
        )
