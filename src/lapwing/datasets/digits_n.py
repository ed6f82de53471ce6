"""Digits with the labels of a weak annotator: stands for CIFAR-10N where nothing can be fetched."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from lapwing.datasets import digits
from lapwing.files import Array


def read(folder: Path) -> dict[str, Array]:
    """Digits, and `worse`: what somebody says of each training image who has seen one image of each digit.

    It is the class whose first training image is nearest (whole numbers, so the same on every
    machine). Which digits are confused depends on their looks, as with people.
    """
    arrays = digits.read(folder)
    images = arrays["train/inputs"].reshape(-1, 64).astype(np.int64)
    seen = images[np.unique(arrays["train/targets"], return_index=True)[1]]
    distances = ((images[:, None] - seen) ** 2).sum(axis=2)
    return {**arrays, "train/worse": distances.argmin(axis=1)}


DATASET = replace(digits.DATASET, title="Digits-N", version=1, read=read, further={"worse": "labels"})
