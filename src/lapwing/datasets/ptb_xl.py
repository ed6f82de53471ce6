"""PTB-XL: 12-lead electrocardiograms of ten seconds, taken by twelve nurses (Wagner et al. 2020).

What is used of it, and the label (is it anything but normal?), follow spec lap-experiments 6.2.
"""

import ast
import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lapwing.datasets._wfdb import Form, Row, csv_rows, records_in_archive, to_arrays
from lapwing.datasets.archive import read_members
from lapwing.datasets.base import MIB, Dataset, Recording, RemoteFile
from lapwing.errors import UserError
from lapwing.files import Array

TREE = "ptb-xl-a-large-publicly-available-electrocardiography-dataset-1.0.2"
ARCHIVE = f"{TREE}.zip"
TABLE, STATEMENTS = "ptbxl_database.csv", "scp_statements.csv"
COLUMNS = ("ecg_id", "nurse", "site", "strat_fold", "scp_codes", "filename_lr")
LEADS = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")
FREQUENCY, SAMPLES = 100, 1000
RECORDING = Recording(LEADS, ("mV",) * len(LEADS), FREQUENCY)
NORMAL = "NORM"
TEST_FOLD = 10
LONGEST_CODES = 4096
"""Characters of `scp_codes`: what is parsed is bounded."""
UNKNOWN = -1


def read(folder: Path) -> dict[str, Array]:
    """Signals float32 [N, 12, 1000] in mV, unfiltered; the label is 0 for a normal electrocardiogram, else 1.

    Folds 1 to 9 train, fold 10 tests; a row without a nurse is left out. `train/source` is the nurse. Of both
    splits `record` is the number of the electrocardiogram (`ecg_id`), and `site` that of where it was taken,
    -1 if that is not known.
    """
    return read_archive(folder / ARCHIVE, SAMPLES)


def read_archive(archive: Path, samples: int) -> dict[str, Array]:
    """The arrays of an archive in the layout of PTB-XL whose records have a number of samples.

    Raises:
        UserError: a table or a record is missing, damaged or not as expected; names it.
    """
    form = Form(RECORDING.leads, RECORDING.units, RECORDING.frequency, samples)
    rows = list(_rows(archive))
    with contextlib.closing(records_in_archive(archive, TREE, {row.record for row in rows})) as records:
        return to_arrays(rows, records, form)


def _rows(archive: Path) -> Iterator[Row]:
    """The rows of the table that have a nurse."""
    paths = {f"{TREE}/{name}": name for name in (TABLE, STATEMENTS)}
    texts = {paths[path]: content for path, content in read_members(archive, paths.__contains__)}
    if missing := [name for name in (TABLE, STATEMENTS) if name not in texts]:
        raise UserError(f"{archive.name} lacks {TREE}/{missing[0]}.")
    statements = csv_rows(STATEMENTS, texts[STATEMENTS], ("", "diagnostic", "diagnostic_class"))
    classes = {row[""]: row["diagnostic_class"] for row in statements if row["diagnostic"] in ("1", "1.0")}
    for row in csv_rows(TABLE, texts[TABLE], COLUMNS):
        if row["nurse"]:
            yield _row(row, classes)


def _row(row: Mapping[str, str], classes: Mapping[str, str]) -> Row:
    try:
        return Row(
            record=row["filename_lr"],
            label=label_of(row["scp_codes"], classes),
            source=_whole(row["nurse"]),
            is_test=_whole(row["strat_fold"]) == TEST_FOLD,
            detail={"record": _whole(row["ecg_id"]), "site": _whole(row["site"] or UNKNOWN)},
        )
    except (ValueError, OverflowError) as error:
        raise UserError(f"{TABLE}: the row of ecg_id {row['ecg_id']!r} cannot be read: {error}.") from None


def label_of(codes: str, classes: Mapping[str, str]) -> int:
    """0 where a diagnostic statement of the class NORM is among the codes, at any likelihood; else 1.

    Args:
        codes: the text of a dictionary: statement → likelihood.
        classes: the class of each diagnostic statement.

    Raises:
        ValueError: the text is no such dictionary; it is parsed, never run.
    """
    return int(NORMAL not in {classes.get(code) for code in _statements(codes)})


def _statements(codes: str) -> dict[str, Any]:
    if len(codes) <= LONGEST_CODES:
        try:
            statements = ast.literal_eval(codes)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            statements = None
        if isinstance(statements, dict) and all(isinstance(code, str) for code in statements):
            return statements
    raise ValueError("scp_codes is no dictionary of statements")


def _whole(number: str | int) -> int:
    """The table writes whole numbers as 2.0."""
    whole = int(float(number))
    if whole != float(number):
        raise ValueError(f"{number} is no whole number")
    return whole


DATASET = Dataset(
    title="PTB-XL",
    version=1,
    task="classification",
    classes=2,
    scale=1.0,
    input_shape=(len(LEADS), SAMPLES),
    rows={"train": 18_300, "test": 2_026},
    total=20_326,  # rows have a nurse (spec lap-experiments 6.2)
    licence="CC BY 4.0 (Wagner et al. 2020, PhysioNet, version 1.0.2)",
    read=read,
    recording=RECORDING,
    partial=True,
    mirror_folder="ptb-xl",
    files=(
        RemoteFile(
            name=ARCHIVE,
            urls=(f"https://physionet.org/static/published-projects/ptb-xl/{ARCHIVE}",),
            largest=4096 * MIB,
            roughly=1_700_000_000,
            tree=TREE,
            parts=("ecg/ptb-xl",),
            needed=(TABLE, STATEMENTS, "records100/*"),
        ),
    ),
    further={"source": "source", "record": "detail", "site": "detail"},
)
