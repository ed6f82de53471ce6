"""Kill the workflow at random moments and start it again: are the results those of an undisturbed run?

    OMP_NUM_THREADS=1 python -m benchmarks.kills [--kills 20] [--seed 0] [artefact …]

Every trial begins in an empty folder, at demo scale. All processes are killed (SIGKILL) at a moment drawn
evenly from the length of the undisturbed run; then the workflow is unlocked, as the README says, and started
again. Compared are the metrics and the sources of every run, bit for bit, the results of the studies, and the
bytes of tables and figures. Ends with exit code 1 if anything differs.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.project import new_project
from lapwing.files import read_json, read_table
from lapwing.job_log import read_log

ROOT = Path(__file__).parent.parent
ARTEFACTS = ["figure_4", "table_10"]


def main() -> None:
    """Print a line per kill, and a verdict."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("artefacts", nargs="*", default=ARTEFACTS)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory(prefix="lapwing-kills-") as folder:
        original = new_project(ROOT, Path(folder, "original"))  # what is edited meanwhile is left out
        undisturbed = new_project(original, Path(folder, "undisturbed"))
        seconds = run(undisturbed, options.artefacts)
        print(f"undisturbed: {', '.join(options.artefacts)} in {seconds:.0f} s", flush=True)
        equal = 0
        for number in range(1, options.kills + 1):
            running = None
            while running is None:  # a machine that is less busy now may be done before the moment
                project = new_project(original, Path(tempfile.mkdtemp(dir=folder), "project"))
                running = kill_at(project, options.artefacts, draw.uniform(0, seconds))
            run(project, ["--unlock"])
            again = run(project, options.artefacts)
            differing = differences(undisturbed, project)
            equal += not differing
            verdict = f"differ: {', '.join(differing)}" if differing else "identical"
            print(f"kill {number} {running}; again {again:.0f} s, {trained(project)}: {verdict}", flush=True)
            shutil.rmtree(project)
    print(f"results identical to the undisturbed run in {equal} of {options.kills}")
    sys.exit(equal < options.kills)


def started(project: Path, words: list[str]) -> subprocess.Popen[bytes]:
    """Snakemake in a process group of its own; its output goes to a file."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *words, "--config", "scale=demo"]
    environment = {**os.environ, "PYTHONPATH": str(project / "src")}
    with Path(project, "screen.log").open("ab") as screen:
        return subprocess.Popen(  # noqa: S603
            command, cwd=project, env=environment, stdout=screen, stderr=screen, start_new_session=True
        )


def run(project: Path, words: list[str]) -> float:
    """Run Snakemake to its end; gives the seconds."""
    start = time.monotonic()
    if started(project, words).wait():
        sys.exit(f"snakemake {' '.join(words)} failed:\n{Path(project, 'screen.log').read_text()[-2000:]}")
    return time.monotonic() - start


def kill_at(project: Path, artefacts: list[str], moment: float) -> str | None:
    """Start Snakemake, kill all of it after `moment` seconds, say what was running; None: it had ended."""
    process = started(project, artefacts)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    if process.wait() == 0:
        return None
    logs = sorted(project.glob("outputs/demo/logs/*/**/*.log"))
    begun = [log for path in logs if (log := read_log(path))]
    running = [f"{log.path.relative_to(project / 'outputs/demo/logs')}" for log in begun if log.end is None]
    what = ", ".join(running).replace(".log", "") or "no job"
    return f"after {moment:5.1f} s, {len(begun) - len(running)} jobs done, in {what}"


def trained(project: Path) -> str:
    """How the runs came about."""
    runs = [run for path in project.glob("outputs/demo/runs/*/*/runs.json") for run in read_json(path)]
    counts = Counter(run["trained"] for run in runs)
    return ", ".join(f"{number} runs {how}" for how, number in sorted(counts.items()))


def differences(expected: Path, found: Path) -> list[str]:
    """The result files that are not the same."""
    patterns = ("runs/*/*/*.parquet", "results/*.parquet", "tables/*", "figures/*")
    names = {
        str(path.relative_to(project))
        for project in (expected, found)
        for pattern in patterns
        for path in project.glob(f"outputs/demo/{pattern}")
        if not path.name.endswith("_runs.parquet")  # holds times
    }
    return sorted(name for name in names if not same(expected / name, found / name)) if names else ["all"]


def same(expected: Path, found: Path) -> bool:
    """Whether two result files have the same values, or, where they are no tables of ours, bytes."""
    if not (expected.is_file() and found.is_file()):
        return False
    if expected.suffix != ".parquet":
        return expected.read_bytes() == found.read_bytes()
    frames: list[pd.DataFrame] = [read_table(path) for path in (expected, found)]
    return frames[0].equals(frames[1])


if __name__ == "__main__":
    main()
