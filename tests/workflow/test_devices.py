"""What jobs compute on: a matter of the machine, never of results."""

import pytest

from lapwing.job_log import read_log
from tests.workflow.conftest import Project

pytestmark = pytest.mark.workflow


def test_a_gpu_that_is_not_there_ends_training_in_one_sentence(
    made: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    text = made.run("--config", "gpu=1", "--forcerun", "train", ok=False)
    sentence = "this job needs 1 GPU (config: gpu, device), and sees 0 on "
    assert f"lapwing: {sentence}" in text
    logs = [read_log(path) for path in made.folder.glob("outputs/paper/logs/train/*/*.log")]
    failed = [log for log in logs if log is not None and log.end == "failed"]
    assert failed
    assert all(log.why.startswith(sentence) for log in failed)


def test_another_device_and_deterministic_operations_run_nothing_again(made: Project) -> None:
    assert made.planned("--config", "device=cpu", "deterministic=true")["train"] == 0
    assert made.planned("--forcerun", "train")["train"] > 0


def test_jobs_are_told_to_be_deterministic(project: Project) -> None:
    project.run("--config", "device=cpu", "deterministic=true", "--until", "train")
    assert {(run["device"], run["deterministic"]) for run in project.runs()} == {("cpu", True)}
