"""What Snakemake and the start of a process add to a job, here and on Slurm, and what grouping brings.

    python -m benchmarks.overhead
    bash tests/workflow/slurm/cluster.sh start; python -m benchmarks.overhead --slurm

Workflows whose jobs do nothing but write a file, with and without the import of PyTorch, which every training
job needs. Of each the wall time is taken, and here the processor time, which a busy machine changes less:
without that of a call that finds nothing to do, divided by the number of jobs. The kinds take turns, so that
what else the machine does falls on all of them alike; printed are medians over the rounds, and the range of
the wall time.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SNAKEFILE = """
rule all:
    input:
        expand("made/{number}.txt", number=range(config["jobs"])),

rule job:
    output:
        "made/{number}.txt",
    params:
        imports=config["imports"],
    resources:
        mem_mb=500,
        runtime=5,
    script:
        "job.py"
"""
SCRIPT = """
from importlib import import_module
from pathlib import Path

for name in snakemake.params.imports:
    import_module(name)
Path(snakemake.output[0]).write_text("done")
"""
HERE = ["--cores", "1"]
SLURM = ["--executor", "slurm", "--jobs", "100", "--slurm-status-command", "squeue", "--latency-wait", "10"]
SLURM += ["--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1"]
GROUPED = ["--groups", "job=together", "--resources", "in_turn=1", "--set-resources", "job:in_turn=1"]
GROUPED += ["--set-resource-scopes", "in_turn=local", "--group-components"]


@dataclass(frozen=True)
class Kind:
    """What jobs import, and where they go."""

    name: str
    imports: Sequence[str]
    where: Sequence[str]


def call(jobs: int, imports: Sequence[str], where: Sequence[str]) -> tuple[float, float]:
    """Wall time of one call of Snakemake in an empty folder, and processor time of all that it started."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        Path(folder, "Snakefile").write_text(SNAKEFILE, encoding="utf-8")
        Path(folder, "job.py").write_text(SCRIPT, encoding="utf-8")
        settings = ["--config", f"jobs={jobs}", f"imports=[{','.join(imports)}]"]
        command = [sys.executable, "-m", "snakemake", "--quiet", "all", *where, *settings]
        start, before = time.perf_counter(), processor_seconds()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
        wall, processor = time.perf_counter() - start, processor_seconds() - before
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return wall, processor


def processor_seconds() -> float:
    """Of the processes that were started from here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compare(title: str, kinds: Sequence[Kind], jobs: int, rounds: int) -> None:
    """Time the kinds in turn."""
    wall: dict[str, list[float]] = {kind.name: [] for kind in kinds}
    processor: dict[str, list[float]] = {kind.name: [] for kind in kinds}
    for _ in range(rounds):
        nothing = call(0, [], HERE)
        for kind in kinds:
            taken = call(jobs, kind.imports, kind.where)
            wall[kind.name].append((taken[0] - nothing[0]) / jobs)
            processor[kind.name].append((taken[1] - nothing[1]) / jobs)
    print(f"{title}, {jobs} jobs, each")
    for kind in kinds:
        low, middle, high = min(wall[kind.name]), statistics.median(wall[kind.name]), max(wall[kind.name])
        here = f", processor {statistics.median(processor[kind.name]):.2f} s" if kind.where == HERE else ""
        print(f"  {kind.name:28s}{middle:6.2f} s ({low:.2f} to {high:.2f}){here}")


def main(jobs: int, rounds: int, *, slurm: bool) -> None:
    """Print what a job costs beside its work."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if not slurm:
        kinds = [Kind("empty", [], HERE), Kind("imports torch", ["torch"], HERE)]
        compare("Here, one core", kinds, jobs, rounds)
        return
    grouped = [*SLURM, *GROUPED, f"together={jobs // 2}"]
    kinds = [
        Kind("by itself", [], SLURM),
        Kind("by itself, imports torch", ["torch"], SLURM),
        Kind("in two groups", [], grouped),
        Kind("in two groups, imports torch", ["torch"], grouped),
    ]
    compare("Slurm", kinds, jobs, rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--slurm", action="store_true", help="send the jobs to the cluster that this machine is of"
    )
    arguments = parser.parse_args()
    main(arguments.jobs, arguments.rounds, slurm=arguments.slurm)
