"""A workflow to whose jobs of one stage something happens."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from tests.workflow.conftest import ROOT, Project


@dataclass(frozen=True)
class Disturbed(Project):
    """Each script of a stage first calls something of `happen.py`, before it imports anything."""

    stage: str
    event: str
    """Python, an expression."""

    def environment(self) -> dict[str, str]:
        """That of the project, and a module that Python imports at every start."""
        folder = self.folder / "disturbed"
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(
            f"import sys\nif sys.argv[0].endswith('.{self.stage}.py'):\n"
            f"    from signal import *\n    from tests.faults.happen import *\n    {self.event}\n"
        )
        usual = super().environment()
        return {**usual, "PYTHONPATH": f"{folder}:{usual['PYTHONPATH']}:{ROOT}"}

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """Start Snakemake in a process group of its own; an orphan may hold what it prints to open."""
        with self.screen.open("w") as screen:
            return subprocess.Popen(
                self.command(*words),
                cwd=self.folder,
                env=self.environment(),
                stdout=screen,
                stderr=screen,
                start_new_session=True,
            )

    @property
    def screen(self) -> Path:
        """Where what it prints goes."""
        return self.folder / "screen"

    def ended(self, *words: str) -> tuple[int, str]:
        """Run Snakemake until it ends or is ended; gives the exit code and what it printed."""
        code = self.begin(*words).wait(600)
        return code, self.screen.read_text()


def on_slurm(test: Callable[..., None]) -> Callable[..., None]:
    """A test that needs a Slurm; where it cannot be had the test is left out, and says so."""
    return pytest.mark.may_be_left_out(pytest.mark.usefixtures("slurm")(test))


RESULTS = ("results", "tables", "notebooks", "report.html")
TRAINED = ("runs", *RESULTS)


def without(project: Project, *made: str) -> pd.DataFrame:
    """Remove something from what the workflow made; with `runs` the finished ones too. Gives the metrics."""
    metrics = project.metrics()
    outputs = project.folder / "outputs"
    for path in [outputs / "paper" / name for name in made] + [outputs / "finished"] * ("runs" in made):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return metrics


Untrained = tuple[Project, pd.DataFrame]
"""A project in which nothing was trained yet, and the metrics of one where all was."""


@pytest.fixture
def untrained(made: Project) -> Untrained:
    return made, without(made, *TRAINED)


def table_of(project: Project) -> str:
    """The table that the workflow made."""
    return (project.folder / "outputs" / "paper" / "tables" / "tiny.csv").read_text()


def finished_at(project: Project) -> dict[str, int]:
    """When each finished run came to lie where it is, in nanoseconds."""
    runs = project.folder.glob("outputs/finished/*/seed=*")
    return {str(path): path.stat().st_mtime_ns for path in runs}


def logs_of(project: Project) -> list[str]:
    """What the training jobs of a project said."""
    return [path.read_text() for path in project.folder.glob("outputs/paper/logs/train/*/*.log")]


def trained_once(project: Project) -> None:
    """No run was trained twice, whichever of two jobs wrote the results in the end."""
    begun = sum(log.count(": epoch 1 of ") for log in logs_of(project))
    assert begun == len(list(project.folder.glob("outputs/finished/*")))
    assert len(finished_at(project)) == len(project.runs())


def resumes(project: Project, metrics: pd.DataFrame, *words: str) -> None:
    """It gives these metrics, and no run again that was finished."""
    before = finished_at(project)
    gives(project, metrics, *words)
    assert finished_at(project).items() >= before.items()


def gives(project: Project, metrics: pd.DataFrame, *words: str) -> None:
    """The workflow, run until all is trained or as the words say, gives these metrics bit for bit."""
    project.run(*(words or ("--until", "train")))
    pd.testing.assert_frame_equal(project.metrics(), metrics, check_exact=True)
    assert not list(project.folder.glob("outputs/finished/*/checkpoint-*"))
