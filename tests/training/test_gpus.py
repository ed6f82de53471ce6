"""Which GPUs there are, and which a job takes."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE
from tempfile import gettempdir

import pytest

from lapwing.training import gpus
from lapwing.training.gpus import VISIBLE, gpus_here, gpus_of_job, visible_gpus

MakeGPUs = Callable[[int], None]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeGPUs:
    """Gives the machine so many GPUs, as its driver names them, and folders of its own."""
    monkeypatch.setattr(gpus, "NVIDIA", tmp_path / "driver")
    monkeypatch.setattr(gpus, "DEVICES", tmp_path / "devices")
    monkeypatch.setattr("tempfile.tempdir", f"{tmp_path}")
    monkeypatch.delenv(VISIBLE, raising=False)

    def make(number: int) -> None:
        for gpu in range(number):
            folder = tmp_path / "driver" / f"0000:0{gpu}:00.0"
            folder.mkdir(parents=True)
            (folder / "information").write_text("Model: \t\t A100\nIRQ: \t 7\n")

    return make


@pytest.mark.parametrize(
    ("shown", "models", "visible"),
    [
        (None, ["A100", "A100"], ["0", "1"]),
        ("1", ["A100", "A100"], ["1"]),
        ("GPU-8932, 0,-1,1", ["A100", "A100"], ["GPU-8932", "0"]),
        ("1,2,0", ["A100", "A100"], ["1"]),
        ("1,1,0", ["A100", "A100"], ["1", "0"]),
        ("", [], []),
        ("-1,0", [], []),
    ],
)
def test_a_gpu_that_cuda_is_not_to_see_is_not_here(
    machine: MakeGPUs,
    monkeypatch: pytest.MonkeyPatch,
    shown: str | None,
    models: list[str],
    visible: list[str],
) -> None:
    machine(2)
    if shown is not None:
        monkeypatch.setenv(VISIBLE, shown)
    assert gpus_here() == models
    assert visible_gpus() == visible


def test_jobs_take_gpus_of_one_model_unless_more_are_named(
    machine: MakeGPUs, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(3)
    (gpus.NVIDIA / "0000:02:00.0/information").write_text("Model: \t\t T400\n")
    assert visible_gpus() == ["0"]
    monkeypatch.setenv(VISIBLE, "0,1")
    assert visible_gpus() == ["0", "1"]


def test_container_may_have_fewer_gpus_than_its_machine(machine: MakeGPUs) -> None:
    machine(3)
    gpus.DEVICES.mkdir()
    for name in ("nvidia1", "nvidiactl", "nvidia-uvm"):
        (gpus.DEVICES / name).touch()
    assert visible_gpus() == ["0"]


def test_what_is_shown_is_nothing_where_there_are_no_gpus(
    machine: MakeGPUs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VISIBLE, "0")
    assert visible_gpus() == []


JOB = """
import os, sys
from pathlib import Path
from lapwing.training import gpus
gpus.NVIDIA, gpus.DEVICES = Path(sys.argv[1]), Path(sys.argv[1], "none")
with gpus.gpus_of_job(int(sys.argv[2])):
    print(os.environ.get(gpus.VISIBLE), flush=True)
    sys.stdin.read()
"""


class Jobs(ExitStack):
    """Training jobs that run at once, each a process."""

    def begin(self, number: int = 1, shown: str | None = None) -> tuple[subprocess.Popen[str], str]:
        """One more job, of so many GPUs, and which it is shown."""
        command = [sys.executable, "-c", JOB, f"{gpus.NVIDIA}", f"{number}"]
        environment = {**os.environ, "TMPDIR": gettempdir(), **({} if shown is None else {VISIBLE: shown})}
        job = self.enter_context(
            subprocess.Popen(command, env=environment, text=True, stdin=PIPE, stdout=PIPE)
        )
        assert job.stdout
        return job, job.stdout.readline().strip()


def test_each_job_takes_a_gpu_that_no_other_has(machine: MakeGPUs) -> None:
    machine(3)
    with Jobs() as jobs:
        assert [jobs.begin()[1] for _ in range(3)] == ["0", "1", "2"]
        assert [jobs.begin()[1] for _ in range(4)] == ["0", "1", "2", "0"]  # shared evenly


@pytest.mark.parametrize("end", ["in order", "killed"])
def test_gpu_of_a_job_that_ended_is_free(machine: MakeGPUs, end: str) -> None:
    machine(3)
    with Jobs() as jobs:
        jobs.begin()
        second, shown = jobs.begin()
        jobs.begin()
        second.kill() if end == "killed" else second.communicate()
        second.wait()
        assert jobs.begin()[1] == shown == "1"


def test_job_of_several_gpus_takes_as_many(machine: MakeGPUs) -> None:
    machine(4)
    with Jobs() as jobs:
        assert [jobs.begin(2)[1], jobs.begin()[1], jobs.begin(2)[1]] == ["0,1", "2", "3,0"]


def test_job_chooses_among_the_gpus_that_it_is_shown(machine: MakeGPUs) -> None:
    machine(4)
    with Jobs() as jobs:
        assert [jobs.begin(1, "3,GPU-8/1")[1] for _ in range(3)] == ["3", "GPU-8/1", "3"]


@pytest.mark.parametrize("shown", ["2", "2,3"])
def test_scheduler_that_shows_what_is_to_be_taken_is_believed(machine: MakeGPUs, shown: str) -> None:
    machine(4)
    with Jobs() as jobs:
        assert {jobs.begin(len(shown.split(",")), shown)[1] for _ in range(2)} == {shown}
    assert not list(Path(gettempdir()).glob("lapwing-gpus-*"))


@pytest.mark.parametrize("number", [0, 1])
def test_where_there_is_nothing_to_choose_nothing_is_set(machine: MakeGPUs, number: int) -> None:
    machine(number)
    with Jobs() as jobs:
        assert jobs.begin()[1] == "None"


def test_what_was_visible_is_visible_again(machine: MakeGPUs, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(2)
    with gpus_of_job(1):
        assert os.environ[VISIBLE] == "0"
    assert VISIBLE not in os.environ
    monkeypatch.setenv(VISIBLE, "1,0")
    with gpus_of_job(1):
        assert os.environ[VISIBLE] == "1"
    assert os.environ[VISIBLE] == "1,0"


@pytest.mark.parametrize("obstacle", ["a link", "a file"])
def test_where_there_can_be_no_locks_jobs_take_the_first(
    machine: MakeGPUs, tmp_path: Path, caplog: pytest.LogCaptureFixture, obstacle: str
) -> None:
    machine(2)
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path / f"lapwing-gpus-{os.getuid()}"
    folder.touch() if obstacle == "a file" else folder.symlink_to(tmp_path / "elsewhere")
    for _ in range(2):
        with gpus_of_job(1):
            assert os.environ[VISIBLE] == "0"
    assert f"no job can say which GPUs it has: {'[Errno' if obstacle == 'a file' else folder}" in caplog.text
    assert not list((tmp_path / "elsewhere").iterdir())
