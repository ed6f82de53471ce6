"""Copies of the workflow in which nothing is made, and calls of Snakemake in them."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
RULES = ("Snakefile", "rules", "scripts", "notebooks", "profiles", "published")
WORKFLOW = (*RULES, "config.yaml", "studies")
WITH_PACKAGE = (*WORKFLOW, "src")


def new_project(original: Path, folder: Path, names: Sequence[str] = WITH_PACKAGE) -> Path:
    """Copy these files and folders of a checkout to a folder that has none of them; gives it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        copy = shutil.copytree if (original / name).is_dir() else shutil.copy
        copy(original / name, folder / name)
    return folder


def started(
    project: Path, words: Sequence[str], cache: Path | None = None, *, own_group: bool = False
) -> subprocess.Popen[bytes]:
    """Start Snakemake with the package of the project, or else ours; Ctrl-C misses a group of its own."""
    package = project / "src" if (project / "src").is_dir() else ROOT / "src"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(package)}
    environment.pop("SNAKEMAKE_OUTPUT_CACHE", None)
    if cache:
        environment["SNAKEMAKE_OUTPUT_CACHE"] = str(cache)
    command = [sys.executable, "-m", "snakemake", *words]
    with screen_of(project).open("wb") as screen:
        return subprocess.Popen(  # noqa: S603
            command, cwd=project, env=environment, stdout=screen, stderr=screen, start_new_session=own_group
        )


def screen_of(project: Path) -> Path:
    """Where what Snakemake says in a project is kept, of the last call."""
    return project / "screen.log"


def run(project: Path, words: Sequence[str]) -> float:
    """Run Snakemake to its end; gives the seconds."""
    start = time.monotonic()
    if started(project, words).wait():
        sys.exit(f"snakemake {' '.join(words)} failed:\n{screen_of(project).read_text()[-2000:]}")
    return time.monotonic() - start
