"""Spectra in float64, made in a process of their own because JAX has one precision for each.

`references` asks for them; the file run as a script makes them.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

import jaxnmr as jn


class Request(NamedTuple):
    """A spectrum: `resolution` None asks instead for what `jn.convergence` says of the automatic one."""

    key: str
    problem: str
    resolution: jn.Resolution | None


def converged(resolution: jn.Resolution, orientations: int) -> jn.Resolution:
    """Sizes well above those chosen: more directions, a record twice as long, a quarter of the step."""
    phases, samples, count = resolution.phases, resolution.samples, resolution.orientations
    assert count is not None and samples is not None
    return replace(
        resolution,
        orientations=orientations * count,
        phases=None if phases is None else 2 * phases,
        samples=samples * (2 if phases is None else 4),
        substeps=None if phases is None else 2 * (resolution.substeps or 1),
    )


def references(requests: list[Request], sites: int) -> dict[str, np.ndarray]:
    """Run the requests in float64.

    Args:
        requests: what is wanted.
        sites: number of sites of the oxygen problems.

    Returns:
        Arrays by key: (points,) for a spectrum, (3,) for a convergence: orientations, phases, samples.

    Raises:
        RuntimeError: the process failed; with its last words.
    """
    with tempfile.TemporaryDirectory() as folder:
        ask, answer = Path(folder, "requests.pickle"), Path(folder, "answers.npz")
        ask.write_bytes(pickle.dumps((requests, sites)))
        done = subprocess.run(
            [sys.executable, str(Path(__file__).resolve()), str(ask), str(answer)],
            env=os.environ | {"JAX_ENABLE_X64": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"references in float64: {done.stderr[-2000:]}")
        with np.load(answer) as file:
            return {name: file[name] for name in file.files}


def main(ask: str, answer: str) -> None:
    """Read requests, write spectra."""
    from _cases import problem

    requests, sites = pickle.loads(Path(ask).read_bytes())
    out = {}
    for request in requests:
        wanted = problem(request.problem, sites)
        if request.resolution is not None:
            out[request.key] = np.asarray(wanted.intensity(wanted.params, request.resolution))
            assert out[request.key].dtype == np.float64
            continue
        pairs = {pair: float(k) for pair, k in zip(wanted.pairs, wanted.params.rates, strict=True)}
        change = jn.convergence(
            jn.Sites(wanted.isotope, wanted.params.shift, wanted.params.quadrupole),
            wanted.experiment,
            wanted.axis,
            exchange=jn.ExchangeModel.from_rates(pairs, n_sites=wanted.site_count) if pairs else None,
            linewidth=wanted.params.linewidth,
        )
        out[request.key] = np.array([change.orientations, change.phases, change.samples])
    np.savez(answer, **out)


if __name__ == "__main__":
    main(*sys.argv[1:])
