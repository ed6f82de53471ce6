"""The official files, from the local mirror, give the figures that are known of them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lapwing.datasets import datasets
from lapwing.datasets.download import check_available, download
from lapwing.datasets.prepare import prepare
from lapwing.files import Array, read_arrays

pytestmark = pytest.mark.real_data


def prepared(key: str, mirrors: list[Path], tmp_path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    assert check_available(key, mirrors, True, []) is None
    download(key, tmp_path / "raw" / key, mirrors, True, [])
    prepare(key, tmp_path / "raw" / key, tmp_path / "out.safetensors")
    return read_arrays(tmp_path / "out.safetensors")


def test_fashion_mnist(mirror: Path, tmp_path: Path) -> None:
    arrays, about = prepared("fashion_mnist", [mirror], tmp_path)
    assert arrays["train/inputs"].shape == (60_000, 1, 28, 28)
    assert arrays["test/inputs"].shape == (10_000, 1, 28, 28)
    assert arrays["train/inputs"].dtype == np.uint8
    assert np.bincount(arrays["train/targets"]).tolist() == [6000] * 10
    assert np.bincount(arrays["test/targets"]).tolist() == [1000] * 10
    assert arrays["train/targets"][:3].tolist() == [9, 0, 0]  # an ankle boot, two T-shirts
    assert len(about["raw"]) == 4
    assert about["scale"] == 1 / 255


def test_california_housing(mirror: Path, tmp_path: Path) -> None:
    arrays, about = prepared("california_housing", [mirror], tmp_path)
    features, targets = arrays["train/inputs"], arrays["train/targets"]
    assert set(arrays) == {"train/inputs", "train/targets"}
    assert features.dtype == targets.dtype == np.float32
    first = [8.3252, 41, 6.98412698, 1.02380952, 322, 2.55555556, 37.88, -122.23]
    means = [3.870671, 28.639486, 5.429000, 1.096675, 1425.476744, 3.070655, 35.631861, -119.569704]
    np.testing.assert_allclose(features[0], first, rtol=1e-6)
    np.testing.assert_allclose(features.mean(axis=0, dtype=np.float64), means, rtol=1e-6)
    assert targets[0] == np.float32(4.526)
    assert targets.mean(dtype=np.float64) == pytest.approx(2.068558, abs=1e-6)
    assert (targets.min(), targets.max()) == (np.float32(0.14999), np.float32(5.00001))
    assert about["task"] == "regression"


def test_cifar_10_from_a_folder_that_its_packing_was_written_to(mirror: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    subprocess.run(
        [sys.executable, mirror / "cifar-10" / "unpack.py", second], check=True, capture_output=True
    )
    arrays, about = prepared("cifar_10", [mirror, second], tmp_path)
    assert arrays["train/inputs"].shape == (50_000, 3, 32, 32)
    assert arrays["test/inputs"].shape == (10_000, 3, 32, 32)
    assert np.bincount(arrays["train/targets"]).tolist() == [5000] * 10
    assert np.bincount(arrays["test/targets"]).tolist() == [1000] * 10
    assert arrays["train/targets"][:5].tolist() == [6, 9, 9, 4, 1]  # a frog, two trucks, a deer, a car
    assert arrays["train/inputs"][0, :, 0, 0].tolist() == [59, 62, 63]  # red, green, blue of the first pixel
    channels = arrays["train/inputs"].mean(axis=(0, 2, 3)) / 255
    np.testing.assert_allclose(channels, [0.4914, 0.4822, 0.4465], atol=1e-4)
    assert len(about["raw"]) == 7


def test_mirror_of_this_project_is_complete_but_for_cifar_100(mirror: Path) -> None:
    missing = {key for key in datasets.names() if check_available(key, [mirror], True, [])}
    assert missing == {"cifar_10", "cifar_100"}  # CIFAR-10 is there in a packing
