"""From verified raw files to one file of arrays per dataset."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lapwing.datasets import datasets
from lapwing.datasets.base import Dataset, Kind
from lapwing.datasets.raw import verify
from lapwing.errors import UserError
from lapwing.files import Array, Streamed, write_arrays

Arrays = Mapping[str, Array | Streamed]


def prepare(dataset_key: str, folder: Path, out: Path, *, part: bool = False) -> None:
    """Write the arrays of a dataset from its raw folder to the safetensors file `out`.

    Args:
        dataset_key: a key of `lapwing.datasets.datasets`.
        folder: its raw folder.
        out: the file to write.
        part: the folder may hold a part of the collection: rows and classes are those that are found.

    Raises:
        UserError: a raw file is not what was fetched, or does not hold what the dataset declares.
    """
    prepare_files(dataset_key, datasets.get(dataset_key), folder, out, part=part)


def prepare_files(key: str, dataset: Dataset, folder: Path, out: Path, *, part: bool = False) -> None:
    """What `prepare` does, for a dataset that need not be registered."""
    raw = _verified(dataset, folder)
    arrays = dataset.read(folder)
    part = part and dataset.partial
    expected = expected_of(dataset, arrays, part=part)
    problem = _problem(expected, arrays, gaps=part)
    if problem:
        raise UserError(f"{key}: {problem}; what is in {folder} is not what the dataset declares.")
    about: dict[str, Any] = {
        "dataset": key,
        "version": dataset.version,
        "task": dataset.task,
        "classes": expected.classes,
        "scale": dataset.scale,
        "licence": dataset.licence,
        "raw": raw,
    }
    if dataset.groups:
        about["groups"] = {name: list(classes) for name, classes in dataset.groups.items()}
    if dataset.normalisation:
        about["normalisation"] = [list(values) for values in dataset.normalisation]
    if dataset.recording:
        about["recording"] = dataset.recording.about()
    if dataset.inputs == "tokens":
        about["vocabulary"] = len(words_of(arrays["vocabulary"]))
    write_arrays(out, arrays, about)


def words_of(vocabulary: Array | Streamed) -> list[str]:
    """The words of a prepared file's `vocabulary` in the order of their numbers."""
    return vocabulary.tobytes().decode().split("\n") if isinstance(vocabulary, np.ndarray) else []


def expected_of(dataset: Dataset, arrays: Arrays, *, part: bool) -> Dataset:
    """The dataset, with the rows that are found where it does not say how many; of a part, classes too."""
    if not part and dataset.total is None:
        return dataset
    targets = {split: arrays[f"{split}/targets"] for split in dataset.rows if f"{split}/targets" in arrays}
    rows = {split: some.shape[0] for split, some in targets.items()}
    labels = [some for some in targets.values() if isinstance(some, np.ndarray) and some.size]
    if not part:
        return replace(dataset, rows=rows)
    classes = dataset.classes and max((int(some.max()) + 1 for some in labels), default=0)
    return replace(dataset, rows=rows, classes=classes, total=None)


def _verified(dataset: Dataset, folder: Path) -> dict[str, str]:
    """The SHA-256 of each raw file, those of other datasets under `<dataset>/<file>`; all were verified."""
    raw = {name: entry["sha256"] for name, entry in verify(dataset, folder).items()}
    for used in dataset.uses:
        manifest = verify(datasets.get(used), folder.parent / used)
        raw |= {f"{used}/{name}": entry["sha256"] for name, entry in manifest.items()}
    return raw


def _problem(dataset: Dataset, arrays: Arrays, *, gaps: bool) -> str | None:
    """The first way in which `arrays` differ from what the dataset declares; `gaps`: sources may lack."""
    if not dataset.rows.get("train"):
        return "it gives no row to train on"
    if dataset.total not in (None, total := sum(dataset.rows.values())):
        return f"it gives {total} rows in all, expected {dataset.total}"
    further = {f"{split}/{name}": name for name in dataset.further for split in dataset.splits_of(name)}
    expected = {f"{split}/{part}" for split in dataset.rows for part in ("inputs", "targets")} | set(further)
    expected |= {"vocabulary"} if dataset.inputs == "tokens" else set()
    if set(arrays) != expected:
        return f"it gives {', '.join(sorted(arrays))}, expected {', '.join(sorted(expected))}"
    for split, rows in dataset.rows.items():
        inputs, targets = f"{split}/inputs", f"{split}/targets"
        problem = _inputs_problem(dataset, rows, arrays[inputs])
        if not problem and dataset.inputs == "tokens":
            problem = _words_problem(_held(arrays[inputs]), len(words_of(arrays["vocabulary"])))
        if problem:
            return f"{inputs} {problem}"
        problem = _targets_problem(dataset, rows, _held(arrays[targets]))
        if problem:
            return f"{targets} {problem}"
    for array, name in further.items():
        rows = dataset.rows[array.partition("/")[0]]
        problem = _further_problem(dataset, dataset.further[name], rows, _held(arrays[array]), gaps)
        if problem:
            return f"{array} {problem}"
    return None


def _held(array: Array | Streamed) -> Array:
    """An array that is in memory, as all but inputs are."""
    if isinstance(array, Streamed):
        raise TypeError("only inputs may be streamed")
    return array


def _inputs_problem(dataset: Dataset, rows: int, inputs: Array | Streamed) -> str | None:
    expected = (rows, *dataset.input_shape)
    if inputs.shape != expected:
        return f"have shape {inputs.shape}, expected {expected}"
    if dataset.inputs == "tokens":
        return None if inputs.dtype == np.int32 else f"are {inputs.dtype}, expected int32"
    if inputs.dtype not in (np.uint8, np.float32):
        return f"are {inputs.dtype}, expected uint8 or float32"
    if isinstance(inputs, Streamed) or inputs.dtype == np.uint8:
        return None
    return None if np.isfinite(inputs).all() else "hold a value that is not finite"


def _words_problem(tokens: Array, words: int) -> str | None:
    wrong = tokens[(tokens < 0) | (tokens >= words)]
    return f"hold the word {wrong[0]}, expected 0 to {words - 1}" if wrong.size else None


def _targets_problem(dataset: Dataset, rows: int, targets: Array) -> str | None:
    if dataset.classes is not None:
        return _labels_problem(dataset.classes, rows, targets)
    problem = _form_problem(rows, targets, np.float32)
    return problem or (None if np.isfinite(targets).all() else "hold a value that is not finite")


def _form_problem(rows: int, array: Array, kind: type[np.generic]) -> str | None:
    if array.shape == (rows,) and array.dtype == kind:
        return None
    return f"are {array.dtype} {array.shape}, expected {np.dtype(kind)} {(rows,)}"


def _labels_problem(classes: int | None, rows: int, labels: Array) -> str | None:
    problem = _form_problem(rows, labels, np.int64)
    if problem or classes is None:
        return problem
    wrong = labels[(labels < 0) | (labels >= classes)]
    return f"hold the label {wrong[0]}, expected 0 to {classes - 1}" if wrong.size else None


def _further_problem(dataset: Dataset, kind: Kind, rows: int, array: Array, gaps: bool) -> str | None:
    if kind == "labels":
        return _labels_problem(dataset.classes, rows, array)
    problem = _form_problem(rows, array, np.int64)
    if problem or kind == "detail":
        return problem
    sources = np.unique(array)
    if np.array_equal(sources, np.arange(len(sources))) or (gaps and sources[0] >= 0):
        return None
    return f"name the sources {sources[0]} to {sources[-1]} with gaps, expected each from 0 to the last"
