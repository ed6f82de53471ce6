"""MNIST, and two classes of CIFAR-10 as a source that is clean but hard (spec lap-core 6.8)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lapwing.datasets import cifar_10, mnist
from lapwing.datasets.base import Dataset, View
from lapwing.files import Array

SIDE, DIGITS, PHOTOGRAPHS = 28, 10, (10, 11)
PHOTOGRAPH_CLASSES = 10
NO_PHOTOGRAPH = -1


def read(folder: Path) -> dict[str, Array]:
    """MNIST, followed by all of CIFAR-10 in grey, of which a seed takes two classes.

    Photographs have the target 10 until `view` gives them their own; `<split>/photograph` is their
    class in CIFAR-10, and -1 for a digit.
    """
    digits = mnist.DATASET.read(folder.parent / "mnist")
    photographs = cifar_10.read(folder.parent / "cifar_10")
    arrays: dict[str, Array] = {}
    for split in ("train", "test"):
        few, many = digits[f"{split}/targets"], photographs[f"{split}/targets"]
        grey = as_digits_are(photographs[f"{split}/inputs"])
        arrays[f"{split}/inputs"] = np.concatenate([digits[f"{split}/inputs"], grey])
        arrays[f"{split}/targets"] = np.concatenate([few, np.full_like(many, PHOTOGRAPHS[0])])
        arrays[f"{split}/photograph"] = np.concatenate([np.full_like(few, NO_PHOTOGRAPH), many])
    return arrays


def as_digits_are(images: Array) -> Array:
    """Colour images uint8 [N, 3, H, W] as uint8 [N, 1, 28, 28]: luminance (ITU-R 601), then bilinear.

    Pillow's bilinear filter averages over what a smaller pixel covers.
    """
    from PIL import Image

    grey = np.empty((len(images), 1, SIDE, SIDE), np.uint8)
    for row, image in enumerate(np.ascontiguousarray(images.transpose(0, 2, 3, 1))):
        small = Image.fromarray(image).convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        grey[row, 0] = np.asarray(small)
    return grey


def view(arrays: Mapping[str, Array], seed: int) -> View:
    """All digits, dealt to the study's sources, and two classes of photographs, one fixed source.

    generator(seed) draws the two classes of CIFAR-10; the first becomes class 10, the second 11.
    """
    chosen = np.random.default_rng(seed).choice(PHOTOGRAPH_CLASSES, len(PHOTOGRAPHS), replace=False)
    train, train_targets = _taken(arrays, "train", chosen)
    test, test_targets = _taken(arrays, "test", chosen)
    source = np.where(train_targets < DIGITS, -1, 0)
    return View(
        train=train,
        train_targets=train_targets,
        test=test,
        test_targets=test_targets,
        classes=DIGITS,
        source=source,
    )


def _taken(arrays: Mapping[str, Array], split: str, chosen: Array) -> tuple[Array, Array]:
    """The rows of a split that are digits or of the `chosen` classes, int64 [N], and their targets."""
    photograph, targets = arrays[f"{split}/photograph"], arrays[f"{split}/targets"].copy()
    for label, photograph_class in zip(PHOTOGRAPHS, chosen, strict=True):
        targets[photograph == photograph_class] = label
    rows = np.flatnonzero((photograph == NO_PHOTOGRAPH) | np.isin(photograph, chosen))
    return rows, targets[rows]


DATASET = Dataset(
    title="Difficult data",
    version=2,
    task="classification",
    classes=DIGITS + len(PHOTOGRAPHS),
    scale=1 / 255,
    input_shape=(1, SIDE, SIDE),
    rows={"train": 110_000, "test": 20_000},
    licence="as MNIST (LeCun, Cortes and Burges) and CIFAR-10 (Krizhevsky 2009): none stated",
    read=read,
    uses=("mnist", "cifar_10"),
    further={"photograph": "detail"},
    groups={"difficult": PHOTOGRAPHS},
    view=view,
)
