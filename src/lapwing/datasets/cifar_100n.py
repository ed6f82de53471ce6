"""CIFAR-100N: CIFAR-100 with the fine label that a person gave each training image (Wei et al. 2022)."""

from pathlib import Path

from lapwing.datasets import cifar_100
from lapwing.datasets._human_labels import LICENCE, label_file, read_labels
from lapwing.datasets.base import Dataset
from lapwing.files import Array

FILE = "CIFAR-100_human.pt"
LABELS = {"noisy": "noisy_label"}


def read(folder: Path) -> dict[str, Array]:
    """CIFAR-100 as it is (its labels are the clean ones), and `noisy`: what a person called each image."""
    arrays = cifar_100.read(folder.parent / "cifar_100")
    return {**arrays, **read_labels(folder / FILE, arrays["train/targets"], LABELS)}


DATASET = Dataset(
    title="CIFAR-100N",
    version=1,
    task="classification",
    classes=100,
    scale=1 / 255,
    input_shape=(3, 32, 32),
    rows={"train": 50_000, "test": 10_000},
    licence=LICENCE,
    read=read,
    uses=("cifar_100",),
    further=dict.fromkeys(LABELS, "labels"),
    mirror_folder="cifar-n",
    files=(label_file(FILE, 1_000_959, "bd2d80409754d420292d622e15e25248ba21e37d27429efac49c8da723f44394"),),
)
