"""Tiny-ImageNet: 110,000 photographs, 64 x 64, in two hundred classes (Stanford CS231n, from ImageNet)."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from lapwing.datasets.archive import read_members
from lapwing.datasets.base import MIB, Dataset, RemoteFile, Terms
from lapwing.errors import UserError
from lapwing.files import Array, Streamed

ARCHIVE, TREE = "tiny-imagenet-200.zip", "tiny-imagenet-200"
IMAGE = r"(?P<file>[^/]{0,50}?(?P<number>[0-9]{1,9})\.JPEG)"
TRAIN = re.compile(rf"{TREE}/train/(?P<folder>[^/]{{1,50}})/images/{IMAGE}")
TEST = re.compile(rf"{TREE}/val/images/{IMAGE}")
ANNOTATIONS = f"{TREE}/val/val_annotations.txt"
LARGEST = 1024 * MIB
"""Bytes of all members together: four times those of the official archive."""
PIECE = 1000
"""Images that are decoded at once: all of them would take 1.4 GB."""


def read(folder: Path) -> dict[str, Array | Streamed]:
    """Images uint8 [N, 3, 64, 64] in the order of classes and official numbers; grey ones repeat their plane.

    The official validation images are the test set (spec lap-experiments 6.8).
    """
    return read_folders(folder / ARCHIVE, 64)


def read_folders(archive: Path, side: int) -> dict[str, Array | Streamed]:
    """The arrays of an archive in the official layout, with images of `side` x `side` pixels.

    The classes are the folders of `train` in the order of their names, 0, 1, ….

    Raises:
        UserError: the archive is damaged, holds no images, or one of unknown class; and, while the images
            are written, one of them is no JPEG or of another size.
    """
    files = dict(read_members(archive, _is_wanted, total=LARGEST))
    train = _matches(TRAIN, files)
    labels = {name: label for label, name in enumerate(sorted({match["folder"] for match in train}))}
    train.sort(key=lambda match: (match["folder"], int(match["number"])))
    test = sorted(_matches(TEST, files), key=lambda match: int(match["number"]))
    if not train or not test:
        missing = f"{TREE}/train/<class>/images" if not train else f"{TREE}/val/images"
        raise UserError(f"{archive.name} holds no images {missing}/<name>_<number>.JPEG.")
    folders = _annotated(archive, files)
    for match in test:
        if folders.get(match["file"]) not in labels:
            raise UserError(
                f"{archive.name}: {ANNOTATIONS} names no class of the training images for {match['file']}."
            )
    return {
        "train/inputs": _images(archive, files, train, side),
        "train/targets": np.array([labels[match["folder"]] for match in train], np.int64),
        "test/inputs": _images(archive, files, test, side),
        "test/targets": np.array([labels[folders[match["file"]]] for match in test], np.int64),
    }


def _is_wanted(name: str) -> bool:
    return name == ANNOTATIONS or bool(TRAIN.fullmatch(name) or TEST.fullmatch(name))


def _matches(pattern: re.Pattern[str], names: Mapping[str, bytes]) -> list[re.Match[str]]:
    return [match for name in names if (match := pattern.fullmatch(name))]


def _annotated(archive: Path, files: Mapping[str, bytes]) -> dict[str, str]:
    """The class folder of each test image: {file name: folder}; four more columns are a box."""
    try:
        lines = [line.split("\t") for line in files[ANNOTATIONS].decode().splitlines()]
        return {line[0]: line[1] for line in lines}
    except (KeyError, UnicodeDecodeError, IndexError):
        raise UserError(
            f"{archive.name} holds no {ANNOTATIONS} with a file name, a tab and a class on each line."
        ) from None


# -- images ----------------------------------------------------------------------------------------


def _images(
    archive: Path, files: Mapping[str, bytes], chosen: Sequence[re.Match[str]], side: int
) -> Streamed:
    """The chosen images, decoded when they are written."""

    def chunks() -> Iterator[Array]:
        for start in range(0, len(chosen), PIECE):
            names = [match.string for match in chosen[start : start + PIECE]]
            yield np.stack([_pixels(archive, name, files[name], side) for name in names])

    return Streamed((len(chosen), 3, side, side), np.uint8, chunks)


def _pixels(archive: Path, name: str, content: bytes, side: int) -> Array:
    """A JPEG as uint8 [3, side, side]."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            if image.size == (side, side):  # before anything is decoded
                return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
            found = "it has {} x {} pixels".format(*image.size)
    except UnidentifiedImageError:
        found = "it is none"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        found = f"{error}"
    raise UserError(f"{archive.name}: {name} is no JPEG of {side} x {side} pixels ({found}).")


DATASET = Dataset(
    title="Tiny-ImageNet",
    version=1,
    task="classification",
    classes=200,
    scale=1 / 255,
    input_shape=(3, 64, 64),
    rows={"train": 100_000, "test": 10_000},
    licence="ImageNet terms: research that is not commercial",
    read=read,
    partial=True,
    terms=Terms("tiny_imagenet", "https://www.image-net.org/download.php"),
    mirror_folder="tiny-imagenet",
    files=(
        RemoteFile(
            name=ARCHIVE,
            urls=(
                "https://image-net.org/data/tiny-imagenet-200.zip",
                "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
            ),
            size=248_100_043,
            md5="90528d7ca1a48142e341f4ef8d21d0de",
            tree=TREE,
            parts=("tiny-imagenet-subset/tiny-imagenet-200-subset.tar",),
        ),
    ),
)
