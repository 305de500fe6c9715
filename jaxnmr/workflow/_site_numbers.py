"""Numbers of each observed nucleus: its tensors in each basin, at rest and averaged, with their errors."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxnmr.isotopes import isotope
from jaxnmr.tensors import efg_to_coupling, haeberlen, quadrupole_parameters, shielding_to_shift
from jaxnmr.workflow._records import Sampled
from jaxnmr.workflow._result import Result
from jaxnmr.workflow._sets import states_of
from jaxnmr.workflow._timescales import averaging

__all__ = ["finite_or_none", "sites_of"]

# Standard deviation of V_zz at first order, of symmetric traceless errors without a direction of their own whose elements
# have the mean square 1: five components of 9/5 each, and zzᵀ has 2/3 of one.
_V_ZZ = float(np.sqrt(6 / 5))


def sites_of(result: Result) -> list[dict[str, Any]]:
    """Each nucleus: its tensors in each of its basins, at rest and averaged, and their averages over the basins.

    Keys "averaged" are of earlier reports: the same lists as "motion_averages" of a basin and "mean_of_basins" of a site.
    """
    tensors, exchange = result.tensors, result.exchange
    if tensors is None or exchange is None:
        return []
    nucleus, rows = isotope(result.config.experiment.isotope), []
    reference = result.config.tensors.reference_ppm

    def both(shielding: np.ndarray, efg: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        shift = np.asarray(shielding_to_shift(shielding, reference))
        return shift, np.asarray(efg_to_coupling(efg, nucleus)) if nucleus.is_quadrupolar else None

    shift, coupling = both(tensors.shielding, tensors.efg)
    for n, name in enumerate(tensors.names):
        group, states = int(exchange.group[n]), states_of(exchange, n)
        basins = []
        for state in states:
            row = _parameters(shift[state, n], None if coupling is None else coupling[state, n])
            error = float(tensors.shielding_error[state, n])
            if np.isfinite(error):
                row |= {"shielding_element_error_ppm": error}
            wrong = float(tensors.efg_error[state, n])
            if coupling is not None and np.isfinite(wrong):
                row |= {"cq_error_hz": _hz_per_au(nucleus.name) * _V_ZZ * wrong}
            moved = [
                _moved(result, found, int(state), n, both)
                for found in result.sampled
                if np.isfinite(found.shielding[state, n]).all()
            ]
            basins.append({"minimum": int(state)} | row | {"motion_averages": moved, "averaged": moved})
        averages = []
        for t, kelvin in enumerate(result.config.experiment.temperatures_k if group >= 0 else ()):
            p = exchange.populations[t, group, : len(states)]
            for found in (None, *result.sampled[t : t + 1]):
                of = tensors if found is None else found
                if not np.isfinite(of.shielding[states, n]).all():
                    continue
                parts = both(of.shielding[states, n], of.efg[states, n])
                mean = [None if part is None else np.tensordot(p, part, 1) for part in parts]
                head = {"temperature_k": kelvin, "of": "minima" if found is None else "averaged tensors"}
                head |= {"populations": p.tolist(), "rates_per_s": exchange.rates[t, group, 1 : len(states), 0].tolist()}
                out = exchange.rates[t, group][: len(states), : len(states)]
                averages.append(head | _parameters(*mean) | _rule(result, parts, mean, p, out))
        whose = {"atom": name, "group": None if group < 0 else group, "basins": basins}
        rows.append(whose | {"mean_of_basins": averages, "averaged": averages})
    return rows


def _moved(result: Result, found: Sampled, state: int, n: int, both: Any) -> dict[str, Any]:
    """Averaged tensors of a nucleus in a basin, with the error of the sampling and the rule of averaging."""
    shift, coupling = both(found.shielding[state, n], found.efg[state, n])
    nucleus = result.config.experiment.isotope
    per_au = _hz_per_au(nucleus)
    rule = averaging(
        float(found.time_fs[state, n]),
        max(result.config.experiment.fields_t),
        nucleus,
        float(found.shielding_spread[state, n]),
        0.0 if coupling is None else per_au * float(found.efg_spread[state, n]),
        0.0 if coupling is None else float(quadrupole_parameters(coupling).c_q),
    )
    diagonal = found.shielding_stderr[state, n, [0, 1, 2], [0, 1, 2]]
    head: dict[str, Any] = {"temperature_k": found.kelvin}
    tail = {
        "shielding_element_stderr_ppm": finite_or_none(np.sqrt(np.mean(found.shielding_stderr[state, n] ** 2))),
        "shift_stderr_ppm": finite_or_none(np.sqrt(np.sum(diagonal**2)) / 3),
        "correlation_time_fs": finite_or_none(found.time_fs[state, n]),
        "omega_0_tau": finite_or_none(rule.larmor),
        "splitting_tau": finite_or_none(rule.splitting),
        "average_that_holds": rule.rule,
    }
    if coupling is not None:
        tail["cq_stderr_hz"] = finite_or_none(per_au * _largest_error(found.efg[state, n], found.efg_stderr[state, n]))
    return head | _parameters(shift, coupling) | tail


def _rule(result: Result, parts: Any, mean: Any, p: np.ndarray, out: np.ndarray) -> dict[str, Any]:
    """Which average of the basins holds: the slowest of the hops beside the Larmor frequency and the differences.

    Args:
        result: a run.
        parts: shift, ppm, and coupling, Hz, in each basin.
        mean: of these.
        p: shares of the basins.
        out: [i, j] from basin j to i, s⁻¹.
    """
    root = np.sqrt(np.maximum(p, 1e-30))
    # Symmetric by detailed balance. Basins that no jump joins decay never.
    even = (np.diag(out.sum(axis=0)) - out) * root / root[:, None]
    slowest = float(max(np.linalg.eigvalsh((even + even.T) / 2)[1], 1e-30))
    ppm, hz = (
        0.0 if part is None else float(np.sqrt(np.tensordot(p, np.mean((part - m) ** 2, axis=(-1, -2)), 1)))
        for part, m in zip(parts, mean, strict=True)
    )
    asked = result.config.experiment
    cq = 0.0 if mean[1] is None else float(quadrupole_parameters(mean[1]).c_q)
    rule = averaging(1e15 / slowest, max(asked.fields_t), asked.isotope, ppm, hz, cq)
    return {
        "slowest_exchange_per_s": slowest,
        "omega_0_tau": finite_or_none(rule.larmor),
        "splitting_tau": finite_or_none(rule.splitting),
        "average_that_holds": rule.rule,
    }


def _hz_per_au(nucleus: str) -> float:
    return abs(float(np.asarray(efg_to_coupling(np.eye(3), nucleus))[0, 0]))


def _largest_error(tensor: np.ndarray, stderr: np.ndarray) -> float:
    r"""Standard error of the largest principal value, $\delta V_{zz} = \mathbf z^\top \delta\mathbf V\,\mathbf z$.

    Elements err independently, but for those that a symmetric tensor has twice.
    """
    values, frame = np.linalg.eigh((tensor + tensor.T) / 2)
    z = frame[:, np.argmax(np.abs(values))]
    squares = (np.outer(z, z) * stderr) ** 2
    return float(np.sqrt(np.trace(squares) + 4 * squares[np.triu_indices(3, 1)].sum()))


def finite_or_none(value: Any) -> float | None:
    """A number, or None for one that JSON cannot hold."""
    return float(value) if np.isfinite(value) else None


def _parameters(shift: Any, coupling: Any) -> dict[str, Any]:
    parts = haeberlen(shift)
    found: dict[str, Any] = {"shift_ppm": float(parts.delta_iso), "zeta_ppm": float(parts.zeta), "eta": float(parts.eta)}
    found["shift_tensor_ppm"] = np.asarray(shift).tolist()
    if coupling is not None:
        quadrupole = quadrupole_parameters(coupling)
        found |= {"cq_hz": float(quadrupole.c_q), "eta_q": float(quadrupole.eta_q)}
        found["coupling_tensor_hz"] = np.asarray(coupling).tolist()
    return found
