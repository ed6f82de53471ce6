"""Progression of diabetes in 442 patients, which scikit-learn carries with it: nothing to fetch."""

from pathlib import Path

import numpy as np

from lapwing.datasets.base import Dataset
from lapwing.files import Array


def read(folder: Path) -> dict[str, Array]:
    """Features float32 [442, 10] as scikit-learn scales them; targets are progression / 100."""
    from sklearn.datasets import load_diabetes

    diabetes = load_diabetes()
    return {
        "train/inputs": diabetes.data.astype(np.float32),
        "train/targets": (diabetes.target / 100).astype(np.float32),
    }


DATASET = Dataset(
    title="Diabetes",
    version=1,
    task="regression",
    classes=None,
    scale=1.0,
    input_shape=(10,),
    rows={"train": 442},
    licence="none stated (Efron et al. 2004); in scikit-learn, BSD-3-Clause",
    read=read,
)
