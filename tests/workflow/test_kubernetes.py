"""The profile for Kubernetes, with the real plugin and client; the cluster behind them is not real."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.workflow.conftest import Project
from tests.workflow.kubernetes_api import Cluster, container_of

pytestmark = [pytest.mark.workflow, pytest.mark.may_be_left_out]

RESULTS = "outputs/paper/results/tiny.parquet"


@pytest.fixture(scope="module", autouse=True)
def rsync(pytestconfig: pytest.Config) -> None:
    """The storage plugin copies with it; root installs it where it is missing, and says so."""
    if shutil.which("rsync"):
        return
    if os.getuid() == 0 and shutil.which("apt-get"):
        capturing = pytestconfig.pluginmanager.getplugin("capturemanager")
        with capturing.global_and_fixture_disabled():
            print("\nInstalls rsync with apt-get, to copy Kubernetes' storage.")  # noqa: T201
        subprocess.run(
            ["apt-get", "-o", "DPkg::Lock::Timeout=600", "install", "-y", "-qq", "rsync"],
            capture_output=True,
            check=False,
        )
    if not shutil.which("rsync"):
        pytest.skip("rsync, with which Kubernetes' storage is copied, cannot be installed")


@pytest.fixture
def cluster(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """A cluster whose pods find the image's commands: this environment, and a pip that installs nothing."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "bin").mkdir()
    (folder / "bin" / "pip").write_text("#!/bin/sh\n")
    (folder / "bin" / "pip").chmod(0o755)
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return Cluster(folder, {**project.environment(), "PATH": path})


def run(project: Project, cluster: Cluster, *words: str, ok: bool = True) -> str:
    """Run Snakemake in a checkout that the claim holds; gives what it printed."""
    subprocess.run(["git", "init", "-q"], cwd=project.folder, check=True)
    subprocess.run(["git", "add", "."], cwd=project.folder, check=True)  # what git knows is sent to the pods
    environment = project.environment()
    environment["KUBECONFIG"] = str(cluster.write_kubeconfig(cluster.folder / "config"))
    claim = ["--default-storage-prefix", str(project.folder), "--container-image", "lapwing:test"]
    command = [sys.executable, "-m", "snakemake", *words, "--profile", "profiles/kubernetes", *claim]
    command += ["--seconds-between-status-checks", "1"]
    done = subprocess.run(
        command,
        cwd=project.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=7200,
        check=False,
    )
    text = done.stdout + done.stderr
    assert (done.returncode == 0) == ok, text + "".join(cluster.logs.values())
    return text


def test_the_specs_that_are_sent_do_the_jobs(project: Project, cluster: Cluster, finished: Project) -> None:
    with cluster:
        claim = f"finished_runs={project.folder}/claim/finished"
        run(project, cluster, RESULTS, "--config", claim, "only={corruption: original}")

    expected = pd.read_parquet(finished.folder / RESULTS).query("corruption == 'original'")
    found = pd.read_parquet(project.folder / RESULTS)
    pd.testing.assert_frame_equal(found, expected.reset_index(drop=True), check_exact=True)
    containers = [container_of(spec) for spec in cluster.specs]
    assert len(containers) == 1 + 1 + 2 + 1 + 1  # download, prepare, corrupt, train, aggregate
    for container in containers:
        assert container["image"] == "lapwing:test"
        assert {"mountPath": "/lapwing", "name": "lapwing"} in container["volumeMounts"]
        assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]
        assert "nvidia.com/gpu" not in container["resources"]["limits"]
    assert containers[0]["resources"]["limits"]["ephemeral-storage"] == "20000M"
    assert list(project.folder.glob("claim/finished/*/seed=*"))


def test_a_training_job_asks_for_its_gpu_and_each_attempt_for_more_memory(
    project: Project, cluster: Cluster, finished: Project
) -> None:
    for name in ("data", "corrupted"):
        shutil.copytree(finished.folder / "outputs/paper" / name, project.folder / "outputs/paper" / name)
    with cluster:
        only = "only={corruption: original}"
        words = ["--until", "train", "--config", "gpu=1", only, "memory_mb=1000", "--retries", "1"]
        run(project, cluster, *words, ok=False)  # here is none

    first, second = (container_of(spec)["resources"] for spec in cluster.specs)
    assert first["limits"]["nvidia.com/gpu"] == first["requests"]["nvidia.com/gpu"] == "1"
    assert (first["limits"]["memory"], second["limits"]["memory"]) == ("1000M", "2000M")
    assert "GPU" in "".join(cluster.logs.values())
