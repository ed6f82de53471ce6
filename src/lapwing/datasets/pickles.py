"""Read pickled arrays of official files through an allow-list: a pickle is a program.

The CIFAR batches were pickled by Python 2: a dictionary of byte strings, lists of numbers, and one
NumPy array; those of ImageNet64 by Python 3. The labels of CIFAR-N are such a dictionary inside the
zip file that PyTorch saves. That is all that may come out; anything else is named and not run. Not even
NumPy's own code sees the description of an array: `_Numbers` and `_Array` take its place, which know plain
numbers only. Nor may a small file ask for much time or memory.
"""

import io
import pickle
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from lapwing.datasets.base import MIB
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
    struct.error,
)
_BAD_ZIP = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError)
_LARGEST = 64 * MIB


class _Numbers:
    """Stands for `numpy.dtype`: integers, floats or truth values of up to eight bytes."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = _text(code)
        if not re.fullmatch("[uif][1248]|b1", self.code):
            raise pickle.UnpicklingError(f"an array of type {self.code!r}")
        self.dtype = np.dtype(self.code)

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 8 or state[2:] != (None, None, None, -1, -1, 0):
            raise pickle.UnpicklingError("an array of an unusual type")
        self.dtype = np.dtype(self.code).newbyteorder(_text(state[1]))  # type: ignore[arg-type]


class _Array:
    """Stands for an array from NumPy's `_reconstruct`, until its state gives shape and content."""

    def __init__(self, kind: object, shape: object, _: object) -> None:
        if kind is not _Array or shape != (0,):
            raise pickle.UnpicklingError("an array begins in an unusual way")
        self.array: Array = np.empty(0, np.int8)

    def __setstate__(self, state: Any) -> None:
        _, shape, numbers, fortran, content = state
        if not isinstance(content, bytes):
            raise pickle.UnpicklingError("an array of something else than bytes")
        array: Array = np.ndarray(shape, numbers.dtype, content, order="F" if fortran else "C")
        if array.nbytes != len(content):
            raise pickle.UnpicklingError("an array of another size than it says")
        self.array = array


def _text(value: object) -> str:
    """Text, which Python 2 pickled as bytes."""
    if not isinstance(value, (str, bytes)):
        raise pickle.UnpicklingError("something else in place of text")
    return value if isinstance(value, str) else value.decode("latin-1")


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,  # written by NumPy 2
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Numbers,
}


class _Blocked(UserError):
    """A pickle asks for what is not on the list."""


def _refused(_: object) -> None:
    raise pickle.UnpicklingError("it asks for what no dataset holds")


def _with_plain_keys(load: Any, keys: slice) -> Any:
    """`load`, after a look at the keys on the stack: to hash nested tuples may take for ever."""

    def checked(unpickler: "_Unpickler") -> None:
        if not all(isinstance(key, (str, bytes, int)) for key in unpickler.stack[keys]):
            raise pickle.UnpicklingError("a key of a dictionary is neither text nor a number")
        load(unpickler)

    return checked


_LOADS: dict[int, Any] = dict(pickle._Unpickler.dispatch)
_KEYS = {pickle.DICT: slice(0, None, 2), pickle.SETITEM: slice(-2, -1), pickle.SETITEMS: slice(0, None, 2)}
"""Where on the stack the keys are."""
_REFUSED = (
    *(pickle.PERSID, pickle.BINPERSID, pickle.EXT1, pickle.EXT2, pickle.EXT4),
    *(pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX),  # arrays come by REDUCE
    *(pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET),
    *(pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
)


class _Unpickler(pickle._Unpickler):
    """The one in Python: that in C makes room for as many memorised values as a file says there are."""

    dispatch = {
        **_LOADS,
        **{code[0]: _with_plain_keys(_LOADS[code[0]], keys) for code, keys in _KEYS.items()},
        **{code[0]: _refused for code in _REFUSED},
    }
    stack: list[Any]

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="bytes")
        self.left = file.seek(0, io.SEEK_END)
        file.seek(0)

    def find_class(self, module: str, name: str) -> Any:
        """What takes the place of a name on the list."""
        if (module, name) == ("_codecs", "encode"):
            return self.encoded
        if (module, name) not in _ALLOWED:
            raise _Blocked(" ".join(f"{module}.{name}".split()))
        return _ALLOWED[module, name]

    def encoded(self, text: object, encoding: object) -> bytes:
        """How Python 3 pickles bytes for Python 2: as text, with the call that makes bytes of it."""
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError("bytes are encoded in an unusual way")
        self.left -= len(text)
        if self.left < 0:  # more than the whole file: one text again and again
            raise pickle.UnpicklingError("text is encoded more than once")
        return text.encode("latin-1")


def read_pickle(path: Path) -> Any:
    """What a pickle holds: a dictionary with NumPy arrays and plain values; text of Python 2 comes as bytes.

    Raises:
        UserError: it asks for anything else, which is named and was not run, or it is damaged.
    """
    with path.open("rb") as file:
        return _load(file, path)


def read_torch_file(path: Path) -> Any:
    """What PyTorch saved as a zip file, where it is plain values and NumPy arrays; needs no PyTorch.

    Raises:
        UserError: it is no such file, or holds anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            name = next((name for name in archive.namelist() if re.fullmatch("[^/]+/data.pkl", name)), None)
            if name is None or archive.getinfo(name).file_size > _LARGEST:
                raise UserError(
                    f"{path} is no file of labels as PyTorch saves them: a small data.pkl in a zip."
                )
            with archive.open(name) as member:
                content = member.read(_LARGEST)
    except _BAD_ZIP as error:
        raise UserError(f"{path} is no whole zip file ({_reason(error)}).") from None
    return _load(io.BytesIO(content), path)


def _load(file: IO[bytes], path: Path) -> Any:
    try:
        value = _Unpickler(file).load()
        return (
            {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else _plain(value)
        )
    except _Blocked as blocked:
        raise UserError(
            f"{path} was not read: it asks for {blocked}, and only arrays, lists, dictionaries, numbers "
            "and text are allowed in a dataset (nothing of it was run)."
        ) from None
    except _BAD_PICKLE as error:
        raise UserError(f"{path} is not a whole pickle ({_reason(error)}).") from None


def _reason(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _plain(value: Any) -> Any:
    """The array in place of what stands for it."""
    return value.array if isinstance(value, _Array) else value


def read_batch(path: Path, labels: bytes, side: int = 32) -> tuple[Array, Array]:
    """Images uint8 [N, 3, side, side] and labels int64 [N] of a batch in the format of CIFAR or ImageNet64.

    A row of `data` holds the red, the green, then the blue plane, each row by row (spec
    lap-experiments, section 3). `labels` is the key of the labels: `labels` or `fine_labels`; the images
    are in memory once.

    Raises:
        UserError: the file is not such a batch.
    """
    batch = read_pickle(path)
    try:
        entries = {_text(key): value for key, value in batch.items()}
        images, targets = entries["data"], _labels(entries[labels.decode()])
        fits = images.dtype == np.uint8 and images.shape == (len(targets), 3 * side * side)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, pickle.UnpicklingError):
        fits = False
    if not fits:
        raise UserError(
            f"{path} is no batch of images: expected data, uint8 rows of {3 * side * side}, "
            f"and as many {labels.decode()}."
        )
    return images.reshape(-1, 3, side, side), targets


def _labels(values: object) -> Array:
    """Whole numbers in a list or an array, int64 [N]; NumPy itself would take fractions, digits and trees."""
    if isinstance(values, list) and all(type(value) is int for value in values):
        return np.array(values, np.int64)
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "iu":
        return values.astype(np.int64, casting="safe")
    raise TypeError("labels are no whole numbers")
