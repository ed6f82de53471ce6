"""Digits as batch files in the format of ImageNet64, read as these are: stands for `imagenet64`."""

import pickle
import tempfile
from pathlib import Path

import numpy as np

from lapwing.datasets import digits
from lapwing.datasets.base import Dataset
from lapwing.datasets.imagenet64 import NORMALISATION, read_batches
from lapwing.files import Array, Streamed

BATCHES = 4
SIDE, BRIGHTEST = 16, 16


def read(folder: Path) -> dict[str, Array]:
    """Digits as uint8 images [N, 3, 16, 16], out of four training batches in the official format."""
    arrays = digits.read(folder)
    with tempfile.TemporaryDirectory() as place:
        train = [Path(place) / f"train_data_batch_{number + 1}" for number in range(BATCHES)]
        test = Path(place) / "val_data"
        for number, path in enumerate(train):
            rows = slice(number, None, BATCHES)
            _write_batch(path, arrays["train/inputs"][rows], arrays["train/targets"][rows])
        _write_batch(test, arrays["test/inputs"], arrays["test/targets"])
        return {name: _whole(array) for name, array in read_batches(train, test, SIDE).items()}


def _write_batch(path: Path, images: Array, labels: Array) -> None:
    """Rows of a red, a green and a blue plane, labels from 1 (spec lap-experiments, section 3)."""
    size = SIDE // images.shape[-1]
    large = (images.astype(np.int64) * 255 // BRIGHTEST).astype(np.uint8).repeat(size, 2).repeat(size, 3)
    data = large.repeat(3, axis=1).reshape(len(images), -1)
    batch = {"data": data, "labels": (labels + 1).tolist(), "mean": data.mean(axis=0)}
    path.write_bytes(pickle.dumps(batch, protocol=3))


def _whole(array: Array | Streamed) -> Array:
    """In memory, as long as the files are there."""
    return np.concatenate(list(array.chunks())) if isinstance(array, Streamed) else array


DATASET = Dataset(
    title="Digits in batches",
    version=1,
    task="classification",
    classes=10,
    scale=1 / 255,
    normalisation=NORMALISATION,
    input_shape=(3, SIDE, SIDE),
    rows={"train": 1437, "test": 360},
    licence=digits.DATASET.licence,
    read=read,
)
