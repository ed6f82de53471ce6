"""Digits as JPEG images in the folders of Tiny-ImageNet, read as these are: stands for `tiny_imagenet`."""

import io
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lapwing.datasets import digits
from lapwing.datasets.base import Dataset
from lapwing.datasets.tiny_imagenet import ANNOTATIONS, TREE, read_folders
from lapwing.files import Array, Streamed

SIDE, BRIGHTEST = 32, 16
QUALITY = 95
GREY = 3
"""Every third image is saved as a grey one, as some of the official images are."""


def read(folder: Path) -> dict[str, Array | Streamed]:
    """Digits as uint8 images [N, 3, 32, 32], out of an archive in the official layout."""
    with tempfile.TemporaryDirectory() as place:
        archive = Path(place) / "digits.zip"
        _write_archive(archive, digits.read(folder))
        return read_folders(archive, SIDE)


def _write_archive(path: Path, arrays: dict[str, Array]) -> None:
    annotations = []
    with zipfile.ZipFile(path, "w") as archive:
        for number, (image, label) in enumerate(_rows(arrays, "train")):
            archive.writestr(
                f"{TREE}/train/{_folder(label)}/images/digit_{number}.JPEG", _jpeg(image, number)
            )
        for number, (image, label) in enumerate(_rows(arrays, "test")):
            archive.writestr(f"{TREE}/val/images/val_{number}.JPEG", _jpeg(image, number))
            annotations.append(f"val_{number}.JPEG\t{_folder(label)}\t0\t0\t{SIDE - 1}\t{SIDE - 1}\n")
        archive.writestr(ANNOTATIONS, "".join(annotations))


def _rows(arrays: dict[str, Array], split: str) -> Iterator[tuple[Array, int]]:
    yield from zip(arrays[f"{split}/inputs"], arrays[f"{split}/targets"].tolist(), strict=True)


def _folder(label: int) -> str:
    """In the form of the official folders, whose names are numbers of WordNet."""
    return f"n{label:08d}"


def _jpeg(digit: Array, number: int) -> bytes:
    """A digit uint8 [1, 8, 8], enlarged."""
    from PIL import Image

    size = SIDE // digit.shape[-1]
    grey = (digit[0].astype(np.int64) * 255 // BRIGHTEST).astype(np.uint8).repeat(size, 0).repeat(size, 1)
    buffer = io.BytesIO()
    image = Image.fromarray(grey)
    (image if number % GREY == 0 else image.convert("RGB")).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


DATASET = Dataset(
    title="Digits in folders",
    version=1,
    task="classification",
    classes=10,
    scale=1 / 255,
    input_shape=(3, SIDE, SIDE),
    rows={"train": 1437, "test": 360},
    licence=digits.DATASET.licence,
    read=read,
)
