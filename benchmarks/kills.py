"""Kill the workflow at random moments and start it again: are the results those of an undisturbed run?

    python -m benchmarks.kills [--kills 20] [--seed 0] [artefact …]

Every trial begins in an empty folder, at demo scale. All processes are killed (SIGKILL) at a moment drawn
evenly from the length of the undisturbed run; then the workflow is unlocked, as the README says, and started
again. Every file that holds numbers is compared (`benchmarks/same.py`). Ends with exit code 1 if anything
differs.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.project import ROOT, new_project, run, started
from benchmarks.same import different
from lapwing.files import read_json
from lapwing.job_log import read_log

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
        words = [*options.artefacts, "--cores", "2", "--config", "scale=demo"]
        seconds = run(undisturbed, words)
        print(f"undisturbed: {', '.join(options.artefacts)} in {seconds:.0f} s", flush=True)
        equal = 0
        for number in range(1, options.kills + 1):
            running = None
            while running is None:  # a machine that is less busy now may be done before the moment
                project = new_project(original, Path(tempfile.mkdtemp(dir=folder), "project"))
                running = kill_at(project, words, draw.uniform(0, seconds))
            run(project, [*words, "--unlock"])
            again = run(project, words)
            differing = different(undisturbed / "outputs/demo", project / "outputs/demo")
            equal += not differing
            verdict = f"differ: {', '.join(differing)}" if differing else "identical"
            print(f"kill {number} {running}; again {again:.0f} s, {trained(project)}: {verdict}", flush=True)
            shutil.rmtree(project)
    print(f"results identical to the undisturbed run in {equal} of {options.kills}")
    sys.exit(equal < options.kills)


def kill_at(project: Path, words: list[str], moment: float) -> str | None:
    """Start Snakemake, kill all of it after `moment` seconds, say what was running; None: it had ended."""
    process = started(project, words, own_group=True)
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


if __name__ == "__main__":
    main()
