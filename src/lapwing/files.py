"""Whole files: written aside, synced and renamed; they say how they were made, and are checked when read.

Three formats, each with a content hash and an `about` (what made it) inside: arrays in
safetensors, tables in parquet, everything else in JSON.
"""

import contextlib
import glob
import hashlib
import json
import mmap
import os
import secrets
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors
import safetensors.numpy

from lapwing.errors import UserError

Array = npt.NDArray[Any]
About = Mapping[str, Any]


class DamagedFile(UserError):
    """A file whose content is not what was written."""

    def __init__(self, path: Path, why: str) -> None:
        """Name the file, what is wrong, and the command that has it made again."""
        real = "" if path.resolve() == path.absolute() else f" {path.resolve()}"  # a link into a cache
        super().__init__(
            f"{path} is damaged ({why}); delete it and start again, it will be made anew: rm {path}{real}"
        )
        self.path = path


class MissingFile(UserError):
    """There is no such file, or no longer."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"There is no file {path}.")


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path to write to; it becomes `path`, whole and synced, when the block ends without an error.

    What is there under the name `path` before stays until then. Nothing is left behind by an error;
    after a kill at most a file `part-…` is, until `path` is written again a day later.
    """
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        aside = beside(path)
        try:
            yield aside
            sync(aside)
            aside.replace(path)
            sync(path.parent)
        finally:
            aside.unlink(missing_ok=True)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the system refuses in the block into one sentence."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from error


def beside(path: Path) -> Path:
    """A new name in the same folder; not by process, of which two containers may have the same number."""
    return path.with_name(f"part-{secrets.token_hex(4)}-{path.name}")


LEFT_OVER = 24 * 3600.0
"""Seconds since the last write after which nobody writes a `part-…` any more: no two writes lie so far apart,
and no clocks of two machines."""


def _remove_leftovers(path: Path) -> None:
    """Remove what killed processes left beside `path`."""
    for leftover in path.parent.glob(f"part-{'[0-9a-f]' * 8}-{glob.escape(path.name)}"):
        with contextlib.suppress(OSError):  # another process was faster, or may, and we may not
            if time.time() - leftover.stat().st_mtime > LEFT_OVER:
                leftover.unlink()


def sync(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write `text` whole."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_key(value: Any, length: int = 12) -> str:
    """A short hash of a JSON value, for names of files that it decides."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


# -- what made a file --------------------------------------------------------------------------------


def _header(about: About, digest: str) -> dict[str, Any]:
    """What each file says of itself; `check` makes a damaged `about` as noticeable as damaged content."""
    return {"about": dict(about), "sha256": digest, "check": content_key([about, digest])}


def _checked(header: Any) -> dict[str, Any]:
    """The header of a file, if it is one that `_header` made; else a ValueError, KeyError or TypeError."""
    if header["check"] != content_key([header["about"], header["sha256"]]):
        raise ValueError("what it says of itself does not match its hash")
    return cast(dict[str, Any], header)


# -- JSON ------------------------------------------------------------------------------------------


def write_json(path: Path, content: Any, about: About | None = None) -> None:
    """Write a JSON value with its hash."""
    content = json.loads(json.dumps(content, allow_nan=False))  # as it will be read: keys are text
    whole = {**_header(about or {}, _hash_of_json(content)), "content": content}
    write_text(path, json.dumps(whole, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The value that `write_json` wrote.

    Raises:
        DamagedFile: it is not what was written.
        UserError: it is not there, or cannot be read.
    """
    with _reading(path):
        whole = json.loads(path.read_bytes())
        header, content = _checked(whole), whole["content"]
        digest = _hash_of_json(content)
    if digest != header["sha256"]:
        raise DamagedFile(path, "its content does not match its hash")
    return content


def _hash_of_json(content: Any) -> str:
    return hashlib.sha256(canonical(content).encode()).hexdigest()


# -- arrays ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Streamed:
    """An array that is never in memory whole: its chunks follow one another along the first axis."""

    shape: tuple[int, ...]
    dtype: npt.DTypeLike
    chunks: Callable[[], Iterator[Array]]
    """Called once, when the array is written."""


def write_arrays(path: Path, arrays: Mapping[str, Array | Streamed], about: About) -> None:
    """Write named arrays and what made them as one safetensors file.

    Raises:
        UserError: the file cannot be written.
        ValueError: the chunks of a streamed array are not what it says.
    """
    if any(isinstance(array, Streamed) for array in arrays.values()):
        _write_streamed(path, arrays, about)
        return
    whole = {name: _as_stored(array) for name, array in arrays.items() if not isinstance(array, Streamed)}
    # One metadata key: safetensors writes several in an order that changes from run to run.
    metadata = {"lapwing": canonical(_header(about, _hash_of_arrays(whole)))}
    with written_aside(path) as aside:
        aside.touch()
        mode = aside.stat().st_mode  # as every file; safetensors would have it be for its owner alone
        try:
            safetensors.numpy.save_file(whole, aside, metadata)
        except safetensors.SafetensorError as error:  # also where the disk is full
            raise OSError(f"{error}") from error
        if aside.stat().st_mode != mode:
            with contextlib.suppress(OSError):  # not every file system can
                aside.chmod(mode)


def _as_stored(array: Array) -> Array:
    """In row-major order and the machine's byte order."""
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


_DTYPES = {
    "BOOL": "|b1",
    **{f"I{8 * size}": f"{'|' if size == 1 else '<'}i{size}" for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": f"{'|' if size == 1 else '<'}u{size}" for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}
"""How safetensors calls the types of arrays."""
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


def _write_streamed(path: Path, arrays: Mapping[str, Array | Streamed], about: About) -> None:
    """The file that safetensors itself would write, chunk by chunk; the hash is put in at the end.

    Bodies lie in order of falling item size, so that each is aligned; they are written in order of name,
    in which the hash goes through them.
    """
    types = {name: np.dtype(array.dtype) for name, array in arrays.items()}
    sizes = {name: prod(array.shape) * types[name].itemsize for name, array in arrays.items()}
    entries, end = {}, 0
    for name in sorted(arrays, key=lambda name: (-types[name].itemsize, name)):
        code, begin, end = _CODES[types[name].str], end, end + sizes[name]
        entries[name] = {"dtype": code, "shape": list(arrays[name].shape), "data_offsets": [begin, end]}

    def header(digest: str) -> bytes:
        metadata = {"lapwing": canonical(_header(about, digest))}
        text = json.dumps({"__metadata__": metadata, **entries}).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text

    digest = hashlib.sha256()
    with written_aside(path) as aside, aside.open("wb") as file:
        bodies = file.write(header(digest.hexdigest()))
        for name in sorted(arrays):
            array = arrays[name]
            digest.update(_described(name, types[name], array.shape))
            file.seek(bodies + entries[name]["data_offsets"][0])
            for chunk in _chunks(name, array):
                digest.update(chunk)
                file.write(chunk)
        file.seek(0)
        file.write(header(digest.hexdigest()))  # as long as the one before


def _told_apart(chunks: Iterator[Array]) -> Iterator[Array]:
    """The chunks; trouble in reading them is not taken for trouble with the file that is written."""
    try:
        yield from chunks
    except OSError as error:
        where = error.filename or "an input"
        raise UserError(f"{where} cannot be read: {error.strerror or error}.") from error


def _chunks(name: str, array: Array | Streamed) -> Iterator[memoryview]:
    """The bytes of an array, checked to be as many as it says, of its type and row shape."""
    dtype, rows = np.dtype(array.dtype), 0
    for chunk in _told_apart(array.chunks()) if isinstance(array, Streamed) else [array]:
        if chunk.dtype != dtype or chunk.shape[1:] != array.shape[1:]:
            what = f"a chunk is {chunk.dtype} {chunk.shape}, expected {dtype} {array.shape}"
            raise ValueError(f"{name}: {what}")
        rows += len(chunk)
        yield _as_stored(chunk).reshape(-1).view(np.uint8).data
    if rows != array.shape[0]:
        raise ValueError(f"{name}: its chunks have {rows} rows, expected {array.shape[0]}")


def read_arrays(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays of a file, and its `about`.

    The arrays are memory-mapped: their pages come and go as memory allows, and writing to an array changes a
    private copy of them.

    Raises:
        DamagedFile: it is not what was written.
        UserError: it is not there, or cannot be read.
    """
    header = _read_header(path)
    with _reading(path):
        arrays = _mapped(path)
    if _hash_of_arrays(arrays) != header["sha256"]:
        raise DamagedFile(path, "its content does not match its hash")
    return arrays, header["about"]


def read_about(path: Path) -> dict[str, Any]:
    """The `about` of a file of arrays, without reading the arrays."""
    return cast(dict[str, Any], _read_header(path)["about"])


def content_hash(path: Path) -> str:
    """The hash that a file of arrays says its content has; `read_arrays` checks it."""
    return cast(str, _read_header(path)["sha256"])


def _read_header(path: Path) -> dict[str, Any]:
    with _reading(path), safetensors.safe_open(path, framework="numpy") as file:
        return _checked(json.loads(file.metadata()["lapwing"]))


PRIVATE = mmap.MAP_PRIVATE | (0x4000 if sys.platform == "linux" else 0)
"""Pages that are written to are copied. MAP_NORESERVE, which `mmap` names from Python 3.13 on: no memory is
set apart for the case that all of them are, for want of which a file larger than memory would be refused."""


def _mapped(path: Path) -> dict[str, Array]:
    """The arrays of a safetensors file whose header was found to be whole."""
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, flags=PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    [length] = struct.unpack("<Q", content[:8])
    entries = json.loads(content[8 : 8 + length])
    entries.pop("__metadata__")
    arrays: dict[str, Array] = {}
    for name, entry in entries.items():
        begin, end = entry["data_offsets"]
        dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), tuple(entry["shape"])
        body = memoryview(content)[8 + length + begin :] if end > begin else None
        arrays[name] = np.ndarray(shape, dtype, body)
    return arrays


def _hash_of_arrays(arrays: Mapping[str, Array]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(_described(name, array.dtype, array.shape))
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _described(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    return f"{name} {dtype.str} {shape} ".encode()


# -- tables ----------------------------------------------------------------------------------------


def write_table(path: Path, frame: pd.DataFrame, about: About) -> None:
    """Write a table and what made it as one parquet file."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    whole = canonical(_header(about, _hash_of_table(table)))
    with written_aside(path) as aside:
        pq.write_table(table.replace_schema_metadata({"lapwing": whole}), aside)


def read_table(path: Path) -> pd.DataFrame:
    """The table of a file; see `read_table_with_about`."""
    return read_table_with_about(path)[0]


def read_table_with_about(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of a file, and its `about`.

    Raises:
        DamagedFile: it is not what was written.
        UserError: it is not there, or cannot be read.
    """
    with _reading(path):
        table = pq.read_table(path, partitioning=None)
        header = _checked(json.loads(table.schema.metadata[b"lapwing"]))
        table = table.replace_schema_metadata(None)
        digest = _hash_of_table(table)  # decodes text, which damaged bytes may not be
    if digest != header["sha256"]:
        raise DamagedFile(path, "its content does not match its hash")
    return table.to_pandas(), header["about"]


def read_table_about(path: Path) -> dict[str, Any]:
    """The `about` of a table, without reading the table."""
    with _reading(path):
        header = _checked(json.loads(pq.read_schema(path).metadata[b"lapwing"]))
    return cast(dict[str, Any], header["about"])


def _hash_of_table(table: pa.Table) -> str:
    digest = hashlib.sha256()
    for name, column in zip(table.schema.names, table.columns, strict=True):
        digest.update(canonical([name, str(column.type), len(column)]).encode())
        if pa.types.is_primitive(column.type) and not column.null_count:
            digest.update(np.ascontiguousarray(column.to_numpy()).view(np.uint8).data)
        else:
            digest.update(repr(column.to_pylist()).encode())
    return digest.hexdigest()


# -- what can go wrong when a file is read -----------------------------------------------------------

NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
DAMAGE = (ValueError, KeyError, TypeError, RecursionError, safetensors.SafetensorError, pa.ArrowException)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong in the block into one sentence; only what is wrong with the content is damage."""
    try:
        with path.open("rb") as file:
            file.read(1)  # safetensors says "not found" of every file that it cannot open
        yield
    except NOT_THERE:
        raise MissingFile(path) from None
    except OSError as error:
        if error.errno is None:  # pyarrow's own, about the content
            raise DamagedFile(path, f"{error}") from None
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    except DAMAGE as error:
        raise DamagedFile(path, f"{error}") from None
