"""What runs again after which change: jobs of the train rule, and the runs that they really train."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lapwing.study import merged
from tests.workflow.conftest import STUDY, Project

pytestmark = pytest.mark.workflow
Runs = set[tuple[str, str, int]]

LAP_RUNS: Runs = {(c, "lap", s) for c in ("original", "random_label") for s in (1, 2)}


def with_changes(**changes: Any) -> Callable[[Project], None]:
    """A change of the study file."""
    return lambda project: project.write_study(merged(copy.deepcopy(STUDY), changes))


def new_order_and_comment(project: Project) -> None:
    """The same study, written in another order under a comment."""
    path = project.folder / "studies" / "tiny.yaml"
    project.write_study(dict(reversed(STUDY.items())))
    path.write_text("# a comment\n" + path.read_text())


def comment_in(*names: str) -> Callable[[Project], None]:
    """A comment at the end of files of the project."""

    def change(project: Project) -> None:
        for name in names:
            path = project.folder / name
            path.write_text(path.read_text() + "\n# a comment\n")

    return change


def other_colour(project: Project) -> None:
    """Another colour in the notebook."""
    path = project.folder / "notebooks" / "artefact.ipynb"
    notebook = json.loads(path.read_text())
    notebook["cells"][-1]["source"] += ["\ncolour = 'red'"]
    path.write_text(json.dumps(notebook))


def records_lost(project: Project) -> None:
    """Snakemake's records and all outputs are gone; the finished runs are there."""
    import shutil

    shutil.rmtree(project.folder / ".snakemake")
    shutil.rmtree(project.folder / "outputs" / "paper")


CHANGES: dict[str, tuple[Callable[[Project], None], int, Runs]] = {
    "nothing": (lambda project: None, 0, set()),
    "one hyperparameter of one cell": (
        with_changes(
            special=[
                {
                    "where": {"method": "lap", "corruption": "random_label"},
                    "set": {"methods": {"lap": {"history_length": 4}}},
                }
            ]
        ),
        1,
        {("random_label", "lap", 1), ("random_label", "lap", 2)},
    ),
    "a hyperparameter of one method": (
        with_changes(conditions={"methods": {"lap": {"leniency": 0.9}}}),
        2,
        LAP_RUNS,
    ),
    "order of keys and a comment in the study": (new_order_and_comment, 0, set()),
    "a comment in rules and scripts": (comment_in("rules/train.smk", "scripts/train.py"), 0, set()),
    "a plot's colour": (other_colour, 0, set()),
    "the title": (with_changes(artefacts={"tiny": {"title": "Another title"}}), 0, set()),
    "a new seed": (
        with_changes(conditions={"seeds": [1, 2, 3]}),
        2,
        {(c, m, 3) for c in ("original", "random_label") for m in ("standard", "lap")},
    ),
    "another cut into parts": (with_changes(parts_by=["dataset", "corruption", "method"]), 4, set()),
    "Snakemake's records and all outputs lost": (records_lost, 2, set()),
}


@pytest.mark.parametrize("what", CHANGES)
def test_change_trains_again_what_it_decides_and_nothing_else(made: Project, what: str) -> None:
    change, jobs, runs = CHANGES[what]
    before = {path: path.stat().st_mtime_ns for path in made.folder.glob("outputs/paper/runs/*/*/runs.json")}
    change(made)
    assert made.planned()["train"] == jobs
    made.run()
    after = made.folder.glob("outputs/paper/runs/*/*/runs.json")
    again = [path for path in after if path.stat().st_mtime_ns != before.get(path)]
    assert len(again) == jobs
    from lapwing.files import read_json

    trained = {
        (run["corruption"], run["method"], run["seed"])
        for path in again
        for run in read_json(path)
        if run["trained"] != "found finished"
    }
    assert trained == runs


def test_new_version_of_a_method_trains_its_runs(made: Project) -> None:
    """The version is raised in a copy of the package that the project then uses."""
    import shutil

    from tests.workflow.conftest import ROOT

    shutil.copytree(ROOT / "src" / "lapwing", made.folder / "package" / "lapwing")
    method = made.folder / "package" / "lapwing" / "methods" / "lap.py"
    text, count = re.subn(r"version(: ClassVar\[int\])? = 1\b", "version = 2", method.read_text())
    assert count == 1
    method.write_text(text)
    newer = OtherPackage(made.folder)
    newer.run()
    assert newer.trained_now() == LAP_RUNS


class OtherPackage(Project):
    """A project that uses the package in its own folder."""

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PYTHONPATH": str(Path(self.folder, "package"))}
