"""Exact, differentiable solid-state NMR spectra of spins that hop between sites.

Every name below is imported when it is first used, so `import jaxnmr` is quick and a spectrum loads only
the rooms that it needs.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxnmr import (
        dynamics as dynamics,
        errors as errors,
        exchange as exchange,
        fitting as fitting,
        isotopes as isotopes,
        potential as potential,
        rotations as rotations,
        spectrum as spectrum,
        spins as spins,
        structure as structure,
        tensors as tensors,
        units as units,
        workflow as workflow,
    )
    from jaxnmr._version import __version__ as __version__
    from jaxnmr.exchange import ExchangeModel as ExchangeModel, rates as rates
    from jaxnmr.fitting import FitResult as FitResult, fit as fit
    from jaxnmr.isotopes import isotope as isotope
    from jaxnmr.potential import (
        Potential as Potential,
        TensorModel as TensorModel,
        load_potential as load_potential,
        load_tensor_model as load_tensor_model,
    )
    from jaxnmr.spectrum import (
        FID as FID,
        MAS as MAS,
        Axis as Axis,
        HahnEcho as HahnEcho,
        Resolution as Resolution,
        SolidEcho as SolidEcho,
        Spectrum as Spectrum,
        Static as Static,
        convergence as convergence,
        processing as processing,
        reduce as reduce,
        regimes as regimes,
        simulate as simulate,
    )
    from jaxnmr.spins import Sites as Sites
    from jaxnmr.structure import Structure as Structure
    from jaxnmr.tensors import (
        quadrupole_tensor as quadrupole_tensor,
        shift_tensor as shift_tensor,
    )
    from jaxnmr.workflow import RunConfig as RunConfig, run as run

_ROOMS = (
    "dynamics",
    "errors",
    "exchange",
    "fitting",
    "isotopes",
    "potential",
    "rotations",
    "spectrum",
    "spins",
    "structure",
    "tensors",
    "units",
    "workflow",
)

_NAMES = {
    "ExchangeModel": "jaxnmr.exchange",
    "rates": "jaxnmr.exchange",
    "FitResult": "jaxnmr.fitting",
    "fit": "jaxnmr.fitting",
    "isotope": "jaxnmr.isotopes",
    "Potential": "jaxnmr.potential",
    "TensorModel": "jaxnmr.potential",
    "load_potential": "jaxnmr.potential",
    "load_tensor_model": "jaxnmr.potential",
    "FID": "jaxnmr.spectrum",
    "Axis": "jaxnmr.spectrum",
    "HahnEcho": "jaxnmr.spectrum",
    "MAS": "jaxnmr.spectrum",
    "Resolution": "jaxnmr.spectrum",
    "SolidEcho": "jaxnmr.spectrum",
    "Spectrum": "jaxnmr.spectrum",
    "Static": "jaxnmr.spectrum",
    "convergence": "jaxnmr.spectrum",
    "processing": "jaxnmr.spectrum",
    "reduce": "jaxnmr.spectrum",
    "regimes": "jaxnmr.spectrum",
    "simulate": "jaxnmr.spectrum",
    "Sites": "jaxnmr.spins",
    "Structure": "jaxnmr.structure",
    "quadrupole_tensor": "jaxnmr.tensors",
    "shift_tensor": "jaxnmr.tensors",
    "RunConfig": "jaxnmr.workflow",
    "run": "jaxnmr.workflow",
    "__version__": "jaxnmr._version",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS, *_NAMES})


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _ROOMS:
        return import_module(f"jaxnmr.{name}")
    if name in _NAMES:
        # `rates` is a module that its room does not load by itself: it needs that of the dynamics.
        home = _NAMES[name]
        value = import_module(f"{home}.{name}") if name == "rates" else getattr(import_module(home), name)
        globals()[name] = value  # the next look-up does not come here
        return value
    message = f"module 'jaxnmr' has no attribute {name!r}"
    if not name.startswith("__"):
        from jaxnmr.errors import near

        message += near(name, (*_ROOMS, *_NAMES))
    raise AttributeError(message)
