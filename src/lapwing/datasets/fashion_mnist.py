"""Fashion-MNIST: 70,000 grey images of clothes, 28 x 28, in ten classes."""

from pathlib import Path

import numpy as np

from lapwing.datasets.base import Dataset, RemoteFile
from lapwing.datasets.idx import read_idx
from lapwing.files import Array

OFFICIAL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
AUTHORS_REPOSITORY = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/"
    "b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion"
)
ROWS = {"train": 60_000, "test": 10_000}
FILE_PREFIXES = {"train": "train", "test": "t10k"}


def read(folder: Path) -> dict[str, Array]:
    """Images uint8 [N, 1, 28, 28] and labels, in the official order and split."""
    arrays: dict[str, Array] = {}
    for split, rows in ROWS.items():
        prefix = FILE_PREFIXES[split]
        images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", (rows, 28, 28))
        labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", (rows,))
        arrays[f"{split}/inputs"] = images[:, None]
        arrays[f"{split}/targets"] = labels.astype(np.int64)
    return arrays


def _file(name: str, size: int, md5: str) -> RemoteFile:
    return RemoteFile(
        name=name, size=size, md5=md5, urls=(f"{OFFICIAL}/{name}", f"{AUTHORS_REPOSITORY}/{name}")
    )


DATASET = Dataset(
    title="Fashion-MNIST",
    version=1,
    task="classification",
    classes=10,
    scale=1 / 255,
    input_shape=(1, 28, 28),
    rows=ROWS,
    licence="MIT (Copyright 2017 Zalando SE)",
    read=read,
    mirror_folder="fashion-mnist",
    files=(
        _file("train-images-idx3-ubyte.gz", 26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        _file("train-labels-idx1-ubyte.gz", 29_515, "25c81989df183df01b3e8a0aad5dffbe"),
        _file("t10k-images-idx3-ubyte.gz", 4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
        _file("t10k-labels-idx1-ubyte.gz", 5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
)
