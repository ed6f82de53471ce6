"""Read the pickled batches of official archives through an allow-list: a pickle is a program.

The CIFAR batches were pickled by Python 2: a dictionary of byte strings, lists of numbers, and one
NumPy array. That is all that may come out; anything else is named and not run.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from lapwing.errors import UserError
from lapwing.files import Array

_BAD_PICKLE = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    MemoryError,
    OverflowError,
    RecursionError,
)


def _empty_array(kind: object, shape: object, code: object) -> Array:
    """What NumPy pickles begin with; the state that follows gives shape and content.

    Takes the place of NumPy's own function, which would allocate any shape that it is told.
    """
    if kind is not np.ndarray or shape != (0,):
        raise pickle.UnpicklingError("an array begins in an unusual way")
    return np.ndarray((0,), np.int8)


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,  # written by NumPy 2
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _Blocked(UserError):
    """A pickle asks for what is not on the list."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise _Blocked(f"{module}.{name}")
        return _ALLOWED[module, name]


def read_pickle(path: Path) -> Any:
    """What a pickle of plain values and NumPy arrays holds; text of Python 2 comes as bytes.

    Raises:
        UserError: it asks for anything else, which is named and was not run, or it is damaged.
    """
    try:
        with path.open("rb") as file:
            return _Unpickler(file, encoding="bytes").load()
    except _Blocked as blocked:
        raise UserError(
            f"{path} was not read: it asks for {blocked}, and only arrays, lists, dictionaries, numbers "
            "and text are allowed in a dataset (nothing of it was run)."
        ) from None
    except _BAD_PICKLE as error:
        raise UserError(f"{path} is not a whole pickle ({error or type(error).__name__}).") from None


def read_batch(path: Path, labels: bytes, side: int = 32) -> tuple[Array, Array]:
    """Images uint8 [N, 3, side, side] and labels int64 [N] of a batch in the format of CIFAR.

    A row of `data` holds the red, the green, then the blue plane, each row by row (spec
    lap-experiments, section 3). `labels` is the key of the labels: `labels` or `fine_labels`.

    Raises:
        UserError: the file is not such a batch.
    """
    batch = read_pickle(path)
    try:
        images, targets = batch[b"data"], np.array(batch[labels], dtype=np.int64)
        fits = images.dtype == np.uint8 and images.shape == (len(targets), 3 * side * side)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        fits = False
    if not fits:
        raise UserError(
            f"{path} is no batch of images: expected data, uint8 rows of {3 * side * side}, "
            f"and as many {labels.decode()}."
        )
    return images.reshape(-1, 3, side, side), targets
