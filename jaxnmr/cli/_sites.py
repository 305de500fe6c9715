"""The sites of a configuration: as given, from a file, disordered, or one on its way through a motion's positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import jaxnmr as jn
from jaxnmr.cli._config import Config, Motion, Site
from jaxnmr.cli._say import Failure
from jaxnmr.compiling import quick_jit

__all__ = ["mover", "sites_of"]


def sites_of(config: Config) -> jn.Sites:
    """Sites at rest.

    Raises:
        Failure: what the tables have against each other.
        ValueError: what the library refuses.
    """
    sites = _at_rest(config)
    if config.disorder.czjzek_sigma_hz is None:
        if config.disorder.correlated_shift_ppm:
            raise Failure("disorder.correlated_shift_ppm: follows the coupling's spread; add --czjzek-sigma-hz.")
        return sites
    if config.exchange.jumps or config.motion:
        raise Failure("disorder.czjzek_sigma_hz: hundreds of sites at rest; leave the jumps or the motion out.")
    if not sites.nucleus.is_quadrupolar:
        raise Failure(f"disorder.czjzek_sigma_hz: {sites.isotope} has spin 1/2; see --shift-deviation-ppm.")
    return _spread(sites, config)


def mover(config: Config, site: jn.Sites) -> Callable[[float | Array], tuple[jn.Sites, jn.ExchangeModel]]:
    """The site in every position of the motions, and the jumps, as a function of the rate of those without their own.

    Raises:
        Failure: more sites than one, or a motion that lacks its parameter.
    """
    if len(site) != 1:
        raise Failure(
            f"motion: got {len(site)} sites; a motion carries one nucleus through its positions. Give one site (--atoms)."
        )

    def move(k: float | Array) -> tuple[jn.Sites, jn.ExchangeModel]:
        outer, *inner = [_motion(i, motion, k) for i, motion in enumerate(config.motion)]
        for motion in inner:
            outer = outer @ motion
        moving = outer(site)
        return moving.sites, moving.exchange

    return jax.jit(move)


def _at_rest(config: Config) -> jn.Sites:
    isotope = jn.isotope(config.experiment.isotope)
    if (file := config.structure) is not None:
        paths = file.file if isinstance(file.file, tuple) else (file.file,)
        structures = [jn.structure.read(path, frame=file.frame) for path in paths]
        if file.merge and config.exchange.jumps:
            raise Failure(
                "structure.merge: sites that exchange stay apart even if equivalent; leave merge or the jumps out."
            )
        try:
            return jn.Sites.read(structures, isotope.name, file.reference_ppm, atoms=file.atoms, merge=file.merge)
        except ValueError as error:
            if file.reference_ppm is not None or not str(error).startswith("reference:"):
                raise
            raise Failure(f"{error} The flag is --reference-ppm.") from None
    weights = [site.weight for site in config.site]
    given = [weight for weight in weights if weight is not None]
    if given and len(given) < len(weights):
        raise Failure(f"site: {len(given)} of {len(weights)} sites have a weight; give one to each, or to none.")
    if not isotope.is_quadrupolar:
        for i, site in enumerate(config.site):
            if site.cq_hz:
                raise Failure(f"site[{i}].cq_hz: got {site.cq_hz:g}, but {isotope.name} has spin 1/2; leave it out.")
    shift, quadrupole = _tensors(config.site, isotope.is_quadrupolar and any(site.cq_hz for site in config.site))
    return jn.Sites(isotope.name, shift, quadrupole, given or None)


def _tensors(sites: tuple[Site, ...], coupled: bool) -> tuple[Array, Array | None]:
    dtype = jnp.result_type(float)
    columns = {
        name: np.array([getattr(site, name) for site in sites], dtype)
        for name in ("shift_ppm", "zeta_ppm", "eta", "cq_hz", "eta_q", "euler_deg", "euler_q_deg")
    }

    # Compiled as one: operation by operation this costs seconds of a cold start.
    @quick_jit
    def build(c: Mapping[str, Any]) -> tuple[Array, Array | None]:
        shift = jn.shift_tensor(c["shift_ppm"], c["zeta_ppm"], c["eta"], euler=jnp.radians(c["euler_deg"]))
        if not coupled:
            return shift, None
        return shift, jn.quadrupole_tensor(c["cq_hz"], c["eta_q"], euler=jnp.radians(c["euler_q_deg"]))

    return build(columns)


def _spread(sites: jn.Sites, config: Config) -> jn.Sites:
    """Each site as a distribution: Czjzek's where it has no mean coupling, else the extended one about it."""
    asked = config.disorder
    assert asked.czjzek_sigma_hz is not None
    sigmas = asked.czjzek_sigma_hz if isinstance(asked.czjzek_sigma_hz, tuple) else (asked.czjzek_sigma_hz,)
    if len(sigmas) not in (1, len(sites)):
        raise Failure(f"disorder.czjzek_sigma_hz: got {len(sigmas)} for {len(sites)} sites; give one, or one each.")
    sigmas = sigmas * len(sites) if len(sigmas) == 1 else sigmas
    shift = np.asarray(sites.shift)
    parts = []
    for i, sigma in enumerate(sigmas):
        if sites.quadrupole is not None and np.any(np.asarray(sites.quadrupole)[i]):
            alone = jn.Sites(sites.isotope, shift[i], sites.quadrupole[i])
            parts.append(jn.spins.extended_czjzek(alone, sigma, correlated_shift=asked.correlated_shift_ppm))
            continue
        mean = np.trace(shift[i]) / 3
        # The distribution has no axis that the shift's could lie on.
        if np.abs(shift[i] - mean * np.eye(3)).max() > 1e-3:
            raise Failure(
                f"disorder.czjzek_sigma_hz: site {i} has a shift anisotropy and no mean coupling to orient it; leave "
                "--zeta-ppm out, or give --cq-hz for the extended distribution."
            )
        parts.append(jn.spins.czjzek(sites.isotope, sigma, float(mean), correlated_shift=asked.correlated_shift_ppm))
    shares = [share * part.populations for share, part in zip(np.asarray(sites.populations), parts, strict=True)]
    whole = [jnp.concatenate(arrays) for arrays in ([p.shift for p in parts], [p.quadrupole for p in parts], shares)]
    return jn.Sites(sites.isotope, *whole)


def _motion(index: int, motion: Motion, k: float | Array) -> jn.exchange.Motion:
    rate = k if motion.rate_per_s is None else motion.rate_per_s
    for name, kinds in (("n", ("jump",)), ("angle_deg", ("flip", "cone")), ("axis", ("flip", "jump", "cone"))):
        if name in motion.model_fields_set and motion.kind not in kinds:
            raise Failure(f"motion[{index}].{name}: means nothing to a {motion.kind} motion; leave it out.")
    if motion.kind == "flip":
        return jn.exchange.flip(motion.axis, rate, angle=np.radians(180.0 if motion.angle_deg is None else motion.angle_deg))
    if motion.kind == "jump":
        if motion.n is None:
            raise Failure(f"motion[{index}].n: missing; give the number of positions, as --motion jump:3@1e5.")
        return jn.exchange.n_site_jump(motion.axis, motion.n, rate)
    if motion.kind == "tetrahedral":
        return jn.exchange.tetrahedral_jump(rate)
    if motion.angle_deg is None:
        raise Failure(f"motion[{index}].angle_deg: missing; give the cone's half-angle, as --motion cone:20@1e6.")
    return jn.exchange.cone(motion.axis, np.radians(motion.angle_deg), rate)
