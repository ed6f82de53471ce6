"""F25 to F32: what disks, folders and clocks do."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.faults.happen import all_of, at_sync, disk_is_full, files_up_to, ordinary_user
from tests.faults.jobs import Job, is_resumed_as
from tests.faults.outcomes import files_in, is_clear
from tests.faults.workflows import Disturbed, Untrained, gives, resumes
from tests.workflow.conftest import Project, new_project
from tests.workflow.test_damage import flip_a_byte, truncate

FULL = "No space left on device"

# -- full ----------------------------------------------------------------------------------------------


@pytest.mark.fault("F25", "the disk is full when a checkpoint is written", "resumed")
def test_disk_full_in_a_checkpoint(job: Job, undisturbed: Job) -> None:
    """The checkpoint of the epoch before stays, and is gone on from when there is room."""
    assert job.run(partial(at_sync, "checkpoint", 3, disk_is_full)) == 1
    (checkpoint,) = job.kept("checkpoint-*")
    is_clear(job.screen, f"{checkpoint} cannot be written: {FULL}")
    assert not job.made()
    assert not job.kept("part-*")
    is_resumed_as(undisturbed, job)
    assert job.trained() == ["resumed at epoch 2"] * 3 + ["now"] * 3


@pytest.mark.fault("F25", "a checkpoint is larger than what is left of the disk", "resumed")
def test_checkpoint_too_large(job: Job, undisturbed: Job) -> None:
    assert job.run(partial(files_up_to, 10_000)) == 1
    is_clear(job.screen, "/checkpoint-seeds=2+4+8.safetensors cannot be written: ", "File too large")
    assert not job.made()
    assert {path.name for path in job.kept("*")} == {f"lock-seed={seed}" for seed in (2, 4, 8)}
    is_resumed_as(undisturbed, job)


@pytest.mark.fault("F26", "the disk is full when results are written", "resumed")
@pytest.mark.parametrize("number", [1, 7], ids=["of a run", "of the part"])
def test_disk_full_in_results(job: Job, undisturbed: Job, number: int) -> None:
    assert job.run(partial(at_sync, "metrics.parquet", number, disk_is_full)) == 1
    is_clear(job.screen, f"metrics.parquet cannot be written: {FULL}")
    assert not job.made()
    assert len(job.kept("seed=*")) == number - 1
    is_resumed_as(undisturbed, job)


@pytest.mark.fault("F25", "the disk is full when a checkpoint is written, and for the log too", "resumed")
def test_disk_full_in_a_checkpoint_and_the_log(job: Job, undisturbed: Job) -> None:
    disk_full_for_the_log_too(job, undisturbed, "checkpoint")


@pytest.mark.fault("F26", "the disk is full when results are written, and for the log too", "resumed")
def test_disk_full_in_results_and_the_log(job: Job, undisturbed: Job) -> None:
    disk_full_for_the_log_too(job, undisturbed, "metrics.parquet")


def disk_full_for_the_log_too(job: Job, undisturbed: Job, name: str) -> None:
    """The screen gets the sentence also where the log takes no byte more; all else is far smaller."""
    log, size = job.folder / "job.log", 2**20
    log.touch()
    os.truncate(log, size)
    assert job.run(partial(all_of, partial(files_up_to, size), partial(at_sync, name, 1, disk_is_full))) == 1
    assert log.stat().st_size == size
    is_clear(job.screen, name, f"cannot be written: {FULL}")
    assert not job.made()
    is_resumed_as(undisturbed, job)


# -- folders -------------------------------------------------------------------------------------------


@pytest.mark.fault("F27", "a folder that a training writes to is read-only", "resumed")
@pytest.mark.parametrize("name", ["finished", "out", "."], ids=["finished runs", "results", "all"])
def test_read_only_folder(job: Job, undisturbed: Job, name: str) -> None:
    folder = job.folder / name
    folder.mkdir(exist_ok=True)
    (job.folder / "screen").touch()
    before = {path for path in files_in(folder) if path != "job.log"}
    folder.chmod(0o555)
    try:
        assert job.run(ordinary_user) == 1
    finally:
        folder.chmod(0o755)
    is_clear(job.screen, f"{job.folder}", "Permission denied")
    assert files_in(folder) - {"job.log"} == before
    is_resumed_as(undisturbed, job)


@pytest.mark.slow_fault
@pytest.mark.fault("F27", "the folder of the workflow's outputs is read-only", "refused")
def test_read_only_outputs(project: Project) -> None:
    outputs = project.folder / "outputs"
    outputs.mkdir()
    outputs.chmod(0o555)
    done = project.run_within(ordinary_user, "outputs/paper/data/digits.safetensors")
    assert done.returncode == 1
    assert "Permission denied" in done.stderr
    assert "outputs" in done.stderr
    assert not list(outputs.iterdir())


@pytest.mark.slow_fault
@pytest.mark.fault("F28", "all is killed in the middle, and Snakemake's own notes are lost", "resumed")
def test_notes_are_lost(untrained: Untrained) -> None:
    """What is half-made is known by itself: a restart needs neither the notes nor a word to unlock."""
    project, metrics = untrained
    event = "at_sync('sources.parquet', 5, partial(all_get, SIGKILL))"
    code, printed = Disturbed(project.folder, "train", event).ended()
    assert code == -9, printed
    shutil.rmtree(project.folder / ".snakemake")
    resumes(project, metrics)


# -- the cache between workflows -----------------------------------------------------------------------


@dataclass(frozen=True)
class Cached(Project):
    """A project with a cache that others use too."""

    cache: Path

    def environment(self) -> dict[str, str]:
        """That of the project, with the cache."""
        return {**super().environment(), "SNAKEMAKE_OUTPUT_CACHE": str(self.cache)}


def damaged_entry(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """One workflow fills the cache, an entry is damaged, another uses it: it is refused and named."""
    (tmp_path / "cache").mkdir()
    first, second = ((tmp_path / name) for name in ("first", "second"))
    data = "outputs/paper/data/digits.safetensors"
    for folder in (first, second):
        folder.mkdir()
        new_project(folder)
    Cached(first, tmp_path / "cache").run(data, "--cache")
    entry = (first / data).resolve()
    assert entry.is_relative_to(tmp_path / "cache")
    damage(entry)
    text = Cached(second, tmp_path / "cache").run("--until", "corrupt", "--cache", ok=False)
    is_clear(text, f"{data} is damaged", f"rm {data} {entry}")
    assert not list(second.glob("outputs/paper/corrupted/*/*/*"))


@pytest.mark.slow_fault
@pytest.mark.fault("F29", "an entry of the cache is truncated", "refused")
def test_truncated_cache_entry(tmp_path: Path) -> None:
    damaged_entry(tmp_path, truncate)


@pytest.mark.slow_fault
@pytest.mark.fault("F30", "a byte of an entry of the cache is another", "refused")
def test_flipped_cache_entry(tmp_path: Path) -> None:
    damaged_entry(tmp_path, flip_a_byte)


# -- late, and at another time -------------------------------------------------------------------------

DATA = "outputs/paper/data/digits.safetensors"


@pytest.mark.slow_fault
@pytest.mark.fault("F31", "a result is seen seconds after its job has ended", "recovered")
def test_result_is_seen_late(project: Project) -> None:
    code, printed = Disturbed(project.folder, "prepare", "seen_late(2)").ended(DATA)
    assert code == 0, printed
    assert (project.folder / DATA).is_file()


@pytest.mark.slow_fault
@pytest.mark.fault("F31", "a result is seen later than Snakemake waits", "resumed")
def test_result_is_seen_too_late(project: Project) -> None:
    code, printed = Disturbed(project.folder, "prepare", "seen_late(6)").ended(DATA, "--latency-wait", "1")
    assert code == 1, printed
    assert f"{DATA} (missing locally" in printed
    project.run(DATA)
    assert (project.folder / DATA).is_file()


def move_clock(folder: Path, days: int) -> None:
    """Have all files of a folder look as if made on a machine whose clock is days ahead."""
    for path in [folder, *folder.rglob("*")]:
        moment = path.lstat().st_mtime + days * 86_400
        os.utime(path, (moment, moment), follow_symlinks=False)


INPUTS = ("data", "corrupted")


@pytest.mark.slow_fault
@pytest.mark.fault("F32", "the clock of the machine that made the inputs is a day behind", "recovered")
def test_clock_is_behind(untrained: Untrained) -> None:
    project, metrics = untrained
    for name in INPUTS:
        move_clock(project.folder / "outputs" / "paper" / name, -1)
    gives(project, metrics)
    assert project.planned("--until", "train").total() == 0


@pytest.mark.slow_fault
@pytest.mark.fault("F32", "the clock of the machine that made the inputs is a day ahead", "refused")
def test_clock_is_ahead(untrained: Untrained) -> None:
    """Once the times are right the runs are there: none is trained twice."""
    project, metrics = untrained
    for name in INPUTS:
        move_clock(project.folder / "outputs" / "paper" / name, 1)
    text = project.run("--until", "train", ok=False)
    assert "This could indicate a clock skew problem" in text
    assert "Traceback" not in text
    assert not list(project.folder.glob("outputs/paper/runs/*/*/*"))
    for name in INPUTS:
        move_clock(project.folder / "outputs" / "paper" / name, -1)
    gives(project, metrics)
    assert project.trained_now() == set()
