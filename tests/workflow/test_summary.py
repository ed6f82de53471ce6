"""What Snakemake says and keeps when its jobs have ended; its own report; the pictures in the documents."""

import csv
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflow.conftest import ROOT, Project

pytestmark = pytest.mark.workflow


def summary(project: Project) -> str:
    """What is kept of the last start."""
    return (project.folder / "outputs" / "paper" / "summary" / "summary.md").read_text()


def jobs(project: Project) -> Iterator[dict[str, str]]:
    """The table of jobs of the last start."""
    with (project.folder / "outputs" / "paper" / "summary" / "jobs.csv").open(newline="") as file:
        yield from csv.DictReader(file)


def tree(folder: Path) -> dict[str, int]:
    """Every file and folder and when it was last written to."""
    return {str(path): path.lstat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


def test_jobs_of_a_first_start_are_told(finished: Project) -> None:
    said, logs = summary(finished), finished.folder / "outputs" / "paper" / "logs"
    assert "11 jobs in " in said
    assert ", 11 done." in said
    assert "Runs: 8 trained." in said
    listed = list(jobs(finished))
    assert {row["state"] for row in listed} == {"done"}
    assert {finished.folder / row["path"] for row in listed} == set(logs.rglob("*.log"))
    assert (finished.folder / "outputs" / "paper" / "summary" / "jobs.svg").read_text().startswith("<?xml")


def test_where_no_job_runs_nothing_is_said_and_nothing_changes(made: Project) -> None:
    before = tree(made.folder / "outputs")
    for words in (
        [],
        ["--dry-run", "--forceall", "--quiet", "all"],
        ["--unlock"],
        ["--report", "report.html"],
    ):
        assert "What happened" not in made.run(*words)
    assert tree(made.folder / "outputs") == before


def test_failure_is_told_with_its_sentence_and_where_the_log_is(made: Project) -> None:
    outputs = made.folder / "outputs" / "paper"
    shutil.rmtree(outputs / "results")
    damaged = next(outputs.glob("runs/tiny/*/metrics.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    text = made.run("--rerun-triggers", "params", ok=False)
    said = summary(made)
    assert said in text
    assert "1 failed." in said
    assert "## aggregate tiny\n\nfailed: " in said
    assert f"{damaged.relative_to(made.folder)} is damaged" in said
    assert "The whole log: outputs/paper/logs/aggregate/tiny.log" in said
    assert [row["state"] for row in jobs(made)] == ["failed"]


def test_failure_before_any_job_wrote_its_log_is_said(made: Project) -> None:
    (made.folder / "scripts" / "aggregate.py").write_text("raise SystemExit('lapwing is not there')\n")
    text = made.run("--forcerun", "aggregate", ok=False)
    assert "The workflow failed, and no job's log says why: Snakemake's messages do." in text


def test_summary_that_cannot_be_written_stops_nothing(made: Project) -> None:
    folder = made.folder / "outputs" / "paper"
    shutil.rmtree(folder / "summary")
    (folder / "summary").touch()
    (folder / "report.html").unlink()
    text = made.run()
    assert text.count("lapwing: what happened cannot be told: ") == 1
    assert "Traceback" not in text
    assert (folder / "report.html").is_file()


def test_what_the_cache_had_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = project.folder / "cache"
    cache.mkdir()
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(cache))
    prepared = "outputs/paper/data/digits.safetensors"
    project.run(prepared, "--cache")
    assert "2 jobs in" in summary(project)
    assert "2 done." in summary(project)
    shutil.rmtree(project.folder / "outputs")
    shutil.rmtree(project.folder / "resources")
    project.run(prepared, "--cache")
    assert "2 cached." in summary(project)
    assert [row["job"] for row in jobs(project)] == ["digits", "digits"]


def test_report_of_snakemake_holds_tables_and_notebooks(made: Project) -> None:
    made.run("--report", "report.zip")
    with zipfile.ZipFile(made.folder / "report.zip") as whole:
        names = {Path(name).name for name in whole.namelist()}
        [page] = [name for name in whole.namelist() if name.count("/") == 1]
        text = whole.read(page).decode()
    assert {"tiny.csv", "tiny.html", "report.html"} <= names
    assert "every artefact beside the published values" in text
    assert 'src="http' not in text


def test_pictures_of_the_documents_are_of_these_rules() -> None:
    subprocess.run([sys.executable, "docs/pictures.py", "--check"], cwd=ROOT, check=True, timeout=300)
