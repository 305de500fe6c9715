"""The products of features and harmonics by NVIDIA's kernels, which gather, multiply and sum in one go.

The polynomial is built from this package's own coefficients, so basis and order of all features stay what they are.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnmr.errors import missing_extra
from jaxnmr.potential._irreps import Irrep
from jaxnmr.potential._paths import Path, coupling

if TYPE_CHECKING:
    import cuequivariance as cue

__all__ = ["fused_messages", "polynomial"]


def fused_messages(
    features: Float[Array, "sender feature"],
    irreps: tuple[Irrep, ...],
    paths: tuple[Path, ...],
    neighbors: Int[Array, "atom neighbor"],
    harmonics: Float[Array, "atom neighbor harmonic"],
    weights: Float[Array, "atom neighbor column"],
) -> Float[Array, "atom message"]:
    """The sum over neighbours of all products, path after path, each (2l + 1, channel) row by row.

    On an NVIDIA GPU by the kernel "uniform_1d" of cuequivariance-ops-jax, elsewhere by the package's plain form.

    Args:
        features: of all atoms, irrep after irrep, components before channels.
        irreps: what they are.
        paths: which products.
        neighbors: whom each atom hears; out of range where there is none, with weights of zero.
        harmonics: of the edges.
        weights: of each channel of each path.

    Raises:
        ImportError: cuequivariance-jax is not installed, or on a GPU its kernels.
    """
    try:
        import cuequivariance_jax as cuex
    except ImportError:
        raise missing_extra("cuequivariance-jax", "nvidia") from None
    on_gpu = jax.default_backend() == "gpu"
    if on_gpu:
        try:
            import cuequivariance_ops_jax  # noqa: F401  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError(
                f"the kernels of cuEquivariance cannot be loaded ({error}); install those of this machine's CUDA: "
                "pip install cuequivariance-ops-jax-cu12, or cuequivariance-ops-jax-cu13."
            ) from None
    n, width = neighbors.shape
    plan = polynomial(irreps, paths, round(harmonics.shape[-1] ** 0.5) - 1)
    # A kernel that reads beyond the end reads what it wants.
    senders = jnp.clip(neighbors, 0, features.shape[0] - 1).reshape(-1)
    receivers = jnp.repeat(jnp.arange(n, dtype=senders.dtype), width)
    out: Any = jax.ShapeDtypeStruct((n, plan.outputs[0].size), features.dtype)
    # It mixes ranks and dtypes, which users may have forbidden.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        made = cuex.segmented_polynomial(
            plan,
            [weights.reshape(n * width, -1), features, harmonics.reshape(n * width, -1)],
            [out],
            [None, (senders,), None, (receivers,)],
            method="uniform_1d" if on_gpu else "naive",
            options={"math_dtype": features.dtype.name},
            name="messages",
        )
    return made[0]


@lru_cache
def polynomial(irreps: tuple[Irrep, ...], paths: tuple[Path, ...], l_max: int) -> cue.SegmentedPolynomial:
    """Weights, features and harmonics to messages; all segments have as many channels, as the kernel wants them.

    Args:
        irreps: of the features.
        paths: in the order of the columns of the weights, and of the messages.
        l_max: highest degree of the harmonics.
    """
    import cuequivariance as cue

    form: Any = "u,iu,j,ku+ijk"
    product = cue.SegmentedTensorProduct.from_subscripts(form)
    for irrep in irreps:
        product.add_segment(1, (irrep.size, irrep.channels))
    for degree in range(l_max + 1):
        product.add_segment(2, (2 * degree + 1,))
    for path in paths:
        table = coupling(irreps[path.source].degree, path.l2, path.out.degree)
        product.add_path(None, path.source, path.l2, None, c=np.where(np.abs(table) > 1e-12, table, 0.0))
    # Coefficients that are zero leave here: some five of six.
    product = product.flatten_coefficient_modes().split_mode("u", gcd(*(irrep.channels for irrep in irreps)))
    return cue.SegmentedPolynomial.eval_last_operand(product)
