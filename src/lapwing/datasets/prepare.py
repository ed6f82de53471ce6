"""From verified raw files to one file of arrays per dataset."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lapwing.datasets import datasets
from lapwing.datasets.base import Dataset
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
    manifest = verify(dataset, folder)
    arrays = dataset.read(folder)
    problem = _problem(dataset, arrays)
    if problem:
        raise UserError(f"{key}: {problem}; what is in {folder} is not what the dataset declares.")
    about = {
        "dataset": key,
        "version": dataset.version,
        "task": dataset.task,
        "classes": dataset.classes,
        "scale": dataset.scale,
        "licence": dataset.licence,
        "raw": {name: entry["sha256"] for name, entry in manifest.items()},
    }
    write_arrays(out, arrays, about)


def _problem(dataset: Dataset, arrays: Mapping[str, Array]) -> str | None:
    """The first way in which `arrays` differ from what the dataset declares."""
    expected = {f"{split}/{part}" for split in dataset.rows for part in ("inputs", "targets")}
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
    return None


def _inputs_problem(dataset: Dataset, rows: int, inputs: Array) -> str | None:
    expected = (rows, *dataset.input_shape)
    if inputs.shape != expected:
        return f"have shape {inputs.shape}, expected {expected}"
    if inputs.dtype not in (np.uint8, np.float32):
        return f"are {inputs.dtype}, expected uint8 or float32"
    return None if np.isfinite(inputs).all() else "hold a value that is not finite"


def _targets_problem(dataset: Dataset, rows: int, targets: Array) -> str | None:
    kind = np.float32 if dataset.classes is None else np.int64
    if targets.shape != (rows,) or targets.dtype != kind:
        return f"are {targets.dtype} {targets.shape}, expected {np.dtype(kind)} {(rows,)}"
    if dataset.classes is None:
        return None if np.isfinite(targets).all() else "hold a value that is not finite"
    wrong = targets[(targets < 0) | (targets >= dataset.classes)]
    return f"hold the label {wrong[0]}, expected 0 to {dataset.classes - 1}" if wrong.size else None
