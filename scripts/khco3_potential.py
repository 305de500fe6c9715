"""Train the small potential for KHCO3 that the package ships, on a teacher's labels.

    python scripts/khco3_potential.py [FOLDER]

FOLDER (build/khco3-potential unless given) keeps checkpoints; started again, the training goes on. The result goes to
jaxnmr/data/khco3-potential.safetensors.
"""

from __future__ import annotations

import sys
from pathlib import Path

from _khco3 import CUTOFF, ELEMENTS, ROOT, frames, report

from jaxnmr.potential import ModelCard, NequipConfig, save_potential
from jaxnmr.potential.training import Sample, Settings, average_neighbors, compare, new_potential, train

TARGET = ROOT / "jaxnmr" / "data" / "khco3-potential.safetensors"


def samples() -> dict[str, list[Sample]]:
    """Frames to learn from, to choose by (every tenth of them), and to be tested on, by group."""
    found: dict[str, list[Sample]] = {"learn": [], "choose": []}
    for k, (group, sample) in enumerate(frames("khco3-frames", "group")):
        if group in ("400K", "600K"):
            found.setdefault(group, []).append(sample)
        else:
            found["choose" if k % 10 == 9 else "learn"].append(sample)
    return found


def main(folder: str = str(ROOT / "build" / "khco3-potential")) -> None:
    """Train, test, write."""
    sets, place = samples(), Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    config = NequipConfig(
        elements=ELEMENTS,
        cutoff=CUTOFF,
        l_max=2,
        hidden_irreps="32x0e+16x1o+8x2e",
        n_layers=3,
        radial_width=32,
        radial_depth=2,
        average_neighbors=average_neighbors(sets["learn"], CUTOFF),
        layer_norm=False,
    )
    settings = Settings(
        epochs=65, batch_size=4, learning_rate=5e-3, ema=0.995, clip=5.0, energy_weight=4.0, stress_weight=0.1
    )
    model = new_potential(config, sets["learn"], seed=1)

    trained = train(model, sets["learn"], sets["choose"], settings, folder=place, report=report)
    errors = []
    for group in ("choose", "400K", "600K"):
        for each in compare(trained.model, sets[group]):
            errors.append(f"{group}: {each.name} RMSE {each.rmse:.5f} {each.unit} ({len(each.given)} values)")
            print(errors[-1])
    card = ModelCard(
        name="khco3-potential",
        description="Potential of crystalline KHCO3 (kalicinite) near 24-atom cells at 200 to 900 K, for demonstrations. It "
        "imitates nequix-oam-1, a foundation potential, and is no better than that; it has not been held against "
        "experiment, and knows no other compound.",
        data="Frames made for this project (scripts/data/khco3-frames.extxyz.xz), energies and forces by nequix-oam-1",
        data_licence="free to copy; the teacher's weights are MIT",
        licence="Apache-2.0",
        reference="T. Koker, M. Kotak and T. Smidt, arXiv:2508.16067 (the teacher)",
        training=settings.model_dump_json() + "; " + "; ".join(errors),
    )
    save_potential(trained.model.astype("float32"), TARGET, card)
    print(f"{TARGET}: {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:2])
