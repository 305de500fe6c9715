"""What differs between the spectra of one run: the rate, the field or the temperature. Nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass

from jaxnmr.cli._config import Config
from jaxnmr.cli._say import Failure

__all__ = ["Stack", "stack_of"]

# Key of the report, symbol, unit, name of the figure's axis.
_KINDS = {
    "k_per_s": ("k", "/s", "$k$ / s$^{-1}$"),
    "field_t": ("B0", "T", "$B_0$ / T"),
    "temperature_k": ("T", "K", "$T$ / K"),
}


@dataclass(frozen=True)
class Stack:
    """One value for each spectrum.

    Attributes:
        kind: key in the report, "k_per_s", "field_t" or "temperature_k"; None for one spectrum without a list.
        values: as asked for.
    """

    kind: str | None = None
    values: tuple[float, ...] = ()

    @property
    def count(self) -> int:
        """Number of spectra."""
        return max(1, len(self.values))

    @property
    def axis_name(self) -> str:
        """For the figure's vertical axis."""
        return "" if self.kind is None else _KINDS[self.kind][2]

    def label(self, index: int) -> str:
        """Of one spectrum, "k = 1e+04 /s"."""
        if self.kind is None:
            return ""
        symbol, unit, _ = _KINDS[self.kind]
        return f"{symbol} = {self.values[index]:g} {unit}"

    def suffix(self, index: int) -> str:
        """Of a file's name, "-k1e+04", "-9.4T"."""
        if self.kind is None:
            return ""
        symbol, unit, _ = _KINDS[self.kind]
        value = f"{self.values[index]:.6g}"
        return f"-{symbol}{value}" if "/" in unit else f"-{value}{unit}"

    def row(self, index: int) -> dict[str, float]:
        """Of the report."""
        return {} if self.kind is None else {self.kind: self.values[index]}


def stack_of(config: Config) -> Stack:
    """The one list of the configuration, if there is one.

    Raises:
        Failure: several lists; neither field_t nor fields_t, or both; half of what Arrhenius' law needs.
    """
    asked, jumps = config.experiment, config.exchange
    if (asked.field_t is None) == (not asked.fields_t):
        came = "missing" if asked.field_t is None else "came together with fields_t"
        raise Failure(f"experiment.field_t: {came}; give --field-t, in tesla, or for a spectrum each --fields-t 9.4,18.8.")
    lists = {"k_per_s": jumps.k_per_s, "field_t": asked.fields_t, "temperature_k": jumps.temperatures_k}
    given = {kind: values for kind, values in lists.items() if values}
    if "k_per_s" in given and "temperature_k" in given:
        raise Failure("exchange.temperatures_k: came together with k_per_s; rates follow from one of them.")
    law = {"prefactor_per_s": jumps.prefactor_per_s, "barrier_ev": jumps.barrier_ev}
    missing = [name for name, value in law.items() if value is None]
    if jumps.temperatures_k and missing:
        raise Failure(
            f"exchange.{missing[0]}: missing; with temperatures k = A exp(-E / kT) needs --prefactor-per-s and --barrier-ev."
        )
    if not jumps.temperatures_k and len(missing) < 2:
        name = next(name for name in law if name not in missing)
        raise Failure(f"exchange.{name}: given without temperatures; add --temperatures-k 280,300,320.")
    # One rate or one temperature beside several fields is no second list.
    several = {kind: values for kind, values in given.items() if len(values) > 1}
    if len(several) > 1:
        raise Failure(f"{', '.join(several)}: several values of each; a run has one list, of rates, temperatures or fields.")
    chosen = several or given
    if not chosen:
        return Stack()
    kind = "field_t" if "field_t" in chosen else next(iter(chosen))
    return Stack(kind, chosen[kind])
