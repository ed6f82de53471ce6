"""A part on disk: digits, corruption artefacts, cells; run as a program it dies at the n-th sync."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from lapwing import files
from lapwing.corruption.base import CorruptionSettings, write_corruption
from lapwing.methods import methods
from lapwing.training.job import train_part

OUTPUTS = ("metrics", "sources", "runs")


def write_digits(folder: Path) -> Path:
    """The prepared file, written once."""
    path = folder / "digits.safetensors"
    if not path.exists():
        digits = load_digits()
        inputs, targets = digits.images[:, None].astype(np.uint8), digits.target.astype(np.int64)
        arrays = {"train/inputs": inputs[:320], "train/targets": targets[:320]}
        arrays |= {"test/inputs": inputs[1400:1500], "test/targets": targets[1400:1500]}
        about = {"dataset": "digits", "version": 1, "task": "classification", "classes": 10, "scale": 1 / 16}
        files.write_arrays(path, arrays, about)
    return path


def cell_of(
    corruption="random_label", method="standard", options=None, seeds=(2, 4, 8), dataset="digits", **changes
) -> dict:
    """A cell as a study would make it."""
    sources = {"number": 5, "corrupt": 2, "size": 16}
    settings = CorruptionSettings(
        dataset=dataset, dataset_version=1, sources=sources, name=corruption, version=1
    )
    conditions = {
        "corruption": settings.model_dump(mode="json"),
        "model": {"name": "mlp", "version": 1, "options": {}},
        "method": {"name": method, "version": methods.get(method).version, "options": options or {}},
        "layout": "blocks",
        "batch_size": 16,
        "epochs": 4,
        **changes,
    }
    return {
        "axes": {"dataset": dataset, "corruption": corruption, "method": method},
        "settings": conditions,
        "seeds": list(seeds),
    }


def train(
    folder: Path,
    cells: list[dict],
    out: str = "out",
    finished: str = "finished",
    corrupted: list[Path] | None = None,
    data: Path | None = None,
    **options,
):
    """Train a part in a folder and read what it wrote; `options` are those of `train_part`."""
    data = write_digits(folder) if data is None else data
    made = [_artefact(folder, data, cell, seed) for cell in cells for seed in cell["seeds"]]
    paths = {name: folder / out / f"{name}.parquet" for name in OUTPUTS}
    artefacts = made if corrupted is None else corrupted
    train_part(cells, [data], artefacts, folder / finished, paths, **options)
    return (
        files.read_table(paths["metrics"]),
        files.read_table(paths["sources"]),
        files.read_json(paths["runs"]),
    )


def _artefact(folder: Path, data: Path, cell: dict, seed: int) -> Path:
    settings = CorruptionSettings.model_validate(cell["settings"]["corruption"])
    path = folder / f"corrupted-{settings.key}-{seed}.safetensors"
    if not path.exists():
        write_corruption(data, settings, seed, path)
    return path


def checkpoint_cells() -> list[dict]:
    """What the kill tests train."""
    lap = {"form": "gradient", "history_length": 3, "depression_strength": 30.0}
    return [cell_of(method="lap", options=lap), cell_of(layout="mixed")]


def _die_at(number: int) -> None:
    """Kill this process by SIGKILL inside the `number`-th sync of a file."""
    seen = []
    sync = os.fsync

    def counted(descriptor: int) -> None:
        seen.append(descriptor)
        if len(seen) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(descriptor)

    os.fsync = counted


if __name__ == "__main__":
    _die_at(int(sys.argv[2]))
    train(Path(sys.argv[1]), checkpoint_cells())
