"""F47 to F50: two drivers, and a queue that does not tell the truth."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.faults.workflows import Disturbed, Untrained, finished_at, gives, on_slurm
from tests.workflow.conftest import Project
from tests.workflow.slurm.cluster import Driver, for_cluster

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


@pytest.mark.fault("F48", "two checkouts that share finished runs make the same at once", "recovered")
def test_two_checkouts(untrained: Untrained, tmp_path: Path) -> None:
    """No run is trained twice, and both have the same numbers."""
    project, metrics = untrained
    config = project.folder / "config.yaml"
    shared = {"finished_runs": str(tmp_path / "shared")}
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), **shared}))
    second = Project(Path(shutil.copytree(project.folder, tmp_path / "second", symlinks=True)))
    both = [
        Disturbed(each.folder, "train", "nothing()").begin("--until", "train") for each in (project, second)
    ]
    for process in both:
        assert process.wait(600) == 0
    for each in (project, second):
        pd.testing.assert_frame_equal(each.metrics(), metrics, check_exact=True)
    trained = [project.trained_now(), second.trained_now()]
    assert not trained[0] & trained[1]
    assert len(trained[0] | trained[1]) == len(project.runs())


# -- a queue that does not tell the truth --------------------------------------------------------------


@dataclass(frozen=True)
class Queue(Project):
    """A project whose workflow asks something else than Slurm what became of its jobs, for a while."""

    answers: str
    """A shell script; `$squeue` is the real one."""
    times: int

    def environment(self) -> dict[str, str]:
        """That of the project, with another `squeue` before the real one."""
        folder = self.folder / "queue"
        folder.mkdir(exist_ok=True)
        script = folder / "squeue"
        script.write_text(
            f"#!/bin/sh\nsqueue={shutil.which('squeue')}\nasked='{folder}/asked'\necho >> \"$asked\"\n"
            f'if [ "$(wc -l < "$asked")" -le {self.times} ]; then\n{self.answers}\n'
            'else exec "$squeue" "$@"; fi\n'
        )
        script.chmod(0o755)
        usual = super().environment()
        return {**usual, "PATH": f"{folder}:{usual['PATH']}"}

    def asked(self) -> int:
        """How often it was asked."""
        return len((self.folder / "queue" / "asked").read_text())


def says(answers: str, untrained: Untrained, times: int = 3) -> None:
    """The workflow on Slurm gives the right numbers, though the queue says this for a while."""
    project, metrics = untrained
    queue = Queue(for_cluster(project).folder, answers, times)
    with Driver(queue, "--until", "train") as driver:
        driver.finish()
    assert queue.asked() >= times
    pd.testing.assert_frame_equal(project.metrics(), metrics, check_exact=True)
    assert len(list(project.folder.glob("outputs/finished/*/seed=*"))) == len(project.runs())


@pytest.mark.fault("F49", "the queue says nothing about the jobs for a while", "recovered")
@on_slurm
def test_queue_says_nothing(untrained: Untrained) -> None:
    says("exit 0", untrained)


@pytest.mark.fault("F49", "the queue fails for a while", "recovered")
@on_slurm
def test_queue_fails(untrained: Untrained) -> None:
    says("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1", untrained)


@pytest.mark.fault("F49", "the queue is slow", "recovered")
@on_slurm
def test_queue_is_slow(untrained: Untrained) -> None:
    says('sleep 5; exec "$squeue" "$@"', untrained, times=1)


def lies(state: str) -> str:
    """What a queue says that calls every job so."""
    return f'"$squeue" "$@" | sed "s/|.*/|{state}/"'


@pytest.mark.fault("F49", "the queue says of jobs that run that they failed", "recovered")
@on_slurm
def test_queue_says_failed(untrained: Untrained) -> None:
    """The job that is sent in place of one that still runs waits for it, and trains nothing."""
    says(lies("FAILED"), untrained, times=1)


@pytest.mark.fault("F49", "the queue says of jobs that run that they are done", "refused")
@on_slurm
def test_queue_says_done(untrained: Untrained) -> None:
    """Snakemake misses the results; started again it waits for the jobs, and trains nothing."""
    project, metrics = untrained
    queue = Queue(for_cluster(project).folder, lies("COMPLETED"), times=1000)
    with Driver(queue, "--until", "train", "--latency-wait", "1", "--retries", "0") as driver:
        text = driver.finish(ok=False)
        assert "some output files are missing" in text
        assert "Traceback" not in text
        gives(project, metrics)


@pytest.mark.fault("F50", "a job is gone from the queue before the workflow has seen its end", "recovered")
@on_slurm
def test_job_vanishes(untrained: Untrained) -> None:
    """Snakemake waits for what the queue will never say; stopped and started again it finds the results."""
    project, metrics = untrained
    queue = Queue(for_cluster(project).folder, "exit 0", times=1000)
    with Driver(queue, "--until", "train") as driver:
        driver.until(lambda: len(driver.jobs()) == 2 and all(j.state == "COMPLETED" for j in driver.jobs()))
        asked = queue.asked()
        driver.until(lambda: queue.asked() > asked)
    project.run("--unlock")
    before = finished_at(project)
    gives(project, metrics)
    assert finished_at(project) == before
