"""What runs again after which change: the jobs of each stage, planned, and the runs, really trained."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from lapwing.files import read_json
from tests.workflow.changes import CHANGES, PAGE, STAGES, Change, Changed, Runs, page
from tests.workflow.conftest import Project

pytestmark = pytest.mark.workflow
RUNS = "outputs/paper/runs/*/*/runs.json"


def jobs_in(text: str) -> Counter[str]:
    """How many jobs of each stage a call of Snakemake has to do, by its own table."""
    table = re.search(r"^Job stats:\n(.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    rows = [line.split() for line in table[1].splitlines()] if table else []
    counts = {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
    return Counter({stage: n for stage in STAGES for rule, n in counts.items() if rule.startswith(stage)})


def trained_in(paths: Iterable[Path]) -> Runs:
    """The runs that the jobs which wrote these files trained."""
    runs = (run for path in paths for run in read_json(path) if run["trained"] != "found finished")
    return {(run["corruption"], run["method"], run["seed"]) for run in runs}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_change_runs_again_what_it_decides_and_nothing_else(made: Project, change: Change) -> None:
    change.make(made)
    before = {path: path.stat().st_mtime_ns for path in made.folder.glob(RUNS)}
    changed = Changed(made.folder)
    assert jobs_in(changed.run("--dry-run", *change.words)) == change.jobs
    if not change.jobs.get("train"):
        return
    changed.run("--until", "train", *change.words)
    again = [path for path in made.folder.glob(RUNS) if path.stat().st_mtime_ns != before.get(path)]
    assert len(again) == change.jobs["train"]
    assert trained_in(again) == change.runs


def test_page_says_what_is_tested() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m tests.workflow.changes"
