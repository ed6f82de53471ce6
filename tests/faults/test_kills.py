"""F13 to F24: jobs, machines and power that end in the middle.

Each fault happens to a training job in a process of its own; the slow tests do it to the whole workflow.
"""

import os
import re
import signal
import socket
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lapwing.job_log import read_log
from lapwing.results.collect import aggregate
from tests.faults.happen import (
    at_step,
    at_sync,
    die,
    fail,
    little_memory,
    power_cut,
)
from tests.faults.jobs import STEPS, Job, is_done_as, is_resumed_as
from tests.faults.outcomes import is_clear, refusal
from tests.faults.workflows import (
    RESULTS,
    Disturbed,
    Untrained,
    finished_at,
    logs_of,
    on_slurm,
    resumes,
    table_of,
    trained_once,
    without,
)
from tests.results.conftest import MadeUp
from tests.workflow.conftest import Project
from tests.workflow.slurm.cluster import Driver, for_cluster

# -- a job that is killed ------------------------------------------------------------------------------

SEEDS = [pytest.param(seed, marks=pytest.mark.slow_fault if seed > 1 else []) for seed in range(20)]


@pytest.mark.fault("F13", "a training is killed in a random step", "resumed")
@pytest.mark.parametrize("seed", SEEDS)
def test_killed_in_a_random_step(job: Job, undisturbed: Job, seed: int) -> None:
    step = int(np.random.default_rng(seed).integers(1, STEPS + 1))
    assert job.run(partial(at_step, step, die)) == -signal.SIGKILL
    assert not job.made()
    is_resumed_as(undisturbed, job)


@pytest.mark.fault("F13", "a training is killed between two of the runs that it has finished", "resumed")
def test_killed_between_two_finished_runs(job: Job, undisturbed: Job) -> None:
    """The others do not train on in other company: nothing of them is left to be trained."""
    assert job.run(partial(at_sync, "run.json", 2, die)) == -signal.SIGKILL
    assert len(job.kept("seed=*")) == 1
    is_resumed_as(undisturbed, job)
    assert job.trained() == ["found finished", *["resumed at epoch 4"] * 2, *["now"] * 3]


@pytest.mark.fault("F14", "a training is killed while it writes a checkpoint", "resumed")
def test_killed_in_a_checkpoint(job: Job, undisturbed: Job) -> None:
    assert job.run(partial(at_sync, "checkpoint", 3, die)) == -signal.SIGKILL
    assert len(job.kept("part-*-checkpoint-*")) == 1
    is_resumed_as(undisturbed, job)
    assert job.trained() == ["resumed at epoch 2"] * 3 + ["now"] * 3


def ends_in_order(job: Job, undisturbed: Job, number: signal.Signals) -> None:
    """A job that is asked to end does so at once, says so, and is gone on with."""
    assert job.run(partial(at_step, 50, partial(signal.raise_signal, number))) == 128 + number
    is_clear(job.screen, f"stopped by {number.name}")
    assert not job.made()
    assert not job.kept("part-*")
    is_resumed_as(undisturbed, job)
    assert job.trained() == ["resumed at epoch 2"] * 3 + ["now"] * 3


@pytest.mark.fault("F15", "a job is asked to end (SIGTERM), with time to do so", "resumed")
def test_job_gets_sigterm(job: Job, undisturbed: Job) -> None:
    ends_in_order(job, undisturbed, signal.SIGTERM)


@pytest.mark.fault("F16", "a job is interrupted (Ctrl-C)", "resumed")
def test_job_gets_sigint(job: Job, undisturbed: Job) -> None:
    ends_in_order(job, undisturbed, signal.SIGINT)


@pytest.mark.fault("F19", "a job has too little memory", "resumed")
def test_too_little_memory(job: Job, undisturbed: Job) -> None:
    assert job.run(little_memory) == 1
    is_clear(job.screen, "memory is used up; grant the job more")
    assert not job.made()
    is_resumed_as(undisturbed, job)


@pytest.mark.fault("F19", "the kernel kills a job for its memory", "resumed")
def test_killed_for_memory(job: Job, undisturbed: Job) -> None:
    """The kernel leaves a job no time to say anything: its next attempt does."""
    assert job.run(partial(at_step, 50, die)) == -signal.SIGKILL
    is_resumed_as(undisturbed, job)
    assert "the attempt before said no end: it was killed, perhaps for want of memory" in job.log


@pytest.mark.fault("F20", "the GPU fails in the middle of a training", "resumed")
def test_gpu_fails(job: Job, undisturbed: Job) -> None:
    error = RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be reported late")
    assert job.run(partial(at_step, 50, partial(fail, error))) == 1
    is_clear(job.screen, "the GPU failed (CUDA error: unspecified launch failure); start again")
    assert not job.made()
    is_resumed_as(undisturbed, job)
    assert job.trained() == ["resumed at epoch 2"] * 3 + ["now"] * 3


# -- power -----------------------------------------------------------------------------------------------


@pytest.mark.fault("F22", "the power goes, and with it all that was not synced to the disk", "resumed")
@pytest.mark.parametrize("when", [partial(at_step, 55), partial(at_step, 130), partial(at_sync, "runs", 1)])
def test_power_goes(job: Job, undisturbed: Job, when: partial[None]) -> None:
    assert job.run(partial(power_cut, job.folder, when)) == -signal.SIGKILL
    is_resumed_as(undisturbed, job)
    assert not job.kept("damaged-*")


@pytest.mark.fault("F22", "a disk loses what it said was written: a checkpoint", "recovered")
def test_empty_checkpoint(job: Job, undisturbed: Job) -> None:
    job.run(partial(at_step, 50, die))
    (checkpoint,) = job.kept("checkpoint-*")
    os.truncate(checkpoint, 0)
    is_done_as(undisturbed, job)
    assert f"{checkpoint} was set aside" in job.log


@pytest.mark.fault("F22", "a disk loses what it said was written: a part's results", "refused")
@pytest.mark.parametrize("name", ["metrics", "sources", "runs"])
def test_empty_result(made_up: MadeUp, tmp_path: Path, name: str) -> None:
    parts = made_up.write(tmp_path / "part")
    os.truncate(parts[name][0], 0)
    out = {kind: tmp_path / kind for kind in ("results", "sources", "runs")}
    sentence = refusal(aggregate, **parts, study=made_up.study, out=out)
    assert f"{parts[name][0]} is damaged" in sentence
    assert f"rm {parts[name][0]}" in sentence
    assert not any(path.exists() for path in out.values())


# -- the workflow ----------------------------------------------------------------------------------------


def killed(project: Project, stage: str, event: str) -> None:
    """All is killed when something happens in a stage; then the folder is unlocked, as the README says."""
    code, printed = Disturbed(project.folder, stage, event).ended()
    assert code == -signal.SIGKILL, printed
    project.run("--unlock")


def ended_by(untrained: Untrained, number: signal.Signals) -> None:
    """The workflow and its jobs are asked to end; it can be started again as it is, and goes on."""
    project, metrics = untrained
    code, printed = Disturbed(project.folder, "train", f"at_step(10, partial(all_get, {number}))").ended()
    assert code not in (0, -signal.SIGKILL), printed
    is_clear(printed, f"stopped by {number.name}")
    logs = [read_log(path) for path in project.folder.glob("outputs/paper/logs/train/*/*.log")]
    assert {log.end for log in logs if log} == {"stopped"}
    resumes(project, metrics)


@pytest.mark.slow_fault
@pytest.mark.fault("F15", "the workflow and its jobs are asked to end (scancel)", "resumed")
def test_all_get_sigterm(untrained: Untrained) -> None:
    ended_by(untrained, signal.SIGTERM)


@pytest.mark.slow_fault
@pytest.mark.fault("F16", "the workflow and its jobs are interrupted (Ctrl-C)", "resumed")
def test_all_get_sigint(untrained: Untrained) -> None:
    ended_by(untrained, signal.SIGINT)


@pytest.mark.slow_fault
@pytest.mark.fault("F17", "the workflow is killed, its jobs go on, and it is started again", "resumed")
def test_orphan_goes_on(untrained: Untrained) -> None:
    """The jobs of the second workflow wait for those of the first, and train nothing."""
    project, metrics = untrained
    killed(project, "train", "at_step(10, lose_driver)")
    resumes(project, metrics)
    trained_once(project)
    for text in logs_of(project):
        orphan, second = re.findall(r"job begun on \S+, process (\d+)", text)
        assert f"process {orphan} on {socket.gethostname()} trains it, waiting" in text
        assert orphan != second
        assert text.count("job done") == 2


@pytest.mark.slow_fault
@pytest.mark.fault("F18", "Slurm takes a job away and puts it into the queue again", "recovered")
@on_slurm
def test_job_is_requeued(untrained: Untrained) -> None:
    project, metrics = untrained
    disturbed = Disturbed(for_cluster(project).folder, "train", "at_step(10, be_requeued)")
    with Driver(disturbed, "--until", "train") as driver:
        driver.finish()
        jobs = [job for job in driver.jobs() if "rule_train" in job.what]
    assert [job.asked("JobState", "Restarts") for job in jobs] == [("COMPLETED", "1")] * 2
    pd.testing.assert_frame_equal(project.metrics(), metrics, check_exact=True)


@pytest.mark.slow_fault
@pytest.mark.fault("F21", "all is killed when a job has ended and the workflow does not know", "resumed")
def test_killed_before_the_bookkeeping(untrained: Untrained) -> None:
    project, metrics = untrained
    killed(project, "train", "at_end(partial(all_get, SIGKILL))")
    assert finished_at(project)
    resumes(project, metrics)


@pytest.mark.slow_fault
@pytest.mark.fault("F23", "all is killed while results are put together", "resumed")
def test_killed_in_aggregation(made: Project) -> None:
    table, metrics = table_of(made), without(made, *RESULTS)
    killed(made, "aggregate", "at_sync('tiny_sources.parquet', 1, partial(all_get, SIGKILL))")
    assert [path.name for path in made.folder.glob("outputs/paper/results/[!p]*")] == ["tiny.parquet"]
    resumes(made, metrics, "tiny")
    assert table_of(made) == table


@pytest.mark.slow_fault
@pytest.mark.fault("F24", "all is killed while a notebook runs", "resumed")
def test_killed_in_a_notebook(made: Project) -> None:
    table, metrics = table_of(made), without(made, *RESULTS)
    half_run = "outputs/paper/notebooks/half-run-tiny.ipynb"
    killed(made, "present", f"when_there({half_run!r}, partial(all_get, SIGKILL))")
    assert [path.name for path in made.folder.glob("outputs/paper/notebooks/*")] == ["half-run-tiny.ipynb"]
    resumes(made, metrics, "tiny")
    assert table_of(made) == table
