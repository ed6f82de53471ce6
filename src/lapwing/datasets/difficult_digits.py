"""Digits, and cuttings of two photographs as a source that is clean but hard: stands for `difficult_data`.

Both photographs come with scikit-learn: nothing to fetch.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lapwing.datasets import digits
from lapwing.datasets.base import Dataset, View
from lapwing.files import Array

PHOTOGRAPHS = {10: "china.jpg", 11: "flower.jpg"}
SIDE, BRIGHTEST = 8, 16
REDUCED = 4
"""Pixels of a photograph on each side that become one: a cutting shows 32 x 32 of them."""
TRAIN_COLUMNS = 15
"""Cuttings in the 15 columns on the left are for training, those in the 5 on the right for the test."""


def read(folder: Path) -> dict[str, Array]:
    """Digits, followed by the cuttings uint8 [N, 1, 8, 8] with values 0 to 16, classes 10 and 11."""
    whole = digits.read(folder)
    for label, name in PHOTOGRAPHS.items():
        cuttings = _cuttings(name)
        for split, some in (("train", cuttings[:, :TRAIN_COLUMNS]), ("test", cuttings[:, TRAIN_COLUMNS:])):
            images = some.reshape(-1, 1, SIDE, SIDE)
            targets = np.full(len(images), label, np.int64)
            whole[f"{split}/inputs"] = np.concatenate([whole[f"{split}/inputs"], images])
            whole[f"{split}/targets"] = np.concatenate([whole[f"{split}/targets"], targets])
    return whole


def _cuttings(name: str) -> Array:
    """A photograph in grey, cut into uint8 [rows, columns, 8, 8]; what is left over at the edges is lost."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    grey = np.asarray(Image.fromarray(load_sample_image(name)).convert("L").reduce(REDUCED))
    rows, columns = grey.shape[0] // SIDE, grey.shape[1] // SIDE
    values = (grey[: rows * SIDE, : columns * SIDE].astype(np.int64) * BRIGHTEST + 127) // 255
    return values.astype(np.uint8).reshape(rows, SIDE, columns, SIDE).swapaxes(1, 2)


def view(arrays: Mapping[str, Array], seed: int) -> View:
    """Everything for every seed: the digits are dealt to the study's sources, the cuttings are one more."""
    train, test = arrays["train/targets"], arrays["test/targets"]
    return View(
        train=np.arange(len(train)),
        train_targets=train,
        test=np.arange(len(test)),
        test_targets=test,
        classes=min(PHOTOGRAPHS),
        source=np.where(train < min(PHOTOGRAPHS), -1, 0),
    )


DATASET = Dataset(
    title="Difficult digits",
    version=2,
    task="classification",
    classes=12,
    scale=1 / BRIGHTEST,
    input_shape=(1, SIDE, SIDE),
    rows={"train": 1437 + 2 * 195, "test": 360 + 2 * 65},
    licence=f"{digits.DATASET.licence}; photographs CC BY 2.0 (danielbuechele and vultilion, Flickr)",
    read=read,
    groups={"difficult": tuple(PHOTOGRAPHS)},
    view=view,
)
