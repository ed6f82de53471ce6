"""The labels of CIFAR-N: what people on a crowd-working site called the training images of CIFAR."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lapwing.datasets.base import RemoteFile
from lapwing.datasets.pickles import read_torch_file
from lapwing.errors import UserError
from lapwing.files import Array

LICENCE = "CC BY-NC 4.0, not for commercial use (Wei et al. 2022); images: none stated (Krizhevsky 2009)"
AUTHORS_REPOSITORY = (
    "https://raw.githubusercontent.com/UCSC-REAL/cifar-10-100n/49df7d8a69e355470c77c1c2f2424916325a394b/data"
)


def label_file(name: str, size: int, sha256: str) -> RemoteFile:
    """A file of labels; no digest is published, `sha256` was computed from the copy at that commit."""
    return RemoteFile(name=name, urls=(f"{AUTHORS_REPOSITORY}/{name}",), size=size, sha256=sha256)


def read_labels(path: Path, clean: Array, names: Mapping[str, str]) -> dict[str, Array]:
    """The labels int64 [N] of a file of CIFAR-N: {`train/<name>`: labels} for {name: name in the file}.

    `clean` are the labels int64 [N] of the images that they are for: the file repeats them, which shows
    that both have the same order.

    Raises:
        UserError: the file holds other arrays, or belongs to other images.
    """
    content = read_torch_file(path)
    labels = {name: _labels(path, content, key, len(clean)) for name, key in names.items()}
    differ = np.count_nonzero(_labels(path, content, "clean_label", len(clean)) != clean)
    if differ:
        raise UserError(
            f"{path} belongs to other images: its clean labels differ for {differ} of {len(clean)}, "
            "expected those of the training images in their official order."
        )
    return {f"train/{name}": array for name, array in labels.items()}


def _labels(path: Path, content: object, key: str, rows: int) -> Array:
    array = content.get(key) if isinstance(content, dict) else None
    if not isinstance(array, np.ndarray) or array.shape != (rows,) or array.dtype != np.int64:
        raise UserError(
            f"{path} has no {key} for {rows} images (int64 [{rows}]), as the labels of CIFAR-N have."
        )
    return array
