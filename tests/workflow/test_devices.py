"""What jobs compute on: a matter of the machine, never of results."""

import os
import re
from dataclasses import dataclass

import pytest

from lapwing.job_log import JobLog, read_log
from tests.workflow.conftest import Project

pytestmark = pytest.mark.workflow


def logs_of_training(project: Project) -> list[JobLog]:
    logs = [read_log(path) for path in project.folder.glob("outputs/paper/logs/train/*/*.log")]
    return [log for log in logs if log is not None]


def test_a_gpu_that_is_not_there_ends_training_in_one_sentence(
    made: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    text = made.run("--config", "gpu=1", "--forcerun", "train", ok=False)
    sentence = "this job needs 1 GPU (config: gpu, device), and sees 0 on "
    assert f"lapwing: {sentence}" in text
    failed = [log for log in logs_of_training(made) if log.end == "failed"]
    assert failed
    assert all(log.why.startswith(sentence) for log in failed)


def test_another_device_and_deterministic_operations_run_nothing_again(made: Project) -> None:
    assert made.planned("--config", "device=cpu", "deterministic=true")["train"] == 0
    assert made.planned("--forcerun", "train")["train"] > 0


def test_jobs_are_told_to_be_deterministic(project: Project) -> None:
    project.run("--config", "device=cpu", "deterministic=true", "--until", "train")
    assert {(run["device"], run["deterministic"]) for run in project.runs()} == {("cpu", True)}


# -- few GPUs, many cores --------------------------------------------------------------------------


@dataclass(frozen=True)
class WithGPUs(Project):
    """A project on a machine whose driver names GPUs; PyTorch sees none, and trains on the CPU."""

    gpus: int = 1

    def environment(self) -> dict[str, str]:
        """With a module that every Python imports before anything else."""
        driver, pretending = self.folder / "driver", self.folder / "pretending" / "sitecustomize.py"
        for number in range(self.gpus):
            (driver / f"0000:0{number}:00.0").mkdir(parents=True, exist_ok=True)
            (driver / f"0000:0{number}:00.0/information").write_text("Model: \t\t NVIDIA Pretended\n")
        pretending.parent.mkdir(exist_ok=True)
        lines = ["from pathlib import Path", "from lapwing.training import gpus"]
        pretending.write_text(
            "\n".join([*lines, f"gpus.NVIDIA, gpus.DEVICES = Path('{driver}'), Path('{driver}/none')\n"])
        )
        whole = super().environment()
        return {**whole, "PYTHONPATH": f"{pretending.parent}{os.pathsep}{whole['PYTHONPATH']}"}


def at_once(said: str) -> int | None:
    """How many training jobs Snakemake says it runs at once; None: it does not limit them."""
    found = re.search(r"^Provided resources: .*jobs_on_gpu\D+(\d+)", said, re.MULTILINE)
    return int(found[1]) if found else None


def test_jobs_of_this_machine_take_its_gpu_in_turn(project: Project) -> None:
    said = WithGPUs(project.folder).run("--until", "train")
    first, second = sorted(logs_of_training(project), key=lambda log: log.begins[-1])
    assert first.ended <= second.begins[-1]
    assert at_once(said) == 1


def test_jobs_of_this_machine_run_on_all_of_its_gpus(project: Project) -> None:
    said = WithGPUs(project.folder, 2).run("--until", "train")
    assert at_once(said) == 2
    for log in logs_of_training(project):
        assert re.search("takes GPU [01] of 0, 1$", log.path.read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "number"),
    [
        (["--resources", "jobs_on_gpu=4"], 4),
        (["--config", "gpu=2", "only={method: [standard]}"], 1),
        (["--config", "device=cpu"], None),
    ],
)
def test_as_many_jobs_as_there_are_gpus_for(project: Project, words: list[str], number: int | None) -> None:
    assert at_once(WithGPUs(project.folder, 3).run("--until", "download", *words)) == number


def test_without_a_gpu_nothing_waits_for_one(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert at_once(project.run("--until", "download")) is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert at_once(WithGPUs(project.folder).run("--until", "download", "--forcerun", "download")) is None


def test_jobs_at_once_ask_for_no_more_memory_than_is_given(project: Project) -> None:
    project.run("--until", "train", "--resources", "mem_mb=5000", "--set-resources", "train:mem_mb=3000")
    first, second = sorted(logs_of_training(project), key=lambda log: log.begins[-1])
    assert first.ended <= second.begins[-1]
