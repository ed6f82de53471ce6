"""What a summary says of the jobs, read from logs of known content."""

import csv
import datetime
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from lapwing import summary
from lapwing.cli import main
from lapwing.errors import UserError
from lapwing.files import write_json
from lapwing.job_log import JobLog, read_log
from lapwing.results.figures.gantt import gantt
from lapwing.summary import Job, Start, State, begin, last_start, summarise

START = 1_800_000_000.0
"""When the workflow starts in these tests, in seconds since the epoch."""


def line(seconds: float, text: str) -> str:
    """A line of a log at some seconds after the start, by the clock of its host."""
    time = datetime.datetime.fromtimestamp(START + seconds, datetime.UTC)
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z {text}"


def write_log(
    results: Path,
    name: str,
    begins: Sequence[float],
    ended: float,
    end: str | None = "done",
    *,
    host: str = "node1",
    ahead: float = 0.0,
) -> Path:
    """The log of a job as `lapwing.job_log` leaves it; `ahead`: how wrong the clock of its host is."""
    lines, whose = [], f"on {host}, process 7"
    for begun in begins:
        lines += [line(begun + ahead, f"job begun {whose}"), line(begun + ahead, "at work")]
    if end is not None:
        word = re.match(r"\w+", end)[0]
        lines.append(line(ended + ahead, f"job {word} {whose}{end.removeprefix(word)}"))
    path = results / "logs" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    os.utime(path, (START + ended,) * 2)
    return path


def write_runs(results: Path, part: str, trained: Sequence[str]) -> None:
    """What a training job says of its runs."""
    write_json(results / "runs" / part / "runs.json", [{"trained": word} for word in trained])


def listed(results: Path) -> dict[str, dict[str, str]]:
    """The lines of the table of jobs, by stage and job."""
    with (results / "summary" / "jobs.csv").open(newline="") as file:
        return {f"{row['stage']} {row['job']}": row for row in csv.DictReader(file)}


def test_summary_tells_how_each_job_ended(tmp_path: Path) -> None:
    write_log(tmp_path, "prepare/digits", [1], 3)
    write_log(tmp_path, "train/tiny/a", [3], 13)
    write_log(tmp_path, "train/tiny/b", [3], 9, "failed: The file a is empty.")
    write_log(tmp_path, "train/tiny/c", [3], 7, "stopped by SIGTERM")
    write_log(tmp_path, "train/tiny/d", [3, 5], 8, None)
    write_log(tmp_path, "train/tiny/before", [-90], -60)
    write_log(tmp_path, "report", [20], 21)
    write_runs(tmp_path, "tiny/a", ["now", "now", "resumed at epoch 3", "found finished"])
    said = summarise(tmp_path, Start(START, tmp_path / "raw"), failed=True)
    assert "6 jobs in 21.0 s, 3 done, 1 failed, 1 stopped, 1 killed." in said
    assert "Runs: 2 trained, 1 resumed, 1 found finished." in said
    assert "## train tiny/b\n\nfailed: The file a is empty. (after 6.0 s on node1)\n\n" in said
    assert "stopped by SIGTERM (after 4.0 s on node1)" in said
    killed = "killed, perhaps for want of memory, or at work still: its log has no end"
    assert f"{killed} (after 3.0 s on node1, attempt 2)" in said
    assert f"    {line(5, 'at work')}\n\nThe whole log: {tmp_path}/logs/train/tiny/d.log" in said
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in said.split("\n") if row[:1] == "|"]
    cells = {stage: own for stage, *own in rows}
    ends, times = ["done", "failed", "stopped", "killed"], ["time of last attempts", "longest"]
    assert cells["stage"] == [*ends, "tried again", *times]
    assert cells["train"] == ["1", "1", "1", "1", "1", "23.0 s", "10.0 s"]
    assert cells["prepare"] == ["1", "", "", "", "", "2.0 s", "2.0 s"]
    assert (tmp_path / "summary" / "summary.md").read_text() == said
    jobs = listed(tmp_path)
    assert list(jobs) == ["prepare digits", *(f"train tiny/{name}" for name in "abcd"), "report report"]
    assert jobs["train tiny/b"]["why"] == "The file a is empty."
    about = jobs["train tiny/d"]
    assert (about["state"], about["attempts"], about["host"], about["seconds"]) == (
        "killed",
        "2",
        "node1",
        "3.000",
    )
    assert datetime.datetime.fromisoformat(about["begun"]).timestamp() == START + 5
    picture = ET.parse(tmp_path / "summary" / "jobs.svg")  # noqa: S314 - our own
    assert picture.getroot().tag.endswith("svg")


def test_attempts_before_the_start_are_not_counted(tmp_path: Path) -> None:
    write_log(tmp_path, "train/tiny/a", [-50, -20, 2], 6)
    said = summarise(tmp_path, Start(START, tmp_path / "raw"))
    assert "1 job in 6.0 s, 1 done." in said
    assert "tried again" not in said
    assert listed(tmp_path)["train tiny/a"]["attempts"] == "1"


def test_job_that_outlived_the_driver_before_is_not_of_this_start(tmp_path: Path) -> None:
    write_log(tmp_path, "train/tiny/orphan", [-50], 6)
    assert summarise(tmp_path, Start(START, tmp_path / "raw")) == ""


@pytest.mark.parametrize("ahead", [-3600.0, 95.0])
def test_clock_of_a_node_that_is_wrong_is_put_right(tmp_path: Path, ahead: float) -> None:
    write_log(tmp_path, "train/tiny/a", [3], 13, host="node7", ahead=ahead)
    write_log(tmp_path, "train/tiny/killed", [4], 9, None, host="node7", ahead=ahead)
    write_log(tmp_path, "train/tiny/b", [5], 10, host="node8")
    write_log(tmp_path, "train/tiny/orphan", [-50], 12, host="node7", ahead=ahead)
    said = summarise(tmp_path, Start(START, tmp_path / "raw"))
    way = "1.6 min ahead of" if ahead > 0 else "60.0 min behind"
    assert f"The clock of node7 is {way} that of the files; put right here." in said
    assert "node8" not in said
    assert "3 jobs in 13.0 s" in said
    jobs = listed(tmp_path)
    assert jobs["train tiny/a"]["begun"] == line(3, "").replace("Z ", "+00:00")
    assert jobs["train tiny/killed"]["seconds"] == "5.000"


def test_files_linked_from_a_cache_without_a_job_are_cached(tmp_path: Path) -> None:
    cache, raw = tmp_path / "cache", tmp_path / "raw"
    cache.mkdir()
    for name in ("digits", "stored", "before"):
        (cache / name).touch()
    for path, name, seconds in (
        (tmp_path / "data" / "digits.safetensors", "digits", 4.0),
        (raw / "digits" / "images", "digits", 2.0),  # a folder whose files are links
        (tmp_path / "corrupted" / "digits" / "original-12" / "seed=2.safetensors", "stored", 6.0),
        (tmp_path / "data" / "moons.safetensors", "before", -60.0),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(cache / name)
        os.utime(path, (START + seconds,) * 2, follow_symlinks=False)
    write_log(tmp_path, "corrupt/digits/original-12/seed=2", [5], 6)
    said = summarise(tmp_path, Start(START, raw))
    assert "3 jobs in 6.0 s, 1 done, 2 cached." in said
    assert {name: row["state"] for name, row in listed(tmp_path).items()} == {
        "download digits": "cached",
        "prepare digits": "cached",
        "corrupt digits/original-12/seed=2": "done",
    }


def test_nothing_is_written_where_no_job_began(tmp_path: Path) -> None:
    write_log(tmp_path, "train/tiny/before", [-90], -60)
    assert summarise(tmp_path, Start(START, tmp_path / "raw")) == ""
    assert not (tmp_path / "summary").exists()


def test_failure_that_no_log_tells_is_said(tmp_path: Path) -> None:
    start, sentence = Start(START, tmp_path / "raw"), "The workflow failed, and no job's log says why: "
    assert summarise(tmp_path, start, failed=True).startswith(sentence)
    assert not (tmp_path / "summary").exists()
    write_log(tmp_path, "prepare/digits", [1], 3)
    assert sentence in summarise(tmp_path, start, failed=True)


def test_files_that_go_away_meanwhile_are_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Snakemake removes logs and files of jobs that it starts, also those just found, or just read."""
    logs = [write_log(tmp_path, f"prepare/{name}", [1], 3) for name in "abc"]
    (tmp_path / "raw" / "digits").mkdir(parents=True)

    def read_and_remove(path: Path) -> JobLog | None:
        said = read_log(path)
        for log in logs:
            log.unlink(missing_ok=True)
        return said

    def found(folder: Path, pattern: str) -> Iterator[Path]:
        yield from glob(folder, pattern)
        yield folder / "gone" / pattern.replace("*", "gone")

    def listed(folder: Path) -> Iterator[Path]:
        folder.rmdir()
        return entries(folder)

    glob, entries = Path.glob, Path.iterdir
    with monkeypatch.context() as patch:
        patch.setattr(Path, "glob", found)
        patch.setattr(Path, "iterdir", listed)
        patch.setattr(summary, "read_log", read_and_remove)
        said = summarise(tmp_path, Start(START, tmp_path / "raw"))
    assert "1 job in 3.0 s, 1 done." in said


def test_many_failures_are_counted_and_listed(tmp_path: Path) -> None:
    for number in range(30):
        write_log(tmp_path, f"train/tiny/{number:02}", [number], number + 1, "failed: The disk is full.")
    said = summarise(tmp_path, Start(START, tmp_path / "raw"), failed=True)
    assert said.count("The whole log") == 10
    assert "20 more are not done either." in said
    assert len(listed(tmp_path)) == 30


def jobs_at_work(number: int, at_once: int) -> list[Job]:
    """So many training jobs, of 7 to 12 s each."""
    begun = [0.1 + 13.0 * (number // at_once) + number % at_once for number in range(number)]
    ends: list[State] = ["done"] * 8 + ["failed"]
    return [
        Job("train", f"a/{n}", ends[n % 9], begun[n], 7.0 + n % 6, 1, "vm", "", (), Path("a"))
        for n in range(number)
    ]


@pytest.mark.parametrize(("number", "at_once"), [(1, 1), (10, 2), (2000, 40)])
def test_picture_has_a_bar_for_each_job_and_none_hides_another(number: int, at_once: int) -> None:
    jobs = jobs_at_work(number, at_once)
    figure = gantt(jobs)
    [axes] = figure.axes
    boxes = [path.get_extents() for row in axes.collections for path in row.get_paths()]
    bars = sorted((box.y0, box.x0, box.x1) for box in boxes)
    assert len(bars) == number
    assert len({row for row, _, _ in bars}) <= at_once + 1
    assert all(
        row != other or begun >= ended - 1e-9
        for (row, _, ended), (other, begun, _) in zip(bars, bars[1:], strict=False)
    )
    crosses = sum(len(np.asarray(drawn.get_xdata())) for drawn in axes.lines)
    assert crosses == sum(job.not_done for job in jobs)
    assert figure.get_size_inches()[1] <= 9


def test_last_start_can_be_told_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = begin(tmp_path, tmp_path / "raw")
    begun = start.time
    assert last_start(tmp_path) == start
    main(["jobs", str(tmp_path)])
    assert capsys.readouterr().out == "No job began since the last start.\n"
    path = write_log(tmp_path, "prepare/digits", [begun - START + 1], begun - START + 3)
    assert path.is_file()
    main(["jobs", str(tmp_path)])
    assert "1 job in 3.0 s, 1 done." in capsys.readouterr().out


def test_downloads_of_the_last_start_are_told_wherever_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of scale subset lie in a folder of their own, and the user may be in any."""
    monkeypatch.chdir(tmp_path)
    begin(Path("outputs/subset"), Path("resources/part"))
    Path("stored").touch()
    for name in ("resources/raw/whole", "resources/part/digits"):
        Path(name).parent.mkdir(parents=True)
        Path(name).symlink_to(tmp_path / "stored")
    monkeypatch.chdir("outputs")
    main(["jobs", "subset"])
    assert "1 job in" in capsys.readouterr().out
    assert list(listed(Path("subset"))) == ["download digits"]


def test_folder_in_which_nothing_was_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"begun\.json is not there, which every start .*; give the folder of a scale"
    ):
        last_start(tmp_path)
