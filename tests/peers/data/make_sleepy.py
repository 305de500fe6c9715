"""Make sleepy.npz: `python -m tests.peers.data.make_sleepy` in the root, eleven minutes on one core."""

import sys
import time

import numpy as np

from tests.peers import sleepy


def main() -> None:
    """Run every rate, static and spinning, and store complex64 signals and the version."""
    signals = {"version": np.array(sleepy.installed_version())}
    for spinning in sleepy.SPINNING:
        grid = sleepy.MAS_GRID if spinning else sleepy.STATIC_GRID
        for k in sleepy.RATES:
            start = time.perf_counter()
            _, signal = sleepy.two_site_fid(k, spinning, grid)
            signals[sleepy.key(k, spinning)] = signal.astype(np.complex64)
            print(f"{spinning:g} Hz, k = {k:g}: {time.perf_counter() - start:.1f} s", flush=True)
    np.savez_compressed(sleepy.DATA, allow_pickle=False, **signals)


if __name__ == "__main__":
    sys.exit(main())
