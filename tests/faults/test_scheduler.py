"""F47 to F50: two drivers, and a queue that does not tell the truth."""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.faults.workflows import Disturbed, Untrained, finished_at, gives, logs_of, on_slurm, trained_once
from tests.workflow.conftest import Project
from tests.workflow.slurm.cluster import Driver, Job, for_cluster

pytestmark = pytest.mark.slow_fault

# -- two at once ---------------------------------------------------------------------------------------


@pytest.mark.fault("F47", "the workflow is started twice in one folder", "refused")
def test_two_in_one_folder(untrained: Untrained) -> None:
    """The second is refused, and the first does not notice."""
    project, metrics = untrained
    first = Disturbed(project.folder, "train", "nothing()").begin("--until", "train")
    locks = project.folder / ".snakemake" / "locks"
    while not list(locks.glob("*")):
        assert first.poll() is None
        time.sleep(0.05)
    text = project.run(ok=False)
    assert "Directory cannot be locked" in text
    assert "Traceback" not in text
    assert first.wait(600) == 0
    gives(project, metrics)


def waited_for(log: str, logs: list[str]) -> bool:
    """Whether the job that began first in a log was waited for by one that others tell of."""
    begun = re.search(r"job begun on \S+, process (\d+)", log)
    assert begun, log
    return any(f"process {begun[1]} on {socket.gethostname()} trains it, waiting" in other for other in logs)


@pytest.mark.fault(
    "F48", "two checkouts on one machine that share finished runs train the same at once", "recovered"
)
def test_two_checkouts(untrained: Untrained, tmp_path: Path) -> None:
    """Each job of one waits for that of the other; no run is trained twice, both have the same numbers."""
    project, metrics = untrained
    config = project.folder / "config.yaml"
    shared = {"finished_runs": str(tmp_path / "shared")}
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), **shared}))
    second = Project(Path(shutil.copytree(project.folder, tmp_path / "second", symlinks=True)))
    held = f"at_step(10, partial(until_waited_for, Path({str(second.folder)!r})))"
    both = [Disturbed(project.folder, "train", held).begin("--until", "train")]
    while not list(tmp_path.glob("shared/*/lock-*")):
        assert both[0].poll() is None
        time.sleep(0.05)
    both += [Disturbed(second.folder, "train", "nothing()").begin("--until", "train")]
    for process in both:
        assert process.wait(600) == 0
    assert all(waited_for(log, logs_of(second)) for log in logs_of(project))
    for each in (project, second):
        pd.testing.assert_frame_equal(each.metrics(), metrics, check_exact=True)
    trained = [project.trained_now(), second.trained_now()]
    assert not trained[0] & trained[1]
    assert len(trained[0] | trained[1]) == len(project.runs())


# -- a queue that does not tell the truth --------------------------------------------------------------


TOLD = "queue/told"
"""In the folder of the project: the seconds in which the workflow asked and heard an untruth.

The plugin asks five times in a row where it gets no answer: that is once.
"""
UNTIL_TOLD = f"at_step(10, partial(until_there, {TOLD!r}))"
"""A training does not end before the first untruth."""
TRAININGS = 2
"""Jobs of the workflow that nothing happens to."""
QUEUE = """#!/bin/sh
squeue={squeue}
told='{told}'
listed() {{ "$squeue" "$@" | grep -c RUNNING; }}
begun() {{ grep -L 'job done' '{folder}'/outputs/paper/logs/train/*/*.log | wc -l; }}
if [ ! -e "$told" ] && [ "$(listed "$@")" -eq {trainings} ] && [ "$(begun)" -eq {trainings} ]
then touch "$told"; fi
"""
UNTRUE = """
told='{told}'
if [ -e "$told" ] && [ "$(wc -l < "$told")" -lt {times} ]; then
case "$*" in *--name*) now=$(date +%s); grep -qx "$now" "$told" || echo "$now" >> "$told" ;; esac
{answers}
else exec {real} "$@"; fi
"""


@dataclass(frozen=True)
class Queue(Disturbed):
    """A project whose workflow hears untruths of its jobs for a while, once all trainings have begun."""

    answers: str
    """A shell script; `$squeue` is the real one."""
    times: int
    further: Sequence[str] = ()
    """Commands of Slurm that answer the same meanwhile."""

    def environment(self) -> dict[str, str]:
        """That of the project, with other commands before the real ones."""
        folder, told, squeue = self.folder / "queue", self.folder / TOLD, shutil.which("squeue")
        folder.mkdir(exist_ok=True)
        begin = QUEUE.format(squeue=squeue, folder=self.folder, told=told, trainings=TRAININGS)
        for name in ("squeue", *self.further):
            real, script = shutil.which(name), folder / name
            untrue = UNTRUE.format(told=told, times=self.times, answers=self.answers, real=real)
            script.write_text((begin if name == "squeue" else "#!/bin/sh") + untrue)
            script.chmod(0o755)
        usual = super().environment()
        return {**usual, "PATH": f"{folder}:{usual['PATH']}"}

    def told(self) -> int:
        """How often the workflow asked and it told an untruth."""
        return len((self.folder / TOLD).read_text().splitlines())


def says(
    answers: str, untrained: Untrained, *further: str, times: int = 2, event: str = UNTIL_TOLD
) -> list[Job]:
    """The workflow on Slurm gives the right numbers, though the queue says this; gives the training jobs."""
    project, metrics = untrained
    queue = Queue(for_cluster(project).folder, "train", event, answers, times, further)
    with Driver(queue, "--until", "train") as driver:
        driver.finish()
        jobs = trainings(driver)
    assert queue.told() == times
    pd.testing.assert_frame_equal(project.metrics(), metrics, check_exact=True)
    assert len(list(project.folder.glob("outputs/finished/*/seed=*"))) == len(project.runs())
    return jobs


def trainings(driver: Driver) -> list[Job]:
    """The training jobs that were sent."""
    return [job for job in driver.jobs() if "rule_train" in job.what]


@pytest.mark.fault("F49", "the queue says nothing about the jobs for a while", "recovered")
@on_slurm
def test_queue_says_nothing(untrained: Untrained) -> None:
    assert len(says("exit 0", untrained)) == TRAININGS


@pytest.mark.fault("F49", "the queue fails for a while", "recovered")
@on_slurm
def test_queue_fails(untrained: Untrained) -> None:
    answer = "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1"
    assert len(says(answer, untrained, "scontrol", "sacct")) == TRAININGS


@pytest.mark.fault("F49", "the queue takes longer to answer than the workflow waits for it", "recovered")
@on_slurm
def test_queue_is_slow(untrained: Untrained) -> None:
    assert len(says('sleep 100; exec "$squeue" "$@"', untrained, times=1)) == TRAININGS


HELD = "at_step(10, until_waited_for)"


def lies(state: str) -> str:
    """What a queue says that calls every job so."""
    return f'"$squeue" "$@" | sed "s/|.*/|{state}/"'


@pytest.mark.fault("F49", "the queue says of jobs that run that they failed", "recovered")
@on_slurm
def test_queue_says_failed(untrained: Untrained) -> None:
    """The job that is sent in place of one that still runs waits for it; no run is trained twice."""
    jobs = says(lies("FAILED"), untrained, times=1, event=HELD)
    assert len(jobs) == 2 * TRAININGS
    logs = logs_of(untrained[0])
    assert len(logs) == TRAININGS
    assert all(waited_for(log, [log]) for log in logs)
    trained_once(untrained[0])


@pytest.mark.fault("F49", "the queue says of jobs that run that they are done", "resumed")
@on_slurm
def test_queue_says_done(untrained: Untrained) -> None:
    """Snakemake misses the results; started again it waits for the jobs, and trains nothing."""
    project, metrics = untrained
    queue = Queue(for_cluster(project).folder, "train", HELD, lies("COMPLETED"), times=1000)
    with Driver(queue, "--until", "train", "--latency-wait", "1", "--retries", "0") as driver:
        text = driver.finish(ok=False)
        assert "some output files are missing" in text
        assert "Traceback" not in text
        assert queue.told()
        assert [job.state for job in trainings(driver)] == ["RUNNING"] * TRAININGS
        gives(project, metrics)
    assert all(waited_for(log, [log]) for log in logs_of(project))
    trained_once(project)


FORGETS = """case "$*" in *--jobs*) echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1 ;; esac
exit 0"""
"""How Slurm answers that has forgotten the jobs."""


@on_slurm
def test_slurm_says_so_of_a_job_that_it_does_not_know() -> None:
    asked = ["squeue", "--noheader", "--jobs", "60999999"]
    assert "Invalid job id" in subprocess.run(asked, capture_output=True, text=True, check=False).stderr


def forgotten(untrained: Untrained, event: str, state: str) -> dict[str, int]:
    """All jobs end so, Slurm has forgotten them, they are sent again. Gives when runs finished before."""
    project, metrics = untrained
    queue = Queue(for_cluster(project).folder, "train", event, FORGETS, times=1000)
    with Driver(queue, "--until", "train") as driver:
        driver.until(lambda: [job.state for job in trainings(driver)[:TRAININGS]] == [state] * TRAININGS)
        before = finished_at(project)
        driver.until(lambda: len(trainings(driver)) == 2 * TRAININGS)
        (queue.folder / TOLD).write_text("\n" * queue.times)  # it tells the truth again
        assert "'ERROR'" in driver.finish()
    pd.testing.assert_frame_equal(project.metrics(), metrics, check_exact=True)
    return before


@pytest.mark.fault("F50", "a job is gone from the queue unfinished, and never spoken of again", "recovered")
@on_slurm
def test_job_vanishes(untrained: Untrained) -> None:
    """It is sent again, and goes on with what was trained."""
    assert forgotten(untrained, f"at_step(10, partial(vanish, {TOLD!r}, {TRAININGS}))", "CANCELLED") == {}


@pytest.mark.fault(
    "F50", "a job is done and gone from the queue before the workflow has seen its end", "recovered"
)
@on_slurm
def test_job_is_done_and_gone(untrained: Untrained) -> None:
    """It is sent again, finds the results, and trains nothing."""
    before = forgotten(untrained, UNTIL_TOLD, "COMPLETED")
    assert before
    assert finished_at(untrained[0]) == before
