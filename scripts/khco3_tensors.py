"""Train the shielding and field-gradient model for KHCO3 that the package ships, on GIAO labels of isolated dimers.

    python scripts/khco3_tensors.py [FOLDER]
    python scripts/khco3_tensors.py --calibrate

FOLDER (build/khco3-tensors unless given) keeps checkpoints; started again, the training goes on. The result goes to
jaxnmr/data/khco3-tensors.safetensors. With --calibrate the model there keeps its weights, and only its uncertainties and the
domain of its learnt atoms are made anew. The labels, scripts/data/khco3-labels.extxyz.xz, were made for this project.
"""

from __future__ import annotations

import sys
from pathlib import Path

from _khco3 import CUTOFF, ELEMENTS, ROOT, frames, report

from jaxnmr.potential import EFG, SHIELDING, HeadConfig, ModelCard, NequipConfig, load_tensor_model, save_tensor_model
from jaxnmr.potential.training import Sample, Settings, average_neighbors, calibrated, compare, new_tensor_model, train

TARGET = ROOT / "jaxnmr" / "data" / "khco3-tensors.safetensors"
# Of each temperature's frames in their order: the last tenth is tested on, the tenth before chooses and calibrates. Frames
# follow each other by 6 fs, so that neighbours are alike; the ends of the trajectories are the farthest from the rest.
TEST, CHOOSE = 0.1, 0.1


def samples() -> dict[str, list[Sample]]:
    """Frames to learn from, to choose by, and to be tested on.

    PySCF prints a row for each direction of the field, as this package keeps shieldings.
    """
    every = frames("khco3-labels", "temperature_K", (SHIELDING, EFG))
    found: dict[str, list[Sample]] = {"learn": [], "choose": []}
    for temperature in sorted({kelvin for kelvin, _ in every}):
        mine = [sample for kelvin, sample in every if kelvin == temperature]
        test, choose = round(TEST * len(mine)), round(CHOOSE * len(mine))
        found["learn"] += mine[: len(mine) - test - choose]
        found["choose"] += mine[len(mine) - test - choose : len(mine) - test]
        found[f"{temperature} K"] = mine[len(mine) - test :]
    return found


def main(folder: str = str(ROOT / "build" / "khco3-tensors")) -> None:
    """Train, test, write."""
    sets, place = samples(), Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    network = NequipConfig(
        elements=ELEMENTS,
        cutoff=CUTOFF,
        l_max=2,
        hidden_irreps="32x0e+16x1o+16x2e",
        n_layers=3,
        radial_width=32,
        radial_depth=2,
        average_neighbors=average_neighbors(sets["learn"], CUTOFF),
        layer_norm=False,
        scalar_output=False,
    )
    heads = HeadConfig(channels=16, width=32, depth=1, members=4)
    settings = Settings(epochs=60, batch_size=4, learning_rate=5e-3, ema=0.99, clip=5.0)
    model = new_tensor_model(network, (SHIELDING, EFG), sets["learn"], heads=heads, seed=1)

    trained = train(model, sets["learn"], sets["choose"], settings, folder=place, report=report)
    errors = []
    for group in ("300 K", "500 K", "700 K"):
        for each in compare(trained.model, sets[group]):
            errors.append(f"{group} {each.name} {each.element}: RMSE {each.rmse:.4f} {each.unit}, R2 {each.r2:.4f}, "
                          f"{each.coverage(1.0):.2f} and {each.coverage(1.96):.2f} within 1 and 1.96 u")  # fmt: skip
            print(errors[-1])
    card = ModelCard(
        name="khco3-tensors",
        description="Shielding and field gradients of H, C and O in crystalline KHCO3 (kalicinite) at 300 to 700 K, for "
        "demonstrations. Its labels are of isolated bicarbonate dimers, as dianions without potassium and the crystal's "
        "field, so that absolute values are off by as much as these matter; it knows no other compound.",
        data="GIAO RKS-PBE/pcSseg-1 (PySCF 2.14) of dimers in 294 molecular-dynamics frames, made for this project "
        "(scripts/data/khco3-labels.extxyz.xz)",
        data_licence="free to copy",
        licence="Apache-2.0",
        training=settings.model_dump_json() + "; " + "; ".join(errors),
    )
    save_tensor_model(trained.model.astype("float32"), TARGET, card)
    print(f"{TARGET}: {TARGET.stat().st_size} bytes")


def calibrate() -> None:
    """Uncertainties and domain of the model that is there."""
    sets, model = samples(), load_tensor_model(TARGET, "float32")
    save_tensor_model(calibrated(model, sets["choose"], learnt=sets["learn"]), TARGET)


if __name__ == "__main__":
    calibrate() if sys.argv[1:2] == ["--calibrate"] else main(*sys.argv[1:2])
