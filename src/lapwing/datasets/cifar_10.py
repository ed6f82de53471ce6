"""CIFAR-10: 60,000 colour photographs, 32 x 32, in ten classes (Krizhevsky 2009)."""

from pathlib import Path

import numpy as np

from lapwing.datasets.base import Dataset, Member, RemoteFile
from lapwing.datasets.pickles import read_batch
from lapwing.files import Array

FOLDER = "cifar-10-batches-py"
TRAIN = [f"data_batch_{number}" for number in range(1, 6)]


def read(folder: Path) -> dict[str, Array]:
    """Images uint8 [N, 3, 32, 32] and labels; the five training batches in their order."""
    batches = [read_batch(folder / FOLDER / name, b"labels") for name in TRAIN]
    test_images, test_labels = read_batch(folder / FOLDER / "test_batch", b"labels")
    return {
        "train/inputs": np.concatenate([images for images, _ in batches]),
        "train/targets": np.concatenate([labels for _, labels in batches]),
        "test/inputs": test_images,
        "test/targets": test_labels,
    }


def _member(name: str, size: int, md5: str) -> Member:
    return Member(name=f"{FOLDER}/{name}", size=size, md5=md5)


DATASET = Dataset(
    title="CIFAR-10",
    version=1,
    task="classification",
    classes=10,
    scale=1 / 255,
    input_shape=(3, 32, 32),
    rows={"train": 50_000, "test": 10_000},
    licence="none stated by the authors (Krizhevsky 2009, cite the technical report)",
    read=read,
    mirror_folder="cifar-10",
    files=(
        RemoteFile(
            name="cifar-10-python.tar.gz",
            urls=("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
            size=170_498_071,
            md5="c58f30108f718f92721af3b95e74349a",
            members=(
                _member("data_batch_1", 31_035_704, "c99cafc152244af753f735de768cd75f"),
                _member("data_batch_2", 31_035_320, "d4bba439e000b95fd0a9bffe97cbabec"),
                _member("data_batch_3", 31_035_999, "54ebc095f3ab1f0389bbae665268c751"),
                _member("data_batch_4", 31_035_696, "634d18415352ddfa80567beed471001a"),
                _member("data_batch_5", 31_035_623, "482c414d41f54cd18b22e5b47cb7c3cb"),
                _member("test_batch", 31_035_526, "40351d587109b95175f43aff81a1287e"),
                _member("batches.meta", 158, "5ff9c542aee3614f3951f8cda6e48888"),
            ),
        ),
    ),
)
