"""Make glass.npz: `python -m tests.peers.data.make_glass` in the root, a few minutes."""

import sys
import time

import numpy as np

from tests.peers import glass, mrsim


def main() -> None:
    """Store every glass (float32), the version, and the change from half the grid of couplings and asymmetries."""
    stored = {"version": np.array(mrsim.installed_version())}
    coarse = tuple((count + 1) // 2 for count in glass.GRID)
    for each in glass.GLASSES:
        start = time.perf_counter()
        fine = glass.spectrum(each)
        wall = time.perf_counter() - start
        change = mrsim.relative_l2(glass.spectrum(each, coarse), fine)
        stored[each.name] = fine.astype(np.float32)
        stored[f"{each.name}: change"] = np.array(change, np.float32)
        area = fine.sum() * (each.axis[1] - each.axis[0]) / (each.axis[2] - 1)
        print(f"{each.name:24s} {wall:6.1f} s  half the grid {change:.1e}  area in axis {area:.4f}", flush=True)
    np.savez_compressed(glass.DATA, allow_pickle=False, **stored)


if __name__ == "__main__":
    sys.exit(main())
