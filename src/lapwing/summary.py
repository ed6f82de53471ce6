"""What happened: the jobs of one start of the workflow, as their logs and files tell it.

Clocks of nodes differ. All times here are by the clock of the file system, which the time of the start is
from too: a log was last written to when its job ended, which tells by how much its node is ahead. While jobs
are at work, any file may be gone before it is looked at.
"""

import csv
import datetime
import io
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lapwing import files
from lapwing.errors import UserError
from lapwing.job_log import JobLog, read_log
from lapwing.words import duration, many

State = Literal["done", "cached", "failed", "stopped", "killed"]
STATES: tuple[State, ...] = ("done", "cached", "failed", "stopped", "killed")
STAGES = ("download", "prepare", "corrupt", "train", "aggregate", "excerpt", "present", "report")

AGREE = 1.0
"""Seconds within which two clocks agree."""
SHOWN = 10
"""Jobs that are not done are told in full up to this number; all of them are in the table."""
UNTOLD = "The workflow failed, and no job's log says why: Snakemake's messages do."


@dataclass(frozen=True)
class Start:
    """A start of the workflow."""

    time: float
    """In seconds since the epoch."""
    raw: Path
    """Where its downloaded files are."""


@dataclass(frozen=True)
class Job:
    """The last attempt of a job."""

    stage: str
    name: str
    state: State
    begun: float
    """Seconds since the start of the workflow."""
    seconds: float
    """Of the last attempt, from its first line in the log to the last; what Python takes to start is not in
    it."""
    attempts: int
    """Since the start of the workflow."""
    host: str
    why: str
    """Of a job that failed or was stopped."""
    last_lines: tuple[str, ...]
    path: Path
    """Its log; of what was cached, the file."""

    @property
    def ended(self) -> float:
        """Seconds since the start of the workflow."""
        return self.begun + self.seconds

    @property
    def not_done(self) -> bool:
        """Whether its last attempt failed, was stopped or killed, or is at work still."""
        return self.state not in ("done", "cached")


def begin(results: Path, raw: Path) -> Start:
    """Mark that the workflow starts now, with its downloaded files in the folder `raw`."""
    files.write_json(_stamp(results), {"raw": f"{raw.absolute()}"})
    return last_start(results)


def last_start(results: Path) -> Start:
    """The last start of the workflow.

    Raises:
        UserError: there was none yet, or what it left is damaged.
    """
    stamp = _stamp(results)
    if not stamp.is_file():
        raise UserError(
            f"{stamp} is not there, which every start of the workflow writes; give the folder of a scale, "
            "as outputs/demo."
        )
    return Start(stamp.stat().st_mtime, Path(files.read_json(stamp)["raw"]))


def _stamp(results: Path) -> Path:
    return results / "logs" / "begun.json"


def summarise(results: Path, start: Start, *, failed: bool = False) -> str:
    """Write `summary.md`, `jobs.csv` and `jobs.svg` to the folder `summary` of a scale.

    Args:
        results: the folder of the scale.
        start: that of the workflow.
        failed: whether the workflow says that it failed.

    Returns:
        What `summary.md` says. Where no job began since then nothing is written; this is empty then, or says
        of the failure what can be said.

    Raises:
        UserError: a file cannot be written.
    """
    since = start.time
    logs = list(_logs(results, since))
    ahead = _ahead(logs)
    logged = [job for log in logs if (job := _job(log, results / "logs", since, ahead.get(log.host, 0.0)))]
    jobs = [*logged, *_cached(results, start.raw, since, {(job.stage, job.name) for job in logged})]
    jobs.sort(key=lambda job: (_place(job.stage), job.begun, job.name))
    if not jobs:
        return f"{UNTOLD}\n" if failed else ""
    text = _told(results, jobs, since, ahead, failed=failed)
    files.write_text(results / "summary" / "summary.md", text)
    files.write_text(results / "summary" / "jobs.csv", _listed(jobs, since))
    _draw(jobs, results / "summary" / "jobs.svg")
    return text


def _draw(jobs: Sequence[Job], path: Path) -> None:
    from lapwing.results.figures.gantt import gantt  # matplotlib takes a second, which no start should
    from lapwing.results.figures.style import save

    save(gantt(jobs), {"svg": path})


# -- what the logs and files say -------------------------------------------------------------------


def _logs(results: Path, since: float) -> Iterator[JobLog]:
    """The logs that were written to since then."""
    for path in results.glob("logs/**/*.log"):
        with suppress(FileNotFoundError):  # Snakemake removes that of a job which it tries again
            if path.stat().st_mtime >= since - AGREE and (log := read_log(path)):
                yield log


def _ahead(logs: Iterable[JobLog]) -> dict[str, float]:
    """By how many seconds the clock of a host is ahead of the file system's; without hosts that agree."""
    told = defaultdict(list)
    for log in logs:
        if log.end:
            told[log.host].append((log.ended - log.written).total_seconds())
    ahead = {host: statistics.median(seconds) for host, seconds in told.items()}
    return {host: seconds for host, seconds in ahead.items() if abs(seconds) > AGREE}


def _job(log: JobLog, folder: Path, since: float, ahead: float) -> Job | None:
    """The job of a log; None where it began before the start, and went on without its driver."""
    begins = [begun.timestamp() - ahead - since for begun in log.begins]
    attempts = sum(begun >= -AGREE for begun in begins)
    if not attempts:
        return None
    ended = log.ended.timestamp() - (ahead if log.end else 0.0) - since
    stage, *name = log.path.relative_to(folder).with_suffix("").parts
    return Job(
        stage=stage,
        name="/".join(name) or stage,
        state=log.end or "killed",
        begun=max(0.0, begins[-1]),
        seconds=max(0.0, ended - begins[-1]),
        attempts=attempts,
        host=log.host,
        why=log.why,
        last_lines=log.last_lines,
        path=log.path,
    )


def _cached(results: Path, raw: Path, since: float, logged: set[tuple[str, str]]) -> Iterator[Job]:
    """What a cache had: links that were made since then without a job."""
    for stage, folder, pattern in (
        ("download", raw, "*"),
        ("prepare", results / "data", "*.safetensors"),
        ("corrupt", results / "corrupted", "*/*/*.safetensors"),
    ):
        for path in folder.glob(pattern):
            name = path.relative_to(folder).with_suffix("").as_posix()
            linked = _linked(path)
            if linked and linked >= since - AGREE and (stage, name) not in logged:
                yield Job(stage, name, "cached", max(0.0, linked - since), 0.0, 0, "", "", (), path)


def _linked(path: Path) -> float | None:
    """When a file, or what a folder holds, was linked; None where it is no link."""
    with suppress(FileNotFoundError):  # Snakemake removes what it makes anew
        links = [link for link in (path, *(path.iterdir() if path.is_dir() else ())) if link.is_symlink()]
        return links[0].lstat().st_mtime if links else None
    return None


def _runs(results: Path, jobs: Iterable[Job]) -> Counter[str]:
    """How many runs the training jobs trained, went on with, and found finished."""
    count: Counter[str] = Counter()
    for job in jobs:
        if job.stage == "train" and job.state == "done":
            with suppress(UserError):  # it was removed since
                runs = files.read_json(results / "runs" / job.name / "runs.json")
                count.update(run["trained"].partition(" at ")[0] for run in runs)
    return count


# -- how it is told --------------------------------------------------------------------------------


def _told(
    results: Path, jobs: Sequence[Job], since: float, ahead: Mapping[str, float], *, failed: bool
) -> str:
    states = Counter(job.state for job in jobs)
    counts = ", ".join(f"{states[state]} {state}" for state in STATES if states[state])
    wall = duration(max(job.ended for job in jobs))
    paragraphs = [
        "# What happened",
        f"{results}, {_time(since):%Y-%m-%d %H:%M:%S} UTC: {many(len(jobs), 'job')} in {wall}, {counts}.",
        _told_of_runs(_runs(results, jobs)),
        _by_stage(jobs),
        *_told_of_clocks(ahead),
        *_told_of_failures([job for job in jobs if job.not_done], failed=failed),
        f"All jobs: {results}/summary/jobs.csv, and drawn by time in jobs.svg beside it.",
    ]
    return "\n\n".join(filter(None, paragraphs)) + "\n"


def _told_of_runs(runs: Counter[str]) -> str:
    words = {"now": "trained", "resumed": "resumed", "found finished": "found finished"}
    told = [f"{runs[word]} {meaning}" for word, meaning in words.items() if runs[word]]
    return f"Runs: {', '.join(told)}." if told else ""


def _by_stage(jobs: Sequence[Job]) -> str:
    """A table: how many jobs of each stage came to which end, and the time that they took.

    Of a job that was tried again it is the time of the last attempt.
    """
    states = [state for state in STATES if any(job.state == state for job in jobs)]
    again = ["tried again"] if any(job.attempts > 1 for job in jobs) else []
    time = "time of last attempts" if again else "time"
    rows = [["stage", *states, *again, time, "longest"]]
    for stage in dict.fromkeys(job.stage for job in jobs):
        own = [job for job in jobs if job.stage == stage]
        rows.append(
            [
                stage,
                *(_count(job.state == state for job in own) for state in states),
                *(_count(job.attempts > 1 for job in own) for _ in again),
                duration(sum(job.seconds for job in own)),
                duration(max(job.seconds for job in own)),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
        for row in rows
    )


def _count(these: Iterable[bool]) -> str:
    return str(sum(these) or "")


def _told_of_clocks(ahead: Mapping[str, float]) -> Iterator[str]:
    for host, seconds in sorted(ahead.items()):
        way = "ahead of" if seconds > 0 else "behind"
        yield f"The clock of {host} is {duration(abs(seconds))} {way} that of the files; put right here."


def _told_of_failures(jobs: Sequence[Job], *, failed: bool) -> Iterator[str]:
    if failed and not jobs:
        yield UNTOLD
    for job in jobs[:SHOWN]:
        yield f"## {job.stage} {job.name}" if job.name != job.stage else f"## {job.stage}"
        attempt = f", attempt {job.attempts}" if job.attempts > 1 else ""
        yield f"{_end(job)} (after {duration(job.seconds)} on {job.host}{attempt})"
        yield "\n".join(f"    {line}" for line in job.last_lines)
        yield f"The whole log: {job.path}"
    if len(jobs) > SHOWN:
        yield f"{len(jobs) - SHOWN} more are not done either."


def _end(job: Job) -> str:
    """How a job ended that is not done."""
    if job.state == "killed":
        return "killed, perhaps for want of memory, or at work still: its log has no end"
    return f"{job.state}: {job.why}" if job.state == "failed" else f"{job.state} {job.why}"


def _listed(jobs: Sequence[Job], since: float) -> str:
    """All jobs as comma-separated values."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["stage", "job", "state", "begun", "seconds", "attempts", "host", "why", "path"])
    for job in jobs:
        begun = _time(since + job.begun).isoformat(timespec="milliseconds")
        told = [job.attempts, job.host, job.why, job.path]
        table.writerow([job.stage, job.name, job.state, begun, f"{job.seconds:.3f}", *told])
    return out.getvalue()


def _time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _place(stage: str) -> int:
    return STAGES.index(stage) if stage in STAGES else len(STAGES)
