"""The idx format of MNIST and its kin, a gzipped header of sizes, then bytes; and their four files."""

import gzip
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lapwing.datasets.base import RemoteFile
from lapwing.errors import UserError
from lapwing.files import Array

_UNSIGNED_BYTES = 8
ROWS = {"train": 60_000, "test": 10_000}
FILE_PREFIXES = {"train": "train", "test": "t10k"}


def read_idx(path: Path, shape: tuple[int, ...]) -> Array:
    """The uint8 array [*shape] of a gzipped idx file.

    The header is two zero bytes, the type, the number of axes, and each axis as a big-endian
    32-bit number; no more is unpacked than `shape` needs.

    Raises:
        UserError: the file holds something else.
    """
    header = struct.pack(f">HBB{len(shape)}I", 0, _UNSIGNED_BYTES, len(shape), *shape)
    size = math.prod(shape)
    try:
        with gzip.open(path) as file:
            beginning, content = file.read(len(header)), file.read(size + 1)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UserError(f"{path} is no whole gzip file ({error}).") from None
    if beginning != header or len(content) != size:
        raise UserError(f"{path} does not hold {' x '.join(map(str, shape))} bytes in the idx format.")
    return np.frombuffer(content, np.uint8).reshape(shape)


def read_mnist_files(folder: Path) -> dict[str, Array]:
    """Images uint8 [N, 1, 28, 28] and labels, in the official order and split.

    Raises:
        UserError: a file holds something else.
    """
    arrays: dict[str, Array] = {}
    for split, rows in ROWS.items():
        prefix = FILE_PREFIXES[split]
        images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", (rows, 28, 28))
        labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", (rows,))
        arrays[f"{split}/inputs"] = images[:, None]
        arrays[f"{split}/targets"] = labels.astype(np.int64)
    return arrays


def mnist_files(addresses: Sequence[str], known: Mapping[str, tuple[int, str]]) -> tuple[RemoteFile, ...]:
    """The files {name: (size, MD5)} as they lie at each of the addresses."""
    return tuple(
        RemoteFile(name=name, size=size, md5=md5, urls=tuple(f"{address}/{name}" for address in addresses))
        for name, (size, md5) in known.items()
    )
