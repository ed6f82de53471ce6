"""A killed workflow that is started again gives the same numbers, bit for bit."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from lapwing.study import merged
from tests.workflow.conftest import STUDY, Project, new_project

pytestmark = pytest.mark.workflow

LONGER = merged(
    STUDY, {"conditions": {"epochs": 30, "seeds": [1, 2, 3]}, "grid": {"corruption": ["random_label"]}}
)


def kill_when(project: Project, condition: Callable[[], bool]) -> None:
    """Start the workflow and SIGKILL all its processes as soon as `condition` holds."""
    process = subprocess.Popen(
        project.command(),
        cwd=project.folder,
        env=project.environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 600
        while not condition():
            assert process.poll() is None, "the workflow ended before it could be killed"
            assert time.monotonic() < end
            time.sleep(0.001)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    project.run("--unlock")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The metrics of a run that nothing happens to."""
    project = new_project(tmp_path_factory.mktemp("undisturbed"), LONGER)
    project.run()
    return project.metrics()


def test_killed_three_times_gives_the_same_metrics(tmp_path: Path, undisturbed: pd.DataFrame) -> None:
    project = new_project(tmp_path, LONGER)
    finished = project.folder / "outputs" / "finished"

    def checkpoints() -> list[Path]:
        return list(finished.glob("*/checkpoint*"))

    kill_when(project, lambda: bool(checkpoints()))  # in training
    kill_when(project, lambda: bool(list(finished.glob("*/part-*checkpoint*"))))  # while one is written
    runs = project.folder / "outputs" / "paper" / "runs"
    kill_when(project, lambda: bool(list(runs.glob("*/*/runs.json"))))  # between two jobs
    project.run()

    pd.testing.assert_frame_equal(project.metrics(), undisturbed, check_exact=True)
    assert not checkpoints()
