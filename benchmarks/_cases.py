"""The spectra that `lineshape.py` times, each as a function of arrays that jax may trace."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from _peers import oxygen_case

import jaxnmr as jn
from tests.peers import sleepy
from tests.peers.cases import Case

FIELD = 14.1  # tesla, of the three-site spectrum
TWO_SITE_WIDTH = {0.0: 500.0, 1e4: 200.0}  # Hz; SLEEPY's grids converge for these, as in tests/peers


class Params(NamedTuple):
    """What a spectrum is differentiated in: shift, ppm; quadrupole, Hz; rates, 1/s; linewidth, Hz."""

    shift: jax.Array
    quadrupole: jax.Array | None
    rates: jax.Array
    linewidth: jax.Array


@dataclass(frozen=True)
class Problem:
    """One spectrum.

    Attributes:
        name: key in the table and of its references.
        isotope: of the sites.
        params: numbers to start from.
        experiment: static or spinning.
        axis: where to evaluate.
        pairs: sites that exchange, with one of `params.rates` for each; the way back is as fast.
        octant: tensors lie along the crystal axes, so that one octant is the whole sphere.
        case: the same for mrsimulator.
    """

    name: str
    isotope: str
    params: Params
    experiment: jn.Static | jn.MAS
    axis: jn.Axis
    pairs: tuple[tuple[int, int], ...] = ()
    octant: bool = False
    case: Case | None = None

    @property
    def site_count(self) -> int:
        """Number of sites."""
        return self.params.shift.shape[0]

    def intensity(self, params: Params, resolution: jn.Resolution | None = None) -> jax.Array:
        """The spectrum, per Hz, (points,); traceable in `params` once a resolution is given."""
        exchange = None
        if self.pairs:
            rates = {pair: params.rates[i] for i, pair in enumerate(self.pairs)}
            exchange = jn.ExchangeModel.from_rates(rates, n_sites=self.site_count)
        sites = jn.Sites(self.isotope, params.shift, params.quadrupole)
        with warnings.catch_warnings():  # sweeps are coarse on purpose
            warnings.simplefilter("ignore", jn.errors.JaxnmrWarning)
            return jn.simulate(
                sites,
                self.experiment,
                self.axis,
                exchange=exchange,
                linewidth=params.linewidth,
                resolution=resolution,
            ).intensity

    def automatic(self) -> jn.Resolution:
        """The sizes that the library chooses by itself."""
        exchange = None
        if self.pairs:
            rates = {pair: float(self.params.rates[i]) for i, pair in enumerate(self.pairs)}
            exchange = jn.ExchangeModel.from_rates(rates, n_sites=self.site_count)
        return jn.spectrum.resolve(
            jn.Sites(self.isotope, self.params.shift, self.params.quadrupole),
            self.experiment,
            self.axis,
            exchange=exchange,
            linewidth=self.params.linewidth,
        )

    def resolution(self) -> jn.Resolution:
        """The sizes that are timed: the automatic ones, a quarter of them on an octant where that will do."""
        chosen = self.automatic()
        if not self.octant or getattr(chosen.grid, "octant", False):
            return chosen
        assert chosen.orientations is not None
        grid = jn.spectrum.Octahedral(octant=True)
        return replace(chosen, orientations=max(1, chosen.orientations // 4), grid=grid)

    def only(self, site: int) -> Problem:
        """The same with one of its sites: a sum over hundreds hides the error of each."""
        keep = slice(site, site + 1)
        quadrupole = self.params.quadrupole
        params = self.params._replace(
            shift=self.params.shift[keep], quadrupole=None if quadrupole is None else quadrupole[keep]
        )
        case = self.case and replace(self.case, sites=(replace(self.case.sites[site], weight=1.0),))
        return replace(self, name=f"{self.name}/{site}", params=params, case=case)


def problem(name: str, sites: int = 500) -> Problem:
    """A problem by its name; `name/i` is its site i alone.

    Args:
        name: "csa mas", "csa static", "three-site", "oxygen static coaxial", "oxygen mas general" and so on.
        sites: how many the oxygen ones have.
    """
    name, _, site = name.partition("/")
    if name == "three-site":
        whole = three_site()
    elif name.startswith("csa"):
        whole = two_site(1e4 if name.endswith("mas") else 0.0)
    else:
        _, motion, tensors = name.split()
        whole = oxygen(name, sites, 2e4 if motion == "mas" else 0.0, tensors == "coaxial")
    return whole.only(int(site)) if site else whole


def two_site(spinning: float, k: float = 1e3) -> Problem:
    """SLEEPY's: 13C, zeta 100 ppm, axes 70.5 degrees apart, k each way, 2048 points over 40 kHz."""
    shift = jn.shift_tensor(0.0, sleepy.ZETA, 0.0, (0.0, np.array([0.0, sleepy.ANGLE]), 0.0))
    field = sleepy.LARMOR_HZ / float(jn.isotope("13C").larmor_frequency(1.0))
    return Problem(
        "csa mas" if spinning else "csa static",
        "13C",
        Params(shift, None, jnp.array([k]), jnp.array(TWO_SITE_WIDTH[spinning])),
        jn.MAS(field, spinning) if spinning else jn.Static(field),
        jn.Axis(hz=(-20e3, 20e3), points=2048),
        pairs=((0, 1),),
    )


def three_site() -> Problem:
    """17O central transition at 14.1 T, 20 kHz: C_Q 7.2 MHz, 120 degree jumps about z, k = 2e4 each way."""
    turn = np.arange(3) * 2 * np.pi / 3
    return Problem(
        "three-site",
        "17O",
        Params(
            jn.shift_tensor(np.array([110.0, 135.0, 160.0]), -90.0, 0.4, (turn, 1.1, 0.3)),
            jn.quadrupole_tensor(7.2e6, 0.3, (turn, 1.2, 0.0)),
            jnp.full(3, 2e4),
            jnp.array(300.0),
        ),
        jn.MAS(FIELD, 20e3),
        jn.Axis(ppm=(400.0, -300.0), points=2048),
        pairs=((0, 1), (1, 2), (2, 0)),
    )


def oxygen(name: str, count: int, rate: float, coaxial: bool) -> Problem:
    """mrsimulator's: `count` sites of 17O at 23.5 T in one call, 2048 points over 200 kHz, no exchange."""
    case = oxygen_case(count, rate=rate, coaxial=coaxial)

    def column(field: str) -> np.ndarray:
        return np.array([getattr(site, field) for site in case.sites])

    # Its gamma is not quite ours: the field is the one that gives its Larmor frequency.
    field = case.larmor / float(jn.isotope(case.isotope).larmor_frequency(1.0))
    start, stop, points = case.axis
    return Problem(
        name,
        case.isotope,
        Params(
            jn.shift_tensor(column("delta_iso"), column("zeta"), column("eta"), tuple(column("euler").T)),
            jn.quadrupole_tensor(column("c_q"), column("eta_q"), tuple(column("euler_q").T)),
            jnp.zeros(0),
            jnp.array(case.linewidth),
        ),
        jn.MAS(field, rate, transition="central") if rate else jn.Static(field, transition="central"),
        jn.Axis(hz=(start, stop), points=points),
        octant=coaxial,
        case=case,
    )


def ring(sites: int, spinning: float, points: int = 2048, exchange: bool = True) -> Problem:
    """13C on a ring of `sites` places, for the cost's growth."""
    tilt = np.linspace(0.0, np.pi / 2, sites)
    shift = jn.shift_tensor(np.linspace(-20.0, 20.0, sites), sleepy.ZETA, 0.2, (0.0, tilt, 0.0))
    pairs = tuple((i, (i + 1) % sites) for i in range(sites if sites > 2 else 1)) if exchange else ()
    return Problem(
        f"ring {sites}",
        "13C",
        Params(shift, None, jnp.full(len(pairs), 1e3), jnp.array(200.0)),
        jn.MAS(9.4, spinning) if spinning else jn.Static(9.4),
        jn.Axis(hz=(-20e3, 20e3), points=points),
        pairs=pairs,
    )
