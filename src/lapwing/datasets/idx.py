"""Read the idx format of MNIST and its kin: a gzipped header of sizes, then bytes."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from lapwing.errors import UserError
from lapwing.files import Array

_UNSIGNED_BYTES = 8


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
