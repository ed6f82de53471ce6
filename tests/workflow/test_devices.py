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


# -- one GPU, many cores ---------------------------------------------------------------------------


@dataclass(frozen=True)
class WithGPU(Project):
    """A project on a machine whose driver names a GPU; PyTorch sees none, and trains on the CPU."""

    def environment(self) -> dict[str, str]:
        """With a module that every Python imports before anything else."""
        driver, pretending = self.folder / "driver", self.folder / "pretending" / "sitecustomize.py"
        (driver / "0000:01:00.0").mkdir(parents=True, exist_ok=True)
        (driver / "0000:01:00.0/information").write_text("Model: \t\t NVIDIA Pretended\nIRQ: \t 7\n")
        pretending.parent.mkdir(exist_ok=True)
        lines = ["from pathlib import Path", "from lapwing.training import origin"]
        pretending.write_text("\n".join([*lines, f"origin.NVIDIA = Path('{driver}')\n"]))
        whole = super().environment()
        return {**whole, "PYTHONPATH": f"{pretending.parent}{os.pathsep}{whole['PYTHONPATH']}"}


def test_jobs_of_this_machine_take_its_gpu_in_turn(project: Project) -> None:
    WithGPU(project.folder).run("--until", "train")
    first, second = sorted(logs_of_training(project), key=lambda log: log.begun)
    assert first.ended <= second.begun


def test_as_many_jobs_share_a_gpu_as_are_allowed_to(project: Project) -> None:
    said = WithGPU(project.folder).run("--until", "download", "--resources", "jobs_on_gpu=4")
    assert re.search("^Provided resources: .*jobs_on_gpu.*4", said, re.MULTILINE)


def test_without_a_gpu_nothing_waits_for_one(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpu = WithGPU(project.folder)
    assert "jobs_on_gpu" not in project.run("--dry-run")
    assert "jobs_on_gpu" not in with_gpu.run("--dry-run", "--config", "device=cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "jobs_on_gpu" not in with_gpu.run("--dry-run")
