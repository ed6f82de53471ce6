"""A training job in a process of its own, to which something happens."""

import multiprocessing
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch._dynamo  # which a first step imports: here it is done once for all jobs

from lapwing import files
from lapwing.job_log import logged
from tests.faults.happen import keep_states, nothing
from tests.training.parts import checkpoint_cells, train

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])

EPOCHS = 4
STEPS = 160
"""Of all trainings of the job."""


@dataclass(frozen=True)
class Job:
    """A folder in which two cells with three seeds each are trained for four epochs."""

    folder: Path

    def begin(self, happens: Callable[[], None]) -> BaseProcess:
        """Start a process that does the job as the script of the workflow does it."""
        process = PROCESSES.Process(target=_work, args=(self, happens))
        process.start()
        return process

    def run(self, happens: Callable[[], None] = nothing) -> int:
        """Do the job; gives the exit code, of a killed process minus the signal."""
        process = self.begin(happens)
        process.join(120)
        assert process.exitcode is not None, "the job did not end"
        return process.exitcode

    def out(self, name: str) -> Path:
        """Where `metrics`, `sources` or `runs` are written."""
        return self.folder / "out" / f"{name}.parquet"

    def results(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The metrics and the sources that it wrote."""
        return files.read_table(self.out("metrics")), files.read_table(self.out("sources"))

    @property
    def states_folder(self) -> Path:
        """Where the states after the last epoch are kept: beside the job, which does not know of them."""
        return self.folder.with_name(f"{self.folder.name}-states")

    def states(self) -> dict[str, dict[str, np.ndarray]]:
        """Weights and all else of each run's checkpoint after its last epoch."""
        return {path.name: dict(np.load(path)) for path in self.states_folder.glob("*.npz")}

    def epochs(self) -> Counter[str]:
        """How often each epoch of a run was finished, in all attempts."""
        return Counter((self.states_folder / "epochs").read_text().splitlines())

    def trained(self) -> list[str]:
        """How each of the six runs came about."""
        return [run["trained"] for run in files.read_json(self.out("runs"))]

    @property
    def screen(self) -> str:
        """What its last attempt said to the user."""
        return (self.folder / "screen").read_text()

    @property
    def log(self) -> str:
        """What its attempts said in the log."""
        return (self.folder / "job.log").read_text()

    def kept(self, pattern: str) -> list[Path]:
        """What is in the folder of finished runs."""
        return sorted(self.folder.glob(f"finished/*/{pattern}"))

    def made(self) -> list[str]:
        """What would count as made, and what was left beside it."""
        return sorted(path.name for path in self.folder.glob("out/*"))


def new_job(folder: Path, inputs: Path | None = None) -> Job:
    """A job that was never begun, with the inputs of another."""
    folder.mkdir(exist_ok=True)
    for path in inputs.glob("*.safetensors") if inputs else ():
        shutil.copy(path, folder)
    return Job(folder)


def _work(job: Job, happens: Callable[[], None]) -> None:
    with (job.folder / "screen").open("w") as screen:
        os.dup2(screen.fileno(), 2)
    torch.set_num_threads(1)
    keep_states(job.states_folder, EPOCHS)
    happens()
    with logged(job.folder / "job.log"):
        train(job.folder, checkpoint_cells())


def is_done_as(undisturbed: Job, job: Job) -> None:
    """Do the job; it gives the numbers and weights of the undisturbed one, and leaves nothing else."""
    assert job.run() == 0, job.screen
    for ours, theirs in zip(job.results(), undisturbed.results(), strict=True):
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    np.testing.assert_equal(job.states(), undisturbed.states())
    assert not job.kept("checkpoint-*")
    assert not job.kept("part-*")


def is_resumed_as(undisturbed: Job, job: Job) -> None:
    """Do the job as before, with no epoch again that an attempt before has finished."""
    is_done_as(undisturbed, job)
    assert job.epochs() == undisturbed.epochs()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job that nothing happened to."""
    job = new_job(tmp_path_factory.mktemp("undisturbed"))
    assert job.run() == 0, job.screen
    assert len(job.states()) == 6
    return job


@pytest.fixture
def job(tmp_path: Path, undisturbed: Job) -> Job:
    """A job that was never begun."""
    return new_job(tmp_path / "job", undisturbed.folder)
