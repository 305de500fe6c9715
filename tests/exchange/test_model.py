"""Exchange models: every constructor, detailed balance, groups, modes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnmr as jn
from jaxnmr.exchange._modes import motional_modes


def _balanced(model):
    k, p = np.asarray(model.rates), np.asarray(model.populations)
    scale = np.abs(k).max()
    np.testing.assert_allclose(k.sum(axis=0), 0.0, atol=1e-12 * scale)
    np.testing.assert_allclose(k * p, (k * p).T, atol=1e-9 * scale)
    np.testing.assert_allclose(p.sum(), 1.0)


def test_one_way():
    """The way back by detailed balance; K[i, j] is j -> i."""
    model = jn.ExchangeModel.from_rates({(0, 1): 1e3}, populations=np.array((0.8, 0.2)))
    np.testing.assert_allclose(model.rates, [[-1e3, 4e3], [1e3, -4e3]])
    _balanced(model)
    equal = jn.ExchangeModel.from_rates({(0, 1): 1e3})
    np.testing.assert_allclose(equal.populations, 0.5)


def test_both_ways():
    """Populations from the ratio of the rates, and the same whether given or deduced."""
    model = jn.ExchangeModel.from_rates({(0, 1): 1e3, (1, 0): 4e3})
    np.testing.assert_allclose(model.populations, [0.8, 0.2])
    _balanced(model)
    given = jn.ExchangeModel.from_rates({(0, 1): 1e3, (1, 0): 4e3}, populations=np.array((0.8, 0.2)))
    np.testing.assert_allclose(given.rates, model.rates)


def test_cycle():
    """Consistent cycles pass, and their populations are the stationary ones."""
    p = np.array([0.5, 0.3, 0.2])
    flows = {(0, 1): 100.0, (1, 2): 50.0, (0, 2): 30.0}
    rates = {(i, j): f / p[i] for (i, j), f in flows.items()} | {(j, i): f / p[j] for (i, j), f in flows.items()}
    model = jn.ExchangeModel.from_rates(rates)
    np.testing.assert_allclose(model.populations, p, rtol=1e-9)
    _balanced(model)


def test_from_matrix():
    """There and back."""
    model = jn.ExchangeModel.from_rates({(0, 1): 1e3, (1, 2): 2e5}, populations=np.array((0.2, 0.5, 0.3)))
    again = jn.ExchangeModel.from_matrix(model.rates)
    np.testing.assert_allclose(again.rates, model.rates)
    np.testing.assert_allclose(again.populations, model.populations)
    with pytest.raises(ValueError, match=r"K\.T"):
        jn.ExchangeModel.from_matrix(np.asarray(model.rates).T)


def test_a_matrix_alone():
    """Who hands the matrix to the class hears of the two ways to build one."""
    with pytest.raises(ValueError, match=r"ExchangeModel\.from_matrix\(K\)"):
        jn.ExchangeModel(jnp.array([[-1.0, 1.0], [1.0, -1.0]]))


def test_groups():
    """Sites that no jump joins stay apart; each group keeps its share."""
    model = jn.ExchangeModel.from_rates({(3, 1): 5.0, (0, 2): 1.0, (2, 0): 3.0}, n_sites=5)
    assert model.groups == ((0, 2), (1, 3), (4,))
    np.testing.assert_allclose(model.populations, [0.3, 0.2, 0.1, 0.2, 0.2])
    assert len(model) == 5


def test_under_jit():
    """Traced rates and populations give what concrete ones do; k = 0 has a finite derivative."""

    def build(k, p):
        return jn.ExchangeModel.from_rates({(0, 1): k}, populations=jnp.stack([p, 1 - p]))

    traced = jax.jit(build)(1e3, 0.7)
    np.testing.assert_allclose(traced.rates, build(1e3, jnp.asarray(0.7)).rates)
    slope = jax.jacfwd(lambda k: build(k, jnp.asarray(0.7)).rates)(jnp.asarray(0.0))
    np.testing.assert_allclose(slope, [[-1, 7 / 3], [1, -7 / 3]])
    both = jax.jit(lambda a, b: jn.ExchangeModel.from_rates({(0, 1): a, (1, 0): b}))(1e3, 3e3)
    np.testing.assert_allclose(both.populations, [0.75, 0.25])


@pytest.mark.parametrize("k", [0.0, 1e3, 1e12])
def test_modes(k):
    """The stationary state stands apart exactly; the motion is similar to K."""
    model = jn.ExchangeModel.from_rates(
        {(0, 1): k, (1, 2): 3 * k, (3, 4): 2 * k}, populations=np.array((0.3, 0.2, 0.1, 0.25, 0.15))
    )
    modes = motional_modes(model, model.populations)
    np.testing.assert_allclose(modes.to_modes @ modes.to_sites, np.eye(5), atol=1e-13)
    stationary = [0, 3]  # the first coordinate of each group
    assert np.all(np.asarray(modes.rates)[stationary] == 0)
    np.testing.assert_allclose(modes.to_sites @ modes.rates @ modes.to_modes, model.rates, atol=1e-12 * max(k, 1))
    # Within a group the basis knows ratios alone; the state carries the root of the group's total.
    totals = np.array([0.6, 0.6, 0.6, 0.4, 0.4])
    np.testing.assert_allclose(modes.to_sites @ modes.state * np.sqrt(totals), model.populations, atol=1e-13)
    np.testing.assert_allclose(modes.state @ modes.state, 1.0)


def test_a_slow_fault_beside_fast_rates():
    """What is wrong with a slow pair is seen although the rounding of a fast one is larger."""
    fast = {(0, 1): 1e12, (1, 0): 3e12}
    with pytest.raises(ValueError, match="populations"):
        jn.ExchangeModel.from_rates(fast | {(1, 2): 1e2, (2, 1): 5e2}, populations=np.array([0.6, 0.2, 0.2]))
    k = np.array([[-1e12, 1e12, 0.0], [1e12, -1e12 - 100.0, 100.0], [0.0, 100.0, -50.0]])
    with pytest.raises(ValueError, match=r"column 2 sums to 50.*K\[j, j\]"):
        jn.ExchangeModel.from_matrix(k)


@pytest.mark.parametrize("groups", [((0,),), ((0, 1), (1,)), ((0, 2),)])
def test_built_directly(groups):
    """A model put together by hand must name each site once (shapes: jaxtyping's checks come first under test)."""
    with pytest.raises(ValueError, match="groups: got"):
        jn.ExchangeModel(jnp.zeros((2, 2)), jnp.ones(2) / 2, groups)


def test_populations_are_checked_inside_jit():
    """Numbers that are known are checked even where everything computed from them is traced."""
    with pytest.raises(ValueError, match=r"populations: got \[0.9, 0.9\]"):
        jax.jit(lambda k: jn.ExchangeModel.from_rates({(0, 1): k}, [0.9, 0.9]).rates)(1.0)
    with pytest.raises(ValueError, match="populations: the rates are traced"):
        jax.jit(lambda k: jn.ExchangeModel.from_matrix(k).populations)(jnp.zeros((3, 3)))


@pytest.mark.parametrize(("rates", "message"), [({(0, 1): 1e18}, "at most")])
def test_refused_rates(rates, message):
    """What would be rounded or overflow in silence."""
    with pytest.raises(ValueError, match=message):
        jn.ExchangeModel.from_rates(rates)
