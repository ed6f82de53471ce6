"""A real Slurm of one node, and a Snakemake that sends its jobs there."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import Project

SCRIPT = Path(__file__).with_name("cluster.sh")
FOLDER = Path("/tmp/lapwing-slurm")  # noqa: S108 - the daemons of the machine, not of one user
STARTED_BY_TESTS = FOLDER / "started-by-tests"
CANNOT_BE_HAD = 3
QUICK = ["--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1"]
SITE = {"partition": "cpu", "gpu_partition": "gpu"}


@contextmanager
def running() -> Iterator[None]:
    """A Slurm that runs; the last of the processes that test with it stops it, if they started it."""
    if os.getuid() != 0:
        pytest.skip("slurm: only root can install and start it")
    FOLDER.mkdir(exist_ok=True)
    if FOLDER.stat().st_uid != 0:
        pytest.skip(f"slurm: {FOLDER} belongs to somebody else")
    with (FOLDER / "users").open("a") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        start_if_needed()
        yield
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if STARTED_BY_TESTS.exists():
            call("stop")
            STARTED_BY_TESTS.unlink()


def start_if_needed() -> None:
    """Start it; skip what needs it where it cannot be had."""
    if call("status").returncode == 0:
        return
    started = call("start")
    if started.returncode == CANNOT_BE_HAD:
        pytest.skip(started.stdout.strip().splitlines()[-1])
    assert started.returncode == 0, started.stdout
    STARTED_BY_TESTS.touch()


def call(what: str) -> subprocess.CompletedProcess[str]:
    """Call the script. Its output goes to a file: a daemon would keep a pipe open."""
    with tempfile.TemporaryFile("w+") as said:
        done = subprocess.run(["bash", SCRIPT, what], stdout=said, stderr=said, timeout=600, check=False)
        said.seek(0)
        return subprocess.CompletedProcess(done.args, done.returncode, said.read())


@pytest.fixture(scope="session")
def slurm() -> Iterator[None]:
    """A Slurm that runs. Where it cannot be had the test is skipped: mark it `may_be_left_out`."""
    with running():
        yield


@dataclass(frozen=True)
class Job:
    """What `scontrol show job` says."""

    said: dict[str, str]

    @property
    def id(self) -> str:
        """The number that Slurm gave it."""
        return self.said["JobId"]

    @property
    def state(self) -> str:
        """PENDING, RUNNING, COMPLETED and others."""
        return self.said["JobState"]

    @property
    def what(self) -> str:
        """The comment, which says rule, study and part."""
        return self.said["Comment"]

    def asked(self, *names: str) -> tuple[str, ...]:
        """What it asked for."""
        return tuple(self.said.get(name, "") for name in names)


class Driver:
    """A Snakemake that sends its jobs to Slurm, with the profile of the repository."""

    def __init__(self, project: Project, *words: str) -> None:
        self.said = project.folder / "driver.log"
        self.history: list[str] = []
        self._states: dict[str, str] = {}
        self._log = self.said.open("w")
        command = [sys.executable, "-m", "snakemake", *words, "--profile", "profiles/slurm", *QUICK]
        self._process = subprocess.Popen(
            command, cwd=project.folder, env=project.environment(), stdout=self._log, stderr=self._log
        )

    def __enter__(self) -> "Driver":
        return self

    def __exit__(self, *error: object) -> None:
        """Leave no job behind, whatever happened; and say what became of the jobs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for job in self.jobs():
            if job.state in ("PENDING", "RUNNING"):
                subprocess.run(["scancel", job.id], check=False)
        self._log.close()
        print("\n".join(self.history))  # noqa: T201 - pytest shows it where a test fails, or with -s

    def jobs(self) -> list[Job]:
        """Its jobs, in the order in which they were sent."""
        prefix = "SLURM run ID: "
        names = [line.removeprefix(prefix) for line in self._lines() if line.startswith(prefix)]
        shown = subprocess.run(
            ["scontrol", "-d", "-o", "show", "job"], capture_output=True, text=True, check=False
        ).stdout
        said = [
            dict(word.split("=", 1) for word in line.split() if "=" in word) for line in shown.splitlines()
        ]
        return [Job(job) for job in said if job.get("JobName") in names]

    def job(self, what: str, state: str = "RUNNING") -> Job | None:
        """The job with this comment and state."""
        return next((job for job in self.jobs() if (job.what, job.state) == (what, state)), None)

    def until(self, condition: Callable[[], bool], seconds: float = 1200) -> None:
        """Wait for something, and note what becomes of the jobs meanwhile."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.said.read_text()
            self._note()
            time.sleep(0.2)

    def finish(self, *, ok: bool = True) -> str:
        """Wait for its end; gives what it said."""
        self.until(lambda: self._process.poll() is not None)
        self._note()
        text = self.said.read_text()
        assert (self._process.returncode == 0) == ok, text
        return text

    def interrupt(self) -> int:
        """Ctrl-C, and wait for its end; gives the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(120)

    def _lines(self) -> list[str]:
        return self.said.read_text().splitlines()

    def _note(self) -> None:
        for job in self.jobs():
            if self._states.get(job.id) != job.state:
                self._states[job.id] = job.state
                asked = ", ".join(job.asked("Partition", "NumCPUs", "MinMemoryNode", "TimeLimit"))
                self.history.append(
                    f"{time.strftime('%H:%M:%S')} {job.id:>5} {job.state:10} {job.what} ({asked})"
                )


def for_cluster(project: Project, **settings: object) -> Project:
    """Give a project the values of this site, small memory, and what else is said."""
    file = project.folder / "config.yaml"
    known = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**known, "slurm": SITE, "memory_mb": 1000, **settings}))
    return project
