"""The official files, from the local mirror, give the figures that are known of them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lapwing.datasets import datasets
from lapwing.datasets._human_labels import read_labels
from lapwing.datasets.download import check_available, download
from lapwing.datasets.pickles import read_torch_file
from lapwing.datasets.prepare import prepare
from lapwing.files import Array, read_arrays
from tests.conftest import MIRROR

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mirror of CIFAR-10: a folder that its packing was written to."""
    folder = tmp_path_factory.mktemp("unpacked")
    unpack = [sys.executable, MIRROR / "cifar-10" / "unpack.py", folder]
    subprocess.run(unpack, check=True, capture_output=True)
    return folder


def prepared(key: str, mirrors: list[Path], tmp_path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    assert check_available(key, mirrors, True, []) is None
    for name in (key, *datasets.get(key).uses):
        download(name, tmp_path / "raw" / name, mirrors, True, [])
    prepare(key, tmp_path / "raw" / key, tmp_path / "out.safetensors")
    return read_arrays(tmp_path / "out.safetensors")


def percent_wrong(labels: Array, clean: Array) -> float:
    return float(100 * np.mean(labels != clean))


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


def test_cifar_10_from_a_folder_that_its_packing_was_written_to(
    mirror: Path, unpacked: Path, tmp_path: Path
) -> None:
    arrays, about = prepared("cifar_10", [mirror, unpacked], tmp_path)
    assert arrays["train/inputs"].shape == (50_000, 3, 32, 32)
    assert arrays["test/inputs"].shape == (10_000, 3, 32, 32)
    assert np.bincount(arrays["train/targets"]).tolist() == [5000] * 10
    assert np.bincount(arrays["test/targets"]).tolist() == [1000] * 10
    assert arrays["train/targets"][:5].tolist() == [6, 9, 9, 4, 1]  # a frog, two trucks, a deer, a car
    assert arrays["train/inputs"][0, :, 0, 0].tolist() == [59, 62, 63]  # red, green, blue of the first pixel
    channels = arrays["train/inputs"].mean(axis=(0, 2, 3)) / 255
    np.testing.assert_allclose(channels, [0.4914, 0.4822, 0.4465], atol=1e-4)
    assert len(about["raw"]) == 7


def test_mnist(mirror: Path, tmp_path: Path) -> None:
    arrays, _ = prepared("mnist", [mirror], tmp_path)
    assert arrays["train/inputs"].shape == (60_000, 1, 28, 28)
    assert arrays["test/inputs"].shape == (10_000, 1, 28, 28)
    of_each = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(arrays["train/targets"]).tolist() == of_each
    assert arrays["train/targets"][:5].tolist() == [5, 0, 4, 1, 9]
    assert arrays["train/inputs"].mean() / 255 == pytest.approx(0.1307, abs=1e-4)


def test_cifar_10n(mirror: Path, unpacked: Path, tmp_path: Path) -> None:
    arrays, about = prepared("cifar_10n", [mirror, unpacked], tmp_path)
    clean = arrays["train/targets"]
    assert clean[:5].tolist() == [6, 9, 9, 4, 1]
    published = {
        "aggregate": 9.01, "random_1": 17.234, "random_2": 18.122, "random_3": 17.640, "worse": 40.208
    }  # fmt: skip
    found = {name: percent_wrong(arrays[f"train/{name}"], clean) for name in published}
    assert found == pytest.approx(published, abs=1e-6)
    assert arrays["test/inputs"].shape == (10_000, 3, 32, 32)
    assert len(about["raw"]) == 8


def test_labels_of_cifar_100n(mirror: Path) -> None:
    path = mirror / "cifar-n" / "CIFAR-100_human.pt"
    clean = read_torch_file(path)["clean_label"]
    assert np.bincount(clean).tolist() == [500] * 100
    assert clean[:3].tolist() == [19, 29, 0]  # cattle, a dinosaur, apples: as the official batch begins
    labels = read_labels(path, clean, {"noisy": "noisy_label"})
    assert percent_wrong(labels["train/noisy"], clean) == pytest.approx(40.2, abs=1e-6)


def test_difficult_data(mirror: Path, unpacked: Path, tmp_path: Path) -> None:
    arrays, about = prepared("difficult_data", [mirror, unpacked], tmp_path)
    assert about["groups"] == {"difficult": [10, 11]}
    assert len(about["raw"]) == 4 + 7
    view = datasets.get("difficult_data").view(arrays, 43)
    assert np.bincount(view.train_targets)[10:].tolist() == [5000, 5000]
    assert np.bincount(view.test_targets)[10:].tolist() == [1000, 1000]
    assert np.bincount(view.source + 1).tolist() == [60_000, 10_000]
    first, second = np.random.default_rng(43).choice(10, 2, replace=False)
    for label, photograph in ((10, first), (11, second)):
        rows = view.train[view.train_targets == label]
        assert set(arrays["train/photograph"][rows]) == {photograph}
    photographs = arrays["train/inputs"][60_000:].mean() / 255
    assert photographs == pytest.approx(0.299 * 0.4914 + 0.587 * 0.4822 + 0.114 * 0.4465, abs=0.002)


def test_what_the_mirror_of_this_project_lacks_is_known(mirror: Path) -> None:
    missing = {key for key in datasets.names() if check_available(key, [mirror], True, [])}
    cifar_10 = {"cifar_10", "cifar_10n", "difficult_data"}  # it is there in a packing
    in_part = {"imdb", "ptb_xl", "tiny_imagenet"}
    assert missing == {"cifar_100", "cifar_100n", "goemotions", "imagenet64"} | cifar_10 | in_part
