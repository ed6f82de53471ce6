"""From verified raw files to one file of arrays per dataset."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lapwing.datasets import datasets
from lapwing.datasets.base import Dataset, Kind
from lapwing.datasets.raw import verify
from lapwing.errors import UserError
from lapwing.files import Array, write_arrays


def prepare(dataset_key: str, folder: Path, out: Path) -> None:
    """Write the arrays of a dataset from its raw folder to the safetensors file `out`.

    Raises:
        UserError: a raw file is not what was fetched, or does not hold what the dataset declares.
    """
    prepare_files(dataset_key, datasets.get(dataset_key), folder, out)


def prepare_files(key: str, dataset: Dataset, folder: Path, out: Path) -> None:
    """What `prepare` does, for a dataset that need not be registered."""
    raw = _verified(dataset, folder)
    arrays = dataset.read(folder)
    problem = _problem(dataset, arrays)
    if problem:
        raise UserError(f"{key}: {problem}; what is in {folder} is not what the dataset declares.")
    about: dict[str, Any] = {
        "dataset": key,
        "version": dataset.version,
        "task": dataset.task,
        "classes": dataset.classes,
        "scale": dataset.scale,
        "licence": dataset.licence,
        "raw": raw,
    }
    if dataset.groups:
        about["groups"] = {name: list(classes) for name, classes in dataset.groups.items()}
    write_arrays(out, arrays, about)


def _verified(dataset: Dataset, folder: Path) -> dict[str, str]:
    """The SHA-256 of each raw file, those of other datasets under `<dataset>/<file>`; all were verified."""
    raw = {name: entry["sha256"] for name, entry in verify(dataset, folder).items()}
    for used in dataset.uses:
        manifest = verify(datasets.get(used), folder.parent / used)
        raw |= {f"{used}/{name}": entry["sha256"] for name, entry in manifest.items()}
    return raw


def _problem(dataset: Dataset, arrays: Mapping[str, Array]) -> str | None:
    """The first way in which `arrays` differ from what the dataset declares."""
    further = {f"{split}/{name}": name for name in dataset.further for split in dataset.splits_of(name)}
    expected = {f"{split}/{part}" for split in dataset.rows for part in ("inputs", "targets")} | set(further)
    if set(arrays) != expected:
        return f"it gives {', '.join(sorted(arrays))}, expected {', '.join(sorted(expected))}"
    for split, rows in dataset.rows.items():
        inputs, targets = f"{split}/inputs", f"{split}/targets"
        problem = _inputs_problem(dataset, rows, arrays[inputs])
        if problem:
            return f"{inputs} {problem}"
        problem = _targets_problem(dataset, rows, arrays[targets])
        if problem:
            return f"{targets} {problem}"
    for array, name in further.items():
        rows = dataset.rows[array.partition("/")[0]]
        problem = _further_problem(dataset, dataset.further[name], rows, arrays[array])
        if problem:
            return f"{array} {problem}"
    return None


def _inputs_problem(dataset: Dataset, rows: int, inputs: Array) -> str | None:
    expected = (rows, *dataset.input_shape)
    if inputs.shape != expected:
        return f"have shape {inputs.shape}, expected {expected}"
    if inputs.dtype not in (np.uint8, np.float32):
        return f"are {inputs.dtype}, expected uint8 or float32"
    return None if np.isfinite(inputs).all() else "hold a value that is not finite"


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


def _further_problem(dataset: Dataset, kind: Kind, rows: int, array: Array) -> str | None:
    if kind == "labels":
        return _labels_problem(dataset.classes, rows, array)
    problem = _form_problem(rows, array, np.int64)
    if problem or kind == "detail":
        return problem
    sources = np.unique(array)
    if np.array_equal(sources, np.arange(len(sources))):
        return None
    return f"name the sources {sources[0]} to {sources[-1]} with gaps, expected each from 0 to the last"
