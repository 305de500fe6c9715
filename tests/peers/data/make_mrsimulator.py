"""Make mrsimulator.npz: `python -m tests.peers.data.make_mrsimulator` in the root, half a minute."""

import sys
import time

import numpy as np

from tests.peers import mrsim
from tests.peers.cases import CASES


def main() -> None:
    """Store every case converged (float32), the version, and the change from half the density."""
    stored = {"version": np.array(mrsim.installed_version())}
    for case in CASES:
        start = time.perf_counter()
        fine = mrsim.mrsim_spectrum(case)
        wall = time.perf_counter() - start
        density = mrsim.SPINNING_DENSITY if 0 < case.rate < np.inf else mrsim.STATIC_DENSITY
        change = mrsim.relative_l2(mrsim.mrsim_spectrum(case, density=density // 2), fine)
        stored[case.name] = fine.astype(np.float32)
        stored[f"{case.name}: change"] = np.array(change, np.float32)
        area = fine.sum() * (case.axis[1] - case.axis[0]) / (case.axis[2] - 1)
        print(f"{case.name:30s} {wall:6.1f} s  half density {change:.1e}  area in axis {area:.4f}", flush=True)
    np.savez_compressed(mrsim.DATA, allow_pickle=False, **stored)


if __name__ == "__main__":
    sys.exit(main())
