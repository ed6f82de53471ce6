"""The workflow on a real Slurm, with the repository's own profile: the same numbers, whatever happens."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.same import compare
from lapwing.job_log import read_log
from lapwing.study import merged
from tests.workflow.conftest import STUDY, Project, new_demo, new_project
from tests.workflow.slurm.cluster import SITE, Driver, Job, for_cluster

pytestmark = [pytest.mark.workflow, pytest.mark.may_be_left_out, pytest.mark.usefixtures("slurm")]

CORRUPTIONS = ["original", "random_label", "batch_label_flip"]
LONGER = merged(
    STUDY, {"conditions": {"epochs": 100}, "grid": {"corruption": CORRUPTIONS, "method": ["lap"]}}
)
RESULTS = "outputs/paper/results/tiny.parquet"


def test_a_whole_run_gives_the_numbers_of_a_local_one(project: Project, finished: Project) -> None:
    offline = for_cluster(project, slurm={**SITE, "network": False})
    with Driver(offline, RESULTS) as driver:
        driver.finish()
        jobs = {job.what: job for job in driver.jobs()}

    expected = pd.read_parquet(finished.folder / RESULTS)
    pd.testing.assert_frame_equal(pd.read_parquet(project.folder / RESULTS), expected, check_exact=True)
    assert jobs.keys() == {  # the download ran beside Snakemake
        "rule_prepare_wildcards_digits",
        "rule_corrupt_digits_corrupt",
        "rule_train_wildcards_tiny_digits-original",
        "rule_train_wildcards_tiny_digits-random_label",
        "rule_aggregate_wildcards_tiny",
    }
    assert all(job.state == "COMPLETED" and job.said["Partition"] == "cpu" for job in jobs.values())
    asked = jobs["rule_corrupt_digits_corrupt"].asked("NumCPUs", "MinMemoryNode", "TimeLimit")
    assert asked == ("1", "2000M", "00:24:00")  # four in a group, one after another: six minutes each
    assert {read_log(log).end for log in project.folder.glob("outputs/paper/logs/**/*.log")} == {"done"}


def test_a_notebook_that_fails_takes_nothing_else_away(made: Project) -> None:
    """Of a group that fails Snakemake removes what every member made."""
    made.write_study({**STUDY, "artefacts": dict.fromkeys(("tiny", "broken"), STUDY["artefacts"]["tiny"])})
    broken = made.folder / "notebooks/broken.ipynb"
    broken.write_text((made.folder / "notebooks/artefact.ipynb").read_text().replace("import", "imporrt", 1))
    for name in ("results", "notebooks", "tables"):
        shutil.rmtree(made.folder / "outputs/paper" / name)
    with Driver(for_cluster(made), "tiny", "broken", "--retries", "0") as driver:
        driver.finish(ok=False)

    assert (made.folder / RESULTS).is_file()
    assert [table.name for table in made.folder.glob("outputs/paper/tables/*.csv")] == ["tiny.csv"]


# -- jobs that do not end by themselves ------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which everything is trained, by no cluster."""
    project = new_project(tmp_path_factory.mktemp("undisturbed"), LONGER)
    project.run("--until", "train")
    return project


@pytest.fixture
def untrained(undisturbed: Project, tmp_path: Path) -> Project:
    """A copy in which nothing is trained yet."""
    folder = tmp_path / "untrained"
    shutil.copytree(undisturbed.folder, folder, ignore=shutil.ignore_patterns("runs", "finished", "logs"))
    return for_cluster(Project(folder), slurm={**SITE, "max_minutes": 15})


def cancelled(job: Job, log: Path) -> None:
    subprocess.run(["scancel", job.id], check=True)


def killed(job: Job, log: Path) -> None:
    os.kill(int(re.findall(r"process (\d+)", log.read_text())[-1]), signal.SIGKILL)


def requeued(job: Job, log: Path) -> None:
    subprocess.run(["scontrol", "requeue", job.id], check=True)


Happens = Callable[[Job, Path], None]


def finished_though(project: Project, happens: dict[tuple[str, str], Happens], *words: str) -> list[Job]:
    """It ends well, though this happens to trainings (study, part) after two epochs. Gives its jobs."""
    with Driver(project, *words) as driver:

        def happened() -> bool:
            for study, part in list(happens):
                job = driver.job(f"rule_train_wildcards_{study}_{part}")
                for log in project.folder.glob(f"outputs/*/logs/train/{study}/{part}.log") if job else ():
                    if "epoch 3 of" in log.read_text():
                        happens.pop((study, part))(job, log)
            return not happens

        driver.until(happened)
        driver.finish()
        return driver.jobs()


def test_the_demo_goes_on_to_the_same_numbers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two artefacts, from nothing to table and figure, though one training is cancelled and one killed."""
    local, on_slurm = (new_demo(tmp_path_factory.mktemp(name)) for name in ("local", "on_slurm"))
    local.run("table_1", "figure_4")
    happens = {("table_1", "digits"): cancelled, ("figure_4", "digits_n"): killed}
    jobs = finished_though(for_cluster(on_slurm), happens, "table_1", "figure_4")

    trained = [job.state for job in jobs if "rule_train" in job.what]
    assert sorted(trained) == ["CANCELLED", "COMPLETED", "COMPLETED", "FAILED"]
    assert {job.state for job in jobs if "rule_train" not in job.what} == {"COMPLETED"}
    found = compare(local.folder / "outputs/demo", on_slurm.folder / "outputs/demo")
    assert [kind for kind, files in found.items() if not files] == ["excerpts"]
    assert {how for files in found.values() for how in files.values()} == {"equal"}


def test_jobs_that_are_stopped_go_on_to_the_same_numbers(untrained: Project, undisturbed: Project) -> None:
    parts = [("tiny", f"digits-{corruption}") for corruption in CORRUPTIONS]
    happens = dict(zip(parts, (cancelled, killed, requeued), strict=True))
    jobs = finished_though(untrained, happens, "--until", "train")

    pd.testing.assert_frame_equal(untrained.metrics(), undisturbed.metrics(), check_exact=True)
    assert {run["trained"].partition(" at ")[0] for run in untrained.runs()} == {"resumed"}
    kept = {log.parent.name: log.read_text() for log in untrained.folder.glob("outputs/slurm-logs/*/*/*.log")}
    assert kept.keys() == {"tiny_digits-original", "tiny_digits-random_label"}  # those of failed jobs alone
    assert "lapwing: stopped by SIGTERM" in kept["tiny_digits-original"]
    states = [(job.what.rpartition("-")[2], *job.asked("JobState", "TimeLimit", "Restarts")) for job in jobs]
    assert sorted(states) == [
        ("batch_label_flip", "COMPLETED", "00:10:00", "1"),
        ("original", "CANCELLED", "00:10:00", "0"),
        ("original", "COMPLETED", "00:15:00", "0"),
        ("random_label", "COMPLETED", "00:15:00", "0"),
        ("random_label", "FAILED", "00:10:00", "0"),
    ]
    memory = {job.said["TimeLimit"]: job.said["MinMemoryNode"] for job in jobs}
    assert memory == {"00:10:00": "1000M", "00:15:00": "2000M"}


@pytest.mark.parametrize(("gpus", "by", "asked_in"), [(2, "gpus", "TresPerJob"), (1, "gres", "TresPerNode")])
def test_a_job_is_granted_its_gpus_and_says_when_there_are_none(
    untrained: Project, gpus: int, by: str, asked_in: str
) -> None:
    untrained.write_study(merged(LONGER, {"conditions": {"methods": {"lap": {"form": "loss"}}}}))
    for_cluster(untrained, gpu=gpus, slurm={**SITE, "gpu_by": by}, only={"corruption": "original"})
    with Driver(untrained, "--until", "train", "--retries", "0") as driver:
        said = driver.finish(ok=False)
        (job,) = driver.jobs()

    assert job.asked("Partition", "NumNodes", "JobState") == ("gpu", "1", "FAILED")
    assert re.fullmatch(rf"gres[:/]gpu:{gpus}", job.said[asked_in])  # the sign depends on Slurm's version
    assert job.said["JOB_GRES"] == f"gpu:{gpus}"
    log = read_log(untrained.folder / "outputs/paper/logs/train/tiny/digits-original.log")
    assert log.end == "failed"
    assert "GPU" in log.why
    assert "digits-original.log" in said
