"""What a job costs beside its work, here and on Slurm, and what grouping brings.

    python -m benchmarks.overhead
    bash tests/workflow/slurm/cluster.sh start; python -m benchmarks.overhead --slurm

The workflow itself makes every corruption of digits at demo scale; the work of such a job takes milliseconds.
A job here starts the process of its script. One on Slurm first starts Snakemake twice, which reads the
Snakefile each time; the jobs of a group share the first of the two. Taken are the wall time of a call, and
the processor time of all Python processes that it led to, which a busy machine changes less: without those of
a call that finds nothing to do, divided by the number of jobs. The kinds take turns, so that what else the
machine does falls on all alike; printed are medians over the rounds, and the range of the wall time.
"""

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.project import ROOT, new_project, run

DIGITS = ["--config", "scale=demo", "demo=[]", "only={dataset: digits}"]
MADE = "outputs/demo/corrupted"
HERE = ["--cores", "1"]
QUICK = ["--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1"]
SLURM = ["--profile", "profiles/slurm", *QUICK]
KINDS = {"here, one core": HERE}
KINDS_ON_SLURM = {
    "on Slurm, each by itself": [*SLURM, "--groups", "aggregate=results"],  # in place of the profile's groups
    "on Slurm, grouped by the profile": SLURM,
}
CLOCK = """
import atexit
import resource


def note():
    used = resource.getrusage(resource.RUSAGE_SELF)
    with open({notes!r}, "a") as file:
        file.write(f"{{used.ru_utime + used.ru_stime}}\\n")


atexit.register(note)
"""
"""`sitecustomize`, which every Python reads at its start, on Slurm too: it notes its time at its end."""


class Project:
    """A workflow whose Python processes note their processor time."""

    def __init__(self, folder: Path) -> None:
        """With all that corruptions are made from."""
        self.folder = new_project(ROOT, folder)
        self.notes = folder / "seconds"
        clock = CLOCK.format(notes=f"{self.notes}")
        (folder / "src" / "sitecustomize.py").write_text(clock, encoding="utf-8")
        run(folder, ["--until", "prepare", *HERE, *DIGITS])

    def corrupt(self, where: Sequence[str]) -> tuple[float, float]:
        """Make the corruptions that are missing; gives wall and processor time."""
        self.notes.write_text("")
        wall = run(self.folder, ["--until", "corrupt", *where, *DIGITS])
        return wall, sum(map(float, self.notes.read_text().split()))

    def of_a_job(self, where: Sequence[str]) -> tuple[float, float]:
        """Wall and processor time that each of them adds."""
        shutil.rmtree(self.folder / MADE, ignore_errors=True)
        whole, nothing = self.corrupt(where), self.corrupt(HERE)
        return (whole[0] - nothing[0]) / self.jobs, (whole[1] - nothing[1]) / self.jobs

    @property
    def jobs(self) -> int:
        """How many corruptions were made."""
        return len(list(self.folder.glob(f"{MADE}/*/*/*")))


def importing(module: str) -> float:
    """Processor time of a Python that only imports a module."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)  # noqa: S603
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(kinds: Mapping[str, Sequence[str]], rounds: int) -> None:
    """Time the kinds in turn, and print a line for each."""
    with tempfile.TemporaryDirectory(dir=ROOT / "outputs", prefix="overhead-") as folder:  # nodes see it
        project = Project(Path(folder, "project"))
        taken = [{name: project.of_a_job(where) for name, where in kinds.items()} for _ in range(rounds)]
        print(f"{project.jobs} corruptions, each")
    for name in kinds:
        wall, processor = zip(*(times[name] for times in taken), strict=True)
        middle = f"{statistics.median(wall):.2f} s ({min(wall):.2f} to {max(wall):.2f})"
        print(f"  {name:34s}{middle:24s} processor {statistics.median(processor):.2f} s")


def main(rounds: int, *, slurm: bool) -> None:
    """Print what a job costs beside its work."""
    compare(KINDS_ON_SLURM if slurm else KINDS, rounds)
    more = [importing("lapwing.training.job") - importing("lapwing.corruption.base") for _ in range(rounds)]
    print(f"  a training job imports PyTorch too  processor {statistics.median(more):.2f} s more")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--slurm", action="store_true", help="send the jobs to the cluster that this machine is of"
    )
    arguments = parser.parse_args()
    main(arguments.rounds, slurm=arguments.slurm)
