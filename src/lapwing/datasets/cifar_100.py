"""CIFAR-100: 60,000 colour photographs, 32 x 32, in a hundred fine classes (Krizhevsky 2009)."""

from pathlib import Path

from lapwing.datasets.base import MIB, Dataset, Member, RemoteFile
from lapwing.datasets.pickles import read_batch
from lapwing.files import Array

FOLDER = "cifar-100-python"


def read(folder: Path) -> dict[str, Array]:
    """Images uint8 [N, 3, 32, 32] and fine labels, in the official order and split."""
    arrays: dict[str, Array] = {}
    for split in ("train", "test"):
        images, labels = read_batch(folder / FOLDER / split, b"fine_labels")
        arrays[f"{split}/inputs"], arrays[f"{split}/targets"] = images, labels
    return arrays


def _member(name: str, md5: str) -> Member:
    return Member(name=f"{FOLDER}/{name}", md5=md5, largest=256 * MIB)  # sizes are not published


DATASET = Dataset(
    title="CIFAR-100",
    version=1,
    task="classification",
    classes=100,
    scale=1 / 255,
    input_shape=(3, 32, 32),
    rows={"train": 50_000, "test": 10_000},
    licence="none stated by the authors (Krizhevsky 2009, cite the technical report)",
    read=read,
    mirror_folder="cifar-100",
    files=(
        RemoteFile(
            name="cifar-100-python.tar.gz",
            urls=("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",),
            size=169_001_437,
            md5="eb9058c3a382ffc7106e4002c42a8d85",
            members=(
                _member("train", "16019d7e3df5f24257cddd939b257f8d"),
                _member("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
                _member("meta", "7973b15100ade9c7d40fb424638fde48"),
            ),
        ),
    ),
)
