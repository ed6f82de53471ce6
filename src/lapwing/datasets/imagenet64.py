"""ImageNet at 64 x 64: 1.3 million photographs in a thousand classes (Chrabaszcz et al. 2017)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lapwing.datasets.base import MIB, Dataset, Member, RemoteFile, Terms
from lapwing.datasets.pickles import read_batch
from lapwing.files import Array, Streamed

TRAIN = [f"train_data_batch_{number}" for number in range(1, 11)]
TEST = "val_data"
SIDE = 64
PIECE = 1024
"""Images that are handed on at once."""
NORMALISATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and deviation of the channels of ImageNet."""


def read(folder: Path) -> dict[str, Array | Streamed]:
    """Images uint8 [N, 3, 64, 64], the training batches in their order; labels 0 to 999.

    The official validation images are the test set (spec lap-experiments 6.9).
    """
    return read_batches([folder / name for name in TRAIN], folder / TEST, SIDE)


def read_batches(train: Sequence[Path], test: Path, side: int) -> dict[str, Array | Streamed]:
    """The arrays of batch files in the official format, whose labels begin at 1.

    Never more than one batch is in memory: each is read once for its labels, and once for its images when
    these are written.

    Raises:
        UserError: a file is no such batch.
    """
    arrays: dict[str, Array | Streamed] = {}
    for split, paths in (("train", train), ("test", [test])):
        targets = np.concatenate([_labels(path, side) for path in paths])
        arrays[f"{split}/inputs"] = _images(paths, len(targets), side)
        arrays[f"{split}/targets"] = targets
    return arrays


def _labels(path: Path, side: int) -> Array:
    return read_batch(path, b"labels", side)[1] - 1


def _images(paths: Sequence[Path], count: int, side: int) -> Streamed:
    def chunks() -> Iterator[Array]:
        for path in paths:
            yield from _pieces(path, side)  # which lets go of a batch before the next one is read

    return Streamed((count, 3, side, side), np.uint8, chunks)


def _pieces(path: Path, side: int) -> Iterator[Array]:
    """The images of a batch, in copies: whoever holds a piece does not hold the batch."""
    images, _ = read_batch(path, b"labels", side)
    for start in range(0, len(images), PIECE):
        yield images[start : start + PIECE].copy()


def _archive(name: str, gigabytes: float, members: Sequence[str], images: int) -> RemoteFile:
    """No digests are published, and sizes only roughly; each member has so many images."""
    return RemoteFile(
        name=name,
        urls=(f"https://www.image-net.org/data/downsample/{name}",),
        largest=8192 * MIB,
        roughly=round(gigabytes * 1e9),
        members=tuple(
            Member(name=member, largest=2048 * MIB, roughly=images * 3 * SIDE * SIDE) for member in members
        ),
    )


DATASET = Dataset(
    title="ImageNet64",
    version=1,
    task="classification",
    classes=1000,
    scale=1 / 255,
    normalisation=NORMALISATION,
    input_shape=(3, SIDE, SIDE),
    rows={"train": 1_281_167, "test": 50_000},
    licence="ImageNet terms: research that is not commercial",
    read=read,
    terms=Terms("imagenet64", "https://www.image-net.org/download.php"),
    mirror_folder="imagenet64",
    files=(
        _archive("Imagenet64_train_part1.zip", 6.0, TRAIN[:5], 128_117),
        _archive("Imagenet64_train_part2.zip", 6.0, TRAIN[5:], 128_117),
        _archive("Imagenet64_val.zip", 0.5, [TEST], 50_000),
    ),
)
