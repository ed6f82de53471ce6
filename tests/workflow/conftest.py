"""A small project to run the workflow in: the repository's own files and one tiny study."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from benchmarks.project import ROOT, RULES, WORKFLOW
from benchmarks.project import new_project as copied
from lapwing.files import read_json
from lapwing.study import merged
from tests.test_study import TINY

STUDY: dict[str, Any] = merged(
    TINY,
    {
        "conditions": {
            "sources": {"size": 32},
            "batch_size": 32,
            "methods": {"lap": {"history_length": 3}},
            "epochs": 3,
            "minutes_per_run": 0.05,
        },
    },
)


@dataclass(frozen=True)
class Project:
    """A folder with the workflow and one study."""

    folder: Path

    def command(self, *words: str) -> list[str]:
        """The words of a call of Snakemake."""
        return [sys.executable, "-m", "snakemake", "--cores", "2", *words]

    def environment(self) -> dict[str, str]:
        """One thread, and the package of this checkout."""
        return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}

    def run_within(self, limits: Callable[[], None], *words: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake in a process that first calls `limits` on itself."""
        return subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            preexec_fn=limits,
            check=False,
        )

    def run(self, *words: str, ok: bool = True) -> str:
        """Run Snakemake; gives what it printed."""
        done = subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=7200,  # everything at demo scale, on a machine that is slow and busy
            check=False,
        )
        text = done.stdout + done.stderr
        assert (done.returncode == 0) == ok, text
        return text

    def write_study(self, study: Mapping[str, Any], name: str = "tiny") -> None:
        """Put a study file in the place of the one that is there."""
        (self.folder / "studies" / f"{name}.yaml").write_text(yaml.safe_dump(dict(study)))

    def planned(self, *words: str) -> Counter[str]:
        """How many jobs of each rule a dry run plans."""
        text = self.run(*words, "--dry-run", "--quiet", "rules")
        rows = [line.split() for line in text.splitlines()]
        return Counter({row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()})

    def runs(self) -> list[dict[str, Any]]:
        """What is said of every run, of all parts."""
        files = sorted(self.folder.glob("outputs/paper/runs/*/*/runs.json"))
        return [run for file in files for run in read_json(file)]

    def trained_now(self) -> set[tuple[str, str, int]]:
        """The runs that their last job trained: corruption, method, seed."""
        return {
            (run["corruption"], run["method"], run["seed"])
            for run in self.runs()
            if run["trained"] != "found finished"
        }

    def metrics(self) -> pd.DataFrame:
        """The metrics of all parts."""
        files = sorted(self.folder.glob("outputs/paper/runs/*/*/metrics.parquet"))
        whole = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
        return whole.sort_values(list(whole.columns[:-1]), ignore_index=True)


@dataclass(frozen=True)
class Elsewhere(Project):
    """A project with an environment of its own."""

    extra: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """With what is given."""
        return {**super().environment(), **self.extra}


def new_project(folder: Path, study: Mapping[str, Any] = STUDY) -> Project:
    """A project in an empty folder."""
    copied(ROOT, folder, RULES)
    (folder / "config.yaml").write_text(yaml.safe_dump({"scale": "paper", "data": {"offline": True}}))
    (folder / "studies").mkdir()
    project = Project(folder)
    project.write_study(study)
    return project


def new_demo(folder: Path) -> Project:
    """A project with the repository's own studies and settings, at demo scale."""
    return Project(copied(ROOT, folder, WORKFLOW))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project in which nothing is made yet."""
    return new_project(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which everything is made; copy it before you change it."""
    made = new_project(tmp_path_factory.mktemp("finished"))
    made.run()
    return made


@pytest.fixture
def made(finished: Project, tmp_path: Path) -> Project:
    """A copy of a project in which everything is made, file times kept."""
    shutil.copytree(finished.folder, tmp_path / "made", symlinks=True)
    return Project(tmp_path / "made")
