"""WFDB records become arrays: a header is checked before anything that it names is opened.

Read with the wfdb package (https://wfdb.readthedocs.io); the format is that of the WFDB Applications Guide,
`header(5)` and `signal(5)`. Imported only when a record is read.
"""

import csv
import io
import re
import tempfile
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from lapwing.datasets.archive import read_members
from lapwing.datasets.base import MIB, Recording
from lapwing.errors import UserError, optional
from lapwing.files import Array

if TYPE_CHECKING:
    from wfdb import Record

HEADER, SIGNALS = ".hea", ".dat"
LARGEST_HEADER = MIB // 4
MOST_VALUES = 64 * MIB
"""Of one record: what a damaged header may ask for is bounded."""
FORMATS = {"8", "16", "24", "32", "61", "80", "160", "212", "310", "311"}
"""How samples are stored: all that are not compressed."""
_PLAIN_NAME = re.compile(r"[\w-][\w.-]*", re.ASCII)
_DAMAGE = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, OSError, MemoryError)


@dataclass(frozen=True)
class Form(Recording):
    """What all records of a collection share."""

    samples: int
    """Of each signal."""

    def difference(self, other: "Form") -> str | None:
        """How `other` differs, as the end of a sentence that begins with its record."""
        for name in ("leads", "units", "frequency", "samples"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                return f"has {name} {_listed(theirs)}, expected {_listed(mine)}"
        return None


@dataclass(frozen=True)
class Row:
    """One record as a table describes it."""

    record: str
    """Its path without the ending, from the folder of the table."""
    label: int
    source: int
    is_test: bool = False
    detail: dict[str, int] = field(default_factory=dict)
    """Further arrays, by name."""


def csv_rows(name: str, content: bytes, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a table of comma-separated values that has these columns among others.

    Raises:
        UserError: it is no such table; names the row.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{name} is no table of comma-separated values ({error}).") from None
    for number, row in enumerate(rows, start=1):
        if missing := [column for column in columns if row.get(column) is None]:
            raise UserError(f"{name}: row {number} has no column {missing[0]!r}.")
    return rows


def to_arrays(
    rows: Sequence[Row], records: Iterable[tuple[str, Form, Array]], form: Form
) -> dict[str, Array]:
    """The arrays of a prepared file: rows in the order of the table, the training rows and the test rows.

    Args:
        rows: what the table says.
        records: name, form and signals [C, T] of each record that a row names, in any order.
        form: what each record must be.

    Returns:
        `<split>/inputs` float32 [N, C, T] in physical units; `train/source`, `<split>/targets` and each
        `<split>/<detail>` int64 [N]; nothing of a split without rows.

    Raises:
        UserError: a record is not there, comes twice, or is not like the others; names it.
    """
    splits = {
        "train": [row for row in rows if not row.is_test],
        "test": [row for row in rows if row.is_test],
    }
    inputs = _signals([row.record for part in splits.values() for row in part], records, form)
    arrays = {"train/source": np.array([row.source for row in splits["train"]], np.int64)}
    start = 0
    for split, part in splits.items():
        if part:
            arrays[f"{split}/inputs"] = inputs[start : start + len(part)]
            arrays[f"{split}/targets"] = np.array([row.label for row in part], np.int64)
            for name in part[0].detail:
                arrays[f"{split}/{name}"] = np.array([row.detail[name] for row in part], np.int64)
        start += len(part)
    return arrays


def _signals(names: Sequence[str], records: Iterable[tuple[str, Form, Array]], form: Form) -> Array:
    """The signals of named records, float32 [N, C, T]."""
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        if places.setdefault(name, place) != place:
            raise _unusable(name, "has two rows in the table")
    inputs = np.empty((len(names), len(form.leads), form.samples), np.float32)
    for name, found, signals in records:
        if problem := form.difference(found):
            raise _unusable(name, problem)
        inputs[places.pop(name)] = signals
    if places:
        raise _unusable(next(iter(places)), "is not there")
    return inputs


# -- where records are ------------------------------------------------------------------------------


def records_in_archive(
    archive: Path, tree: str, names: Collection[str]
) -> Generator[tuple[str, Form, Array], None, None]:
    """Name, form and signals [C, T] of those records below `tree` that are named, in the archive's order.

    One record at a time is unpacked; close the generator if not all are wanted.

    Raises:
        UserError: the archive or a record is damaged; names it.
    """
    wanted = {f"{tree}/{name}{ending}" for name in names for ending in (HEADER, SIGNALS)}
    halves: dict[str, dict[str, bytes]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for path, content in read_members(archive, wanted.__contains__):
            name, ending = path[len(tree) + 1 : -len(HEADER)], path[-len(HEADER) :]
            files = halves.setdefault(name, {})
            files[ending] = content
            if len(files) == len((HEADER, SIGNALS)):
                yield name, *_unpacked(Path(folder), name, halves.pop(name))
    for name, files in halves.items():
        lacking = SIGNALS if HEADER in files else HEADER
        raise _unusable(name, f"has no {lacking} file in {archive.name}")


def _unpacked(folder: Path, name: str, files: dict[str, bytes]) -> tuple[Form, Array]:
    stem = folder / PurePosixPath(name).name
    paths = {ending: stem.with_name(stem.name + ending) for ending in files}
    for ending, path in paths.items():
        path.write_bytes(files[ending])
    try:
        return read_record(stem, name)
    finally:
        for path in paths.values():
            path.unlink()


def records_in_folder(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, Form, Array]]:
    """Name, form and signals [C, T] of the named records of a folder.

    Raises:
        UserError: a record is not there, is damaged, or lies outside the folder; names it.
    """
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise _unusable(name, f"lies outside the folder of its table, {folder}")
        yield name, *read_record(folder / path, name)


# -- one record -------------------------------------------------------------------------------------


def read_record(path: Path, name: str) -> tuple[Form, Array]:
    """The form and the signals, float32 [C, T] in physical units, of one record.

    Args:
        path: of the header and the signals, without the ending.
        name: what the record is called in a sentence.

    Raises:
        UserError: the record is missing or damaged (the header's checksums are held against the signals),
            or it is no plain record: it has several segments, several samples in a frame, skewed or
            compressed signals.
    """
    wfdb = optional("wfdb", "signals")
    header = path.with_name(path.name + HEADER)
    try:
        if header.stat().st_size > LARGEST_HEADER:
            raise _unusable(name, f"has a header of more than {LARGEST_HEADER} bytes")
        _refuse_paths(header.read_text("latin-1"), name)
        record = wfdb.rdheader(str(path))
        problem = _header_problem(record)
        if problem is None:
            record = wfdb.rdrecord(str(path), physical=False)
            problem = _checksum_problem(record)
    except FileNotFoundError as error:
        raise _unusable(name, f"has no file {Path(error.filename or header).name}") from None
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise _unusable(name, f"is damaged ({reason})") from None
    if problem:
        raise _unusable(name, problem)
    with np.errstate(all="ignore"):
        signals = np.ascontiguousarray(record.dac().T, np.float32)
    if not np.isfinite(signals).all():
        raise _unusable(name, "holds a sample that is marked as missing, or is not finite")
    return _form(record), signals


def _refuse_paths(header: str, name: str) -> None:
    """Signals lie beside their header; of a path wfdb itself takes the end without a word."""
    lines = [line.split() for line in header.splitlines()]
    for words in [words for words in lines if words and not words[0].startswith("#")][1:]:
        if not _PLAIN_NAME.fullmatch(words[0]):
            raise _unusable(name, f"has a header that names the file {words[0]!r}, which is no plain name")


def _header_problem(record: "Record") -> str | None:
    """What is wrong with a header, before the files that it names are opened."""
    if getattr(record, "n_seg", None) is not None:
        return "has several segments"
    lines = len(record.file_name or ())
    if lines != record.n_sig or not lines:
        return f"has {record.n_sig} signals in the first line of its header, and describes {lines}"
    if not record.sig_len:
        return "has a header that does not say how many samples there are"
    if record.sig_len * lines > MOST_VALUES:
        return f"has a header that promises {record.sig_len} samples"
    if refused := [stored for stored in record.fmt if stored not in FORMATS]:
        return f"stores samples in format {refused[0]}, which is not read here"
    if any(frame != 1 for frame in record.samps_per_frame) or any(record.skew):
        return "has signals that are skewed or have several samples in a frame"
    return None


def _checksum_problem(record: "Record") -> str | None:
    for lead, said, found in zip(record.sig_name, record.checksum, record.calc_checksum(), strict=True):
        if said is not None and (said - found) % 2**16:
            return f"is damaged (the checksum of signal {lead} is {found}, its header says {said})"
    return None


def _form(record: "Record") -> Form:
    leads = tuple(str(lead).upper() for lead in record.sig_name)
    return Form(leads, tuple(record.units), float(record.fs), int(record.sig_len))


def _unusable(name: str, why: str) -> UserError:
    return UserError(f"The record {name} {why}.")


def _listed(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else f"{value:g}"
