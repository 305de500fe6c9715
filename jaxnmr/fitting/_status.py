"""How a fit ended, and what to do about it."""

from __future__ import annotations

from enum import StrEnum

import equinox as eqx

from jaxnmr.errors import JaxnmrWarning

__all__ = ["Code", "FitError", "FitStatus", "FitWarning"]


class Code(StrEnum):
    """How a fit ended."""

    CONVERGED = "converged"
    NOT_DETERMINED = "not determined"
    AT_BOUND = "at a bound"
    STALLED = "stalled"
    MAX_STEPS = "max steps"
    NOT_FINITE = "not finite"


_ADVICE = {
    Code.CONVERGED: "",
    Code.NOT_DETERMINED: "Read `result.bounds`; fix it, give a prior, or add data at another temperature or field.",
    Code.AT_BOUND: "Widen the constraint if its end is not physical; else the bound is the answer, with its profile.",
    Code.STALLED: (
        "Look at the residual; start nearer, scale odd parameters by a constraint, use starts=MultiStart(), or have more "
        "patience (of Gradient)."
    ),
    Code.MAX_STEPS: "Give the optimiser more of them (max_steps=...), or start nearer.",
    Code.NOT_FINITE: "Try the model at the start; leave out what makes it NaN, or its derivative.",
}


class FitStatus(eqx.Module):
    """How a fit ended.

    Attributes:
        code: a `Code`; its value is a word such as "converged".
        message: what happened, with names and values.
        advice: what would do.
    """

    code: Code = eqx.field(static=True)
    message: str = eqx.field(static=True)
    advice: str = eqx.field(static=True)

    @classmethod
    def of(cls, code: Code, message: str) -> FitStatus:
        """A status with the advice that belongs to its code."""
        return cls(code, message, _ADVICE[code])

    @property
    def ok(self) -> bool:
        """Whether the search ended at an optimum, on a bound or undetermined though it may be."""
        return self.code in (Code.CONVERGED, Code.NOT_DETERMINED, Code.AT_BOUND)

    def __str__(self) -> str:
        """One line."""
        return f"{self.code.value}: {self.message}" + (f" {self.advice}" if self.advice else "")


class FitWarning(JaxnmrWarning):
    """A fit stands, but says less than it may seem to."""


class FitError(RuntimeError):
    """A search did not reach an optimum; `fit(..., throw=False)` returns what it has, with this status.

    Attributes:
        status: the `FitStatus`.
    """

    def __init__(self, status: FitStatus):
        super().__init__(str(status))
        self.status = status
