"""CIFAR-10N: CIFAR-10 with the labels that three people gave each training image (Wei et al. 2022)."""

from pathlib import Path

from lapwing.datasets import cifar_10
from lapwing.datasets._human_labels import LICENCE, label_file, read_labels
from lapwing.datasets.base import Dataset
from lapwing.files import Array

FILE = "CIFAR-10_human.pt"
LABELS = {
    "aggregate": "aggre_label",
    "worse": "worse_label",
    "random_1": "random_label1",
    "random_2": "random_label2",
    "random_3": "random_label3",
}


def read(folder: Path) -> dict[str, Array]:
    """CIFAR-10 as it is (its labels are the clean ones), and for each training image further labels.

    `random_<k>` is what the k-th person said, `aggregate` the majority (one of the three where all
    differ), `worse` a wrong one where there is any.
    """
    arrays = cifar_10.read(folder.parent / "cifar_10")
    return {**arrays, **read_labels(folder / FILE, arrays["train/targets"], LABELS)}


DATASET = Dataset(
    title="CIFAR-10N",
    version=1,
    task="classification",
    classes=10,
    scale=1 / 255,
    input_shape=(3, 32, 32),
    rows={"train": 50_000, "test": 10_000},
    licence=LICENCE,
    read=read,
    uses=("cifar_10",),
    further=dict.fromkeys(LABELS, "labels"),
    mirror_folder="cifar-n",
    files=(label_file(FILE, 2_401_007, "873e69c39cb9b5e97fb6bae2d60bb59b38a5cbc31d2b868f7903dcb2b9dd2310"),),
)
