"""Every corruption equals the arrays recorded from the published implementation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lapwing.corruption import corruptions
from lapwing.corruption.base import CorruptionSettings, Sources, corrupt_inputs, decide

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = {
    "chunk_swap": "chunk_shuffle",
    "label_random": "random_label",
    "label_shuffle": "batch_label_shuffle",
    "label_flip": "batch_label_flip",
    "noise_add": "added_noise",
    "noise_only": "replaced_noise",
}
LABELS = [kind for kind in NAMES if kind.startswith("label_")]
NOISE = [kind for kind in NAMES if kind.startswith("noise_")]


@pytest.fixture(params=["img", "vec"])
def golden(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"lap_corruption_{request.param}.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(params=[2, 12345])
def seed(request: pytest.FixtureRequest) -> int:
    return request.param


def decided(
    golden: dict[str, np.ndarray], seed: int, kind: str
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Our artefact for a golden kind; without corrupt sources for the kind `none`."""
    options = {"view": "vector" if golden["base_x"].ndim == 2 else "image"} if kind == "chunk_swap" else {}
    settings = CorruptionSettings(
        dataset="golden",
        dataset_version=1,
        sources=Sources(
            number=int(golden["n_sources"]),
            corrupt=0 if kind == "none" else int(golden["n_corrupt"]),
            size=int(golden["source_size"]),
        ),
        name=NAMES.get(kind, "original"),
        version=corruptions.get(NAMES.get(kind, "original")).version,
        options=options,
    )
    prepared = {
        "train/inputs": golden["base_x"],
        "train/targets": golden["base_y"],
        "test/targets": golden["base_y"],
    }
    about = {"dataset": "golden", "version": 1, "task": "classification", "classes": 10}
    return decide(settings, prepared, about, seed)


@pytest.mark.parametrize("kind", ["none", *NAMES])
def test_sources_equal_the_recorded_ones(golden: dict[str, np.ndarray], seed: int, kind: str) -> None:
    arrays, about = decided(golden, seed, kind)
    recorded_order = golden[f"s{seed}_order" if kind == "none" else f"s{seed}_{kind}_order"]
    np.testing.assert_array_equal(arrays["index"], recorded_order)
    np.testing.assert_array_equal(arrays["source"], golden[f"s{seed}_source"])
    np.testing.assert_array_equal(about["corrupt_sources"], golden[f"s{seed}_{kind}_corrupt_sources"])
    np.testing.assert_array_equal(
        np.flatnonzero(arrays["is_corrupt_source"]), np.sort(golden[f"s{seed}_{kind}_corrupt_sources"])
    )


@pytest.mark.parametrize("kind", ["none", *NAMES])
def test_labels_equal_the_recorded_ones_on_both_passes(
    golden: dict[str, np.ndarray], seed: int, kind: str
) -> None:
    arrays, _ = decided(golden, seed, kind)
    np.testing.assert_array_equal(arrays["targets"], golden[f"s{seed}_{kind}_y"])
    np.testing.assert_array_equal(arrays["targets"], golden[f"s{seed}_{kind}_y_second_pass"])


def test_shuffled_chunks_equal_the_recorded_ones(golden: dict[str, np.ndarray], seed: int) -> None:
    arrays, about = decided(golden, seed, "chunk_swap")
    inputs = golden["base_x"][arrays["index"]]
    positions = np.flatnonzero(arrays["is_corrupted"])
    inputs[positions] = corrupt_inputs(about["input_rule"], inputs[positions], positions)
    np.testing.assert_array_equal(inputs, golden[f"s{seed}_chunk_swap_x"])


@pytest.mark.parametrize("kind", NOISE)
def test_noise_equals_the_recorded_one(golden: dict[str, np.ndarray], seed: int, kind: str) -> None:
    arrays, about = decided(golden, seed, kind)
    positions = golden[f"s{seed}_{kind}_sample_index"]
    assert arrays["is_corrupted"][positions].all()
    noisy = corrupt_inputs(about["input_rule"], golden["base_x"][arrays["index"][positions]], positions)
    # Other processors round the logarithm of the noise otherwise in the last bits.
    np.testing.assert_allclose(noisy, golden[f"s{seed}_{kind}_x_at_sample_index"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", LABELS)
def test_label_corruptions_leave_inputs_alone(golden: dict[str, np.ndarray], seed: int, kind: str) -> None:
    assert decided(golden, seed, kind)[1]["input_rule"] is None
