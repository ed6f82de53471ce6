"""Handwritten digits, 8 x 8, which scikit-learn carries with it: nothing to fetch."""

from pathlib import Path

import numpy as np

from lapwing.datasets.base import Dataset
from lapwing.files import Array

TEST_ROWS = 360


def read(folder: Path) -> dict[str, Array]:
    """Images uint8 [N, 1, 8, 8] with values 0 to 16, in one stratified split, the same for every seed."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = digits.images.astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    rows = np.arange(len(labels))
    train, test = train_test_split(rows, test_size=TEST_ROWS, stratify=labels, random_state=0)
    return {
        "train/inputs": images[train],
        "train/targets": labels[train],
        "test/inputs": images[test],
        "test/targets": labels[test],
    }


DATASET = Dataset(
    title="Digits",
    version=1,
    task="classification",
    classes=10,
    scale=1 / 16,
    input_shape=(1, 8, 8),
    rows={"train": 1437, "test": TEST_ROWS},
    licence="CC BY 4.0 (Alpaydin and Kaynak 1998, UCI repository)",
    read=read,
)
