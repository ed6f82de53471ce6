"""What runs again after which change: the cases, which test_rerun.py carries out, and the page made of them.

`python -m tests.workflow.changes` writes docs/reruns.md.
"""

import copy
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lapwing.files import read_json, write_json
from lapwing.study import merged
from tests.workflow.conftest import ROOT, STUDY, Project

PAGE = ROOT / "docs" / "reruns.md"
Runs = set[tuple[str, str, int]]

ALL_RUNS: Runs = {
    (c, m, s) for c in ("original", "random_label") for m in ("standard", "lap") for s in (1, 2)
}
LAP_RUNS: Runs = {(c, m, s) for c, m, s in ALL_RUNS if m == "lap"}
ELSEWHERE = "elsewhere"
"""A folder of the project whose modules stand before the others: for another package, or another machine."""


class Changed(Project):
    """A project to which something was done."""

    def environment(self) -> dict[str, str]:
        """As ever, with the modules of the project's own folder first."""
        usual = super().environment()
        return {**usual, "PYTHONPATH": f"{self.folder / ELSEWHERE}{os.pathsep}{usual['PYTHONPATH']}"}


@dataclass(frozen=True)
class Change:
    """Something that is done after everything was made, and what runs again then."""

    what: str
    make: Callable[[Project], None] = lambda project: None
    words: tuple[str, ...] = ()
    """Of the command line."""
    jobs: Mapping[str, int] = field(default_factory=dict)
    """By stage."""
    runs: Runs = field(default_factory=set)
    """Those that are trained."""


# -- what is done ----------------------------------------------------------------------------------


def study_with(**changes: Any) -> Callable[[Project], None]:
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


def package_with(pattern: str, instead: str) -> Callable[[Project], None]:
    """A copy of the package with one change in the method LAP."""

    def change(project: Project) -> None:
        package = project.folder / ELSEWHERE / "lapwing"
        shutil.copytree(ROOT / "src" / "lapwing", package, ignore=shutil.ignore_patterns("__pycache__"))
        path = package / "methods" / "lap.py"
        text, count = re.subn(pattern, instead, path.read_text())
        assert count == 1
        path.write_text(text)

    return change


def lost(*names: str) -> Callable[[Project], None]:
    """Folders are gone."""

    def change(project: Project) -> None:
        for name in names:
            shutil.rmtree(project.folder / name)

    return change


def one_finished_run_lost(project: Project) -> None:
    """What was kept of one run is gone; its results are there."""
    shutil.rmtree(next(iter(sorted(project.folder.glob("outputs/finished/*/seed=1")))))


def new_times(project: Project) -> None:
    """Every file was written now, the results before what they were made from."""
    for path in sorted(project.folder.rglob("*"), reverse=True):
        if not path.is_symlink():
            os.utime(path)


def finished_elsewhere(**origin: str) -> Callable[[Project], None]:
    """Nothing was made here, and the finished runs come from elsewhere."""

    def change(project: Project) -> None:
        lost(".snakemake", "outputs/paper")(project)
        for path in project.folder.glob("outputs/finished/*/seed=*/run.json"):
            run = read_json(path)
            run["origins"] = [{**one, **origin} for one in run["origins"]]
            write_json(path, run, {"key": run["key"], "seed": run["seed"]})

    return change


def moved_to(*lines: str) -> Callable[[Project], None]:
    """The folder is used in another place, which these lines of Python pretend."""

    def change(project: Project) -> None:
        path = project.folder / ELSEWHERE / "sitecustomize.py"
        path.parent.mkdir()
        path.write_text("\n".join(lines) + "\n")

    return change


OTHER_MACHINE = (
    "from lapwing.training import origin",
    "origin.processor = lambda: 'Another processor'",
)
OTHER_LOCK = ("import platform", "platform.python_version = lambda: '3.12.0'")
STRICT = {
    "machine": ("--config", "cache={other_machine: false}"),
    "lock": ("--config", "cache={other_lock: false}"),
}


# -- what runs then --------------------------------------------------------------------------------

SHOWN = {"present": 1, "report": 1}
RESULTS = {"aggregate": 1, **SHOWN}
NO_NUMBER = "memory_mb=8000 gpu=1 deterministic=true slurm={partition: long, account: ours}"

CHANGES = [
    Change("nothing"),
    Change(
        "one hyperparameter of one cell",
        study_with(
            special=[
                {
                    "where": {"method": "lap", "corruption": "random_label"},
                    "set": {"methods": {"lap": {"history_length": 4}}},
                }
            ]
        ),
        jobs={"train": 1, **RESULTS},
        runs={("random_label", "lap", 1), ("random_label", "lap", 2)},
    ),
    Change(
        "one hyperparameter of a method",
        study_with(conditions={"methods": {"lap": {"leniency": 0.9}}}),
        jobs={"train": 2, **RESULTS},
        runs=LAP_RUNS,
    ),
    Change(
        "the `version` of a method, in the package",
        package_with(r"version(: ClassVar\[int\])? = 1\b", "version = 2"),
        jobs={"train": 2, **RESULTS},
        runs=LAP_RUNS,
    ),
    Change(
        "a new seed",
        study_with(conditions={"seeds": [1, 2, 3]}),
        jobs={"corrupt": 2, "train": 2, **RESULTS},
        runs={(c, m, 3) for c, m, s in ALL_RUNS if s == 1},
    ),
    Change(
        "another cut into parts",
        study_with(parts_by=["dataset", "corruption", "method"]),
        jobs={"train": 4, **RESULTS},
    ),
    Change("the title of an artefact", study_with(artefacts={"tiny": {"title": "Other"}}), jobs=SHOWN),
    Change("a colour in a notebook", other_colour, jobs=SHOWN),
    Change("order of keys, and a comment, in the study", new_order_and_comment),
    Change("a comment in rules and scripts", comment_in("rules/train.smk", "scripts/train.py")),
    Change("a comment in the package", package_with(r'(?s)\A""".*?"""\n', r"\g<0># a comment\n")),
    Change(
        "`memory_mb`, `gpu`, `deterministic`, `slurm`",
        words=("--config", *re.findall(r"\S+=(?:{.*}|\S+)", NO_NUMBER)),
    ),
    Change("`device`", words=("--config", "device=cpu")),
    Change("`--profile profiles/slurm` after a local run", words=("--profile", "profiles/slurm")),
    Change("`--sdm apptainer` after a run without", words=("--sdm", "apptainer")),
    Change("every file has a new time, as in a copy of the folder", new_times),
    Change("Snakemake's records are lost (`.snakemake`)", lost(".snakemake")),
    Change("a finished run is lost, its results are not", one_finished_run_lost),
    Change(
        "records and all outputs are lost, finished runs are not",
        lost(".snakemake", "outputs/paper"),
        jobs={"prepare": 1, "corrupt": 4, "train": 2, **RESULTS},
    ),
    Change("another machine, or other versions, in the same folder", moved_to(*OTHER_MACHINE, *OTHER_LOCK)),
    Change(
        "another machine, `cache: {other_machine: false}`",
        moved_to(*OTHER_MACHINE),
        STRICT["machine"],
        {"train": 2, **RESULTS},
        ALL_RUNS,
    ),
    Change(
        "other versions, `cache: {other_lock: false}`",
        moved_to(*OTHER_LOCK),
        STRICT["lock"],
        {"train": 2, **RESULTS},
        ALL_RUNS,
    ),
    Change(
        "`cache: {other_lock: false}`, and no other versions",
        words=STRICT["lock"],
        jobs={"train": 2, **RESULTS},
    ),
    Change(
        "new checkout, finished runs from another machine with other versions",
        finished_elsewhere(machine="Another processor", lock="other"),
        jobs={"prepare": 1, "corrupt": 4, "train": 2, **RESULTS},
    ),
    Change(
        "the same from another machine, `cache: {other_machine: false}`",
        finished_elsewhere(machine="Another processor"),
        STRICT["machine"],
        {"prepare": 1, "corrupt": 4, "train": 2, **RESULTS},
        ALL_RUNS,
    ),
    Change(
        "the same with other versions, `cache: {other_lock: false}`",
        finished_elsewhere(lock="other"),
        STRICT["lock"],
        {"prepare": 1, "corrupt": 4, "train": 2, **RESULTS},
        ALL_RUNS,
    ),
]


# -- the page --------------------------------------------------------------------------------------

STAGES = ["download", "prepare", "corrupt", "train", "aggregate", "excerpt", "present", "report"]
INTRODUCTION = f"""<!-- Generated by `python -m tests.workflow.changes`; do not edit. -->

# What runs again after which change

A study of {len(ALL_RUNS)} runs (two corruptions, two methods, two seeds) in two parts is made whole; then one
thing is changed. Each row is a test: it counts the jobs of each stage that `snakemake -n` plans then, and the
runs that its training jobs train, which take what is finished from `finished_runs`. For a change of your own
`snakemake -n` says the reason for each job.
"""
NOTES = """
## Another machine, other versions

Where a run was trained may decide the last digits of its numbers; `config.yaml: cache` says whether that
counts. By default all finished runs and checkpoints count. With `other_machine: false` those of another
model of processor or GPU do not, with `other_lock: false` those of other versions of Python, PyTorch or
NumPy. A run that does not count is trained again and kept beside the other (`seed=2-<origin>`), so that two
machines can share a folder and take nothing from each other; training never goes on from a checkpoint that
does not count. What an older run did not record counts as other, and a run that was begun elsewhere is from
there too. The report and the notebooks say on which machines and with which versions the runs were trained
and how many were taken over, and the report warns above an artefact whose runs come from several.

Snakemake compares the machine and the versions with those under which it started last, as it sees them:
with `--sdm apptainer` the lock that `containers/train.sif` was built from, on a cluster the machine on
which `snakemake` itself runs. The job always compares the finished runs with where it is. So on a cluster
with several models of processor and `other_machine: false` a run is trained again whenever its job meets a
node of a model that has not trained it.

## Several checkouts

`finished_runs` may be one folder for several checkouts, machines and users. A run is locked while it is
trained (`flock`), so that none is trained twice: a second job waits, says for whom in its log, and takes
over what the first one finished. On a file system without such locks a warning in the log says so: two jobs
may then train the same run at the same time; both get the same numbers, the first to end keeps its run, and
a job whose half-written file the other cleared away fails with a sentence and can be started again.

What is finished is taken over without a lock, so reading is all that it needs. To train there, several users
need a folder of their group, made before the first of them uses it:

    mkdir /shared/finished && chgrp GROUP /shared/finished && chmod 2775 /shared/finished

What is made in it then belongs to the group, which may go on with every run, whatever the users' umasks.

    export SNAKEMAKE_OUTPUT_CACHE=/shared/lapwing-cache
    snakemake table_1 --cores all --cache download prepare prepare_text corrupt

shares downloaded, prepared and corrupted data. At scale `subset` a part of a collection is known by the
names, and by the times of folders and archives, in the mirror: another part is another entry, and one that
is enlarged is taken anew. A mirror that is away changes nothing. Snakemake's cache has no lock: of two
checkouts that miss an entry at the same time both make it. Files are put in place whole, and both are the
same, so nothing is damaged. Of a downloaded folder the second lands inside the first, where nothing looks
for it; a third at the same time fails (`Destination path … already exists`) and can be started again. Where
a download is long, fill the cache first: `--until prepare` in one checkout. `benchmarks/two_checkouts.py`
shows how much is done twice.
"""


def page() -> str:
    """The page of the documentation."""
    stages = [stage for stage in STAGES if any(stage in change.jobs for change in CHANGES)]
    head = f"| change | {' | '.join(stages)} | runs trained |"
    rows = []
    for change in CHANGES:
        jobs = [str(change.jobs.get(stage) or "") for stage in stages]
        rows.append(f"| {change.what} | {' | '.join(jobs)} | {len(change.runs)} |")
    return "\n".join([INTRODUCTION, head, "| --- |" + " --: |" * (len(stages) + 1), *rows]) + "\n" + NOTES


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
