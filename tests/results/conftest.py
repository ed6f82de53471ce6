"""Made-up results of a small study, and the artefact that shows them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lapwing import files

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "published"
SEEDS = [2, 4, 8]
KEY, SETTINGS = "abc123", {"epochs": 4}
"""Of all runs."""
CORRUPTIONS = ["original", "random_label"]
TOP_1 = {"name": "top_1", "better": "higher", "unit": "percent"}
LAST = {("original", "standard"): 0.82, ("original", "lap"): 0.82}
LAST |= {("random_label", "standard"): 0.70, ("random_label", "lap"): 0.78}


@dataclass
class MadeUp:
    """A study's cells, tables and the description of its artefact."""

    cells: list[dict[str, Any]]
    metrics: pd.DataFrame
    sources: pd.DataFrame
    runs: list[dict[str, Any]]
    description: dict[str, Any]

    def write(self, folder: Path) -> dict[str, list[Path]]:
        """Write the files of one part."""
        cells = [{"axes": axes_of(cell), "seeds": cell["seeds"], "key": KEY} for cell in self.cells]
        about = {"cells": cells}
        files.write_table(folder / "metrics.parquet", self.metrics, about)
        files.write_table(folder / "sources.parquet", self.sources, about)
        files.write_json(folder / "runs.json", self.runs)
        return {
            "metrics": [folder / "metrics.parquet"],
            "sources": [folder / "sources.parquet"],
            "runs": [folder / "runs.json"],
        }

    @property
    def study(self) -> dict[str, Any]:
        """What `aggregate` is told."""
        settings = [self.settings_of(axes_of(cell)) for cell in self.cells]
        return {"name": "table_1", "cells": self.cells, "settings": [*map(files.content_key, settings)]}

    def settings_of(self, axes: dict[str, Any]) -> dict[str, Any]:
        """Those of a cell's runs, which need not be there."""
        runs = (run for run in self.runs if axes.items() <= run.items())
        return next((run["settings"] for run in runs), SETTINGS)


def axes_of(cell: dict[str, Any]) -> dict[str, Any]:
    """The axes of a cell, which lie flat beside what else is said of it."""
    return {name: value for name, value in cell.items() if name not in ("metric", "seeds", "read_from")}


def epochs_of(last: float, seed: int) -> list[float]:
    """Four epochs whose best is the third, two points above the last."""
    end = last + 0.001 * (SEEDS.index(seed) - 1)
    return [end - 0.2, end - 0.1, end + 0.02, end]


@pytest.fixture
def made_up() -> MadeUp:
    """Two corruptions, two methods, three seeds, four epochs, two sources."""
    cells, metrics, sources, runs = [], [], [], []
    for (corruption, method), last in LAST.items():
        axes = {"dataset": "fashion_mnist", "corruption": corruption, "method": method}
        cells.append({**axes, "metric": TOP_1, "seeds": SEEDS})
        for seed in SEEDS:
            runs.append({**axes, "seed": seed, **provenance(seed)})
            for epoch, value in enumerate(epochs_of(last, seed), start=1):
                head = {**axes, "seed": seed, "epoch": epoch}
                moment = {**head, "step": 10 * epoch}
                metrics.append({**head, "split": "test", "metric": "top_1", "value": value})
                metrics.append({**head, "split": "train", "metric": "top_1", "value": 0.99})
                sources += [{**moment, **history(source, epoch, method)} for source in (0, 1)]
    description = {
        "kind": "table",
        "title": "Table 1: accuracy",
        "rows": ["dataset", "corruption"],
        "readings": ["last", "best"],
        "published": {"study": "synthetic", "table": "Table 1"},
        "published_columns": ["arfl", "idpa", "coteaching"],
    }
    return MadeUp(cells, pd.DataFrame(metrics), pd.DataFrame(sources), runs, description)


def history(source: int, epoch: int, method: str) -> dict[str, Any]:
    """Source 1 is corrupt, and grows unreliable under LAP."""
    counted = method == "lap"
    unreliability = 10.0 * epoch * source if counted else np.nan
    multiplier = 1.0 - 0.1 * source if counted else np.nan
    learned = {"mean_loss": 1.0, "unreliability": unreliability, "multiplier": multiplier}
    return {"source": source, "is_corrupt": source == 1, **learned}


def provenance(seed: int) -> dict[str, Any]:
    """What a run says of itself."""
    return {
        "key": KEY,
        "settings": SETTINGS,
        "device": "cpu",
        "backend": "vmap",
        "replicas": 3,
        "seconds": 1.5 * seed,
        "samples_per_second": 1000.0,
        "peak_memory_mb": 200.0,
        "git_commit": "0123abc",
        "versions": {"python": "3.11.9", "torch": "2.13.0"},
        "trained": "now",
        "diverged": None,
        "finished_at": "2026-01-01T00:00:00+00:00",
    }
