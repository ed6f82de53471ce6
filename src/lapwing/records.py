"""One's own WFDB records: a folder of them, and a table of labels and sources, become a prepared file."""

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from lapwing.datasets._wfdb import Row, csv_rows, records_in_folder, to_arrays
from lapwing.errors import UserError
from lapwing.files import Array, write_arrays

COLUMNS = ("record", "label", "source")
SPLITS = ("train", "test")
KEY = "records"
"""What the prepared file calls its dataset."""


def prepare_records(table: Path, out: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Write the prepared file of a table of WFDB records; returns its arrays and what it says of itself.

    Args:
        table: comma-separated values with the columns record (the path of a record from the table's folder,
            without ending), label and source (any text; they are numbered in their order), and maybe split
            (train or test); spaces around a word mean nothing. All records have the same leads, units,
            sampling frequency and length.
        out: the safetensors file: `<split>/inputs` float32 [N, C, T] in physical units, `<split>/targets` and
            `train/source` int64 [N]; its `about` names the labels and sources in the order of their numbers,
            and says leads, units and frequency (`recording`).

    Raises:
        UserError: the table cannot be read, or a record is missing, damaged or unlike the others; names it.
    """
    content = _content(table)
    lines = _lines(table.name, content)
    labels, sources = (_in_order(line[column] for line in lines) for column in ("label", "source"))
    rows = [_row(table, line, labels, sources) for line in lines]
    if all(row.is_test for row in rows):
        raise UserError(f"{table.name} has no row to train on.")
    records = records_in_folder(table.parent, [row.record for row in rows])
    first = next(records)
    _, form, _ = first
    arrays = to_arrays(rows, itertools.chain([first], records), form)
    about = {
        "dataset": KEY,
        "version": 1,
        "task": "classification",
        "classes": len(labels),
        "scale": 1.0,
        "recording": form.about(),
        "licence": "not stated",
        "raw": {table.name: hashlib.sha256(content).hexdigest()},
        "labels": labels,
        "sources": sources,
    }
    write_arrays(out, arrays, about)
    return arrays, about


def _content(table: Path) -> bytes:
    try:
        return table.read_bytes()
    except OSError as error:
        raise UserError(f"{table} cannot be read: {error.strerror or error}.") from None


def _lines(name: str, content: bytes) -> list[dict[str, str]]:
    """The rows of the table, without the spaces around a word; none of its words is empty."""
    lines = []
    for number, row in enumerate(csv_rows(name, content, COLUMNS), start=1):
        line = {column: row[column].strip() for column in (*COLUMNS, "split") if row.get(column) is not None}
        if empty := [column for column, word in line.items() if not word]:
            raise UserError(f"{name}: row {number} has an empty {empty[0]}.")
        lines.append(line)
    return lines


def _in_order(words: Iterable[str]) -> list[str]:
    """Each word once: whole numbers by size, then text by letter."""
    return sorted(
        set(words), key=lambda word: (not word.isdecimal(), int(word) if word.isdecimal() else 0, word)
    )


def _row(table: Path, line: Mapping[str, str], labels: Sequence[str], sources: Sequence[str]) -> Row:
    split = line.get("split", SPLITS[0])
    if split not in SPLITS:
        raise UserError(f"{table.name}: the split of {line['record']} is train or test, not {split!r}.")
    return Row(
        record=str(PurePosixPath(line["record"])),  # "./r1" is "r1"
        label=labels.index(line["label"]),
        source=sources.index(line["source"]),
        is_test=split == SPLITS[1],
    )
