"""The log of a job: when it began, what it said, and how it ended.

The job writes its beginning and its end itself, so a log without an end is of a job that runs, or was
killed. A log is kept when the job is tried again, until an attempt is done.
"""

import contextlib
import datetime
import errno
import io
import itertools
import logging
import os
import re
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn, TextIO

from lapwing.code import check_planned_by_same
from lapwing.errors import UserError

log = logging.getLogger(__name__)

End = Literal["done", "failed", "stopped"]
LINE = re.compile(
    r"^(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) job (?P<what>begun|done|failed|stopped)"
    r" (?P<whose>on (?P<host>\S+), process \d+)(?P<why>.*)$"
)
TAIL = 8
"""Lines of an attempt that are kept to be shown."""


class Stopped(KeyboardInterrupt):
    """The job was asked to end; of this kind, because event loops drop any other."""


# -- writing ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def logged(path: str | Path) -> Iterator[None]:
    """Send all output to the log at `path`; a failure is one line on the screen and exit code 1.

    Redirects file descriptors, so that what C libraries print is kept too. SIGTERM and SIGINT end the job in
    order: it leaves nothing half-written, and exits with 128 and the signal's number. A second one, and one
    after the end of the block, changes nothing.
    """
    path, screen = Path(path), os.dup(2)
    with _opened(path) as (file, before):
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True)  # what is printed stands where it was printed
        configure_logging(logging.INFO)
        stop = _Stop()
        try:
            log.info("job begun %s", _ours())
            if before is not None and before.end is None:
                log.info(
                    "the attempt before said no end: it was killed, perhaps for want of memory, "
                    "or still runs and its workflow was killed"
                )
            check_planned_by_same()
            yield
            stop.ignore_signals()
            log.info("job done %s", _ours())
            for stream in (sys.stdout, sys.stderr):  # on a full disk the end of the process says nothing
                stream.flush()
        except (Stopped, Exception) as error:
            stop.ignore_signals()
            if stop.asked:  # an extension module may make another error of what was raised in it
                _write(screen, f"lapwing: stopped by {stop.asked.name} (see {path})\n")
                log.info("job stopped %s by %s", _ours(), stop.asked.name)
                sys.exit(128 + stop.asked)
            sentence = in_one_sentence(error)
            _write(screen, f"lapwing: {sentence} (the whole story: {path})\n")
            _write(file.fileno(), traceback.format_exc())
            log.info("job failed %s: %s", _ours(), sentence)
            sys.exit(1)


def _ours() -> str:
    """What tells the lines of this attempt from those of another that still runs."""
    return f"on {socket.gethostname()}, process {os.getpid()}"


def _write(descriptor: int, text: str) -> None:
    """Write what can be written: the disk may be full, and the screen gone with the workflow."""
    with contextlib.suppress(OSError):
        os.write(descriptor, text.encode())


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[TextIO, "JobLog | None"]]:
    """The log, to append to, and what it says of the attempt before, unless that is done.

    Snakemake removes the log of a job that it tries again: a second name keeps it until the job is done.
    Where the workflow was killed and the job was not, both attempts append.
    """
    kept = path.with_name(f"{path.name}.kept")
    try:
        if kept.exists() and not path.exists():
            kept.rename(path)
        before = read_log(path)
        if before is not None and before.end == "done":
            before = None
            for name in (path, kept):
                name.unlink(missing_ok=True)
        file = path.open("a", buffering=1, encoding="utf-8")
    except OSError as error:
        sys.exit(f"lapwing: {path} cannot be written: {error.strerror}.")
    with contextlib.suppress(OSError):  # it is there, or the file system knows no second names
        kept.hardlink_to(path)
    with file:
        yield file, before
    last = read_log(path)
    if last is None or last.whose == _ours():  # else the next attempt began, and is to keep it
        kept.unlink(missing_ok=True)


class _Stop:
    """What SIGTERM and SIGINT call: it raises `Stopped`, so that the job ends in order."""

    def __init__(self) -> None:
        self.asked: signal.Signals | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self)
        sys.unraisablehook = self._raise_later

    def __call__(self, number: int, frame: object) -> NoReturn:
        self.ignore_signals()  # one more must not break the orderly end
        if self.asked is None:
            self.asked = signal.Signals(number)
            # The log tells it also where other code swallows what is raised.
            _write(2, f"{self.asked.name} asks the job to end\n")
        raise Stopped

    def _raise_later(self, lost: "sys.UnraisableHookArgs") -> None:
        """Raise again what was raised in a finalizer, where Python drops it and the job would go on, deaf.

        An import ends in such a place for each module, so a signal in its midst may well meet one.
        """
        if not isinstance(lost.exc_value, Stopped):
            sys.__unraisablehook__(lost)
            return
        try:
            signal.signal(signal.SIGALRM, self)
            signal.setitimer(signal.ITIMER_REAL, 0.01)
        except Stopped:  # this process was held up, and the time was over in here
            self._raise_later(lost)

    @staticmethod
    def ignore_signals() -> None:
        """From here on, nothing ends the job before its time."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)


def configure_logging(level: int) -> None:
    """Lines with the time in UTC, which is the same on every machine."""
    handler = logging.StreamHandler()
    handler.setFormatter(_InUTC("%(asctime)s.%(msecs)03dZ %(message)s", "%Y-%m-%dT%H:%M:%S"))
    logging.basicConfig(level=level, handlers=[handler], force=True)


class _InUTC(logging.Formatter):
    converter = staticmethod(time.gmtime)


def in_one_sentence(error: BaseException) -> str:
    """What a job that failed says to its user."""
    if isinstance(error, UserError):
        return f"{error}"
    if isinstance(error, MemoryError) or _is_of_torch(error, "can't allocate memory"):
        return (
            "memory is used up; grant the job more (training: config.yaml: memory_mb; other stages: "
            "--set-resources RULE:mem_mb=…), or run fewer at once on this machine (--resources mem_mb=…)."
        )
    name, what = type(error).__name__, str(error).strip().partition("\n")[0].rstrip(".")
    if name == "OutOfMemoryError":  # of torch, which most stages do not import
        return f"the GPU's memory is used up ({what}); use a GPU that is free, or a smaller batch."
    if name == "AcceleratorError" or _is_of_torch(error, "CUDA error"):
        return f"the GPU failed ({what}); start again, training goes on after its last whole epoch."
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{error.filename or 'a file'} cannot be written: the disk is full."
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename} cannot be used: {error.strerror}."
    return f"{name}: {error}"


def _is_of_torch(error: BaseException, words: str) -> bool:
    return isinstance(error, RuntimeError) and words in str(error)


# -- reading ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class JobLog:
    """The last attempt of a job."""

    path: Path
    begins: tuple[datetime.datetime, ...]
    """When each attempt since it was last done began, in UTC by the clock of its host."""
    host: str
    whose: str
    """`on HOST, process N`, which its first and last line say."""
    written: datetime.datetime
    """When the log was last written to, by the clock of the file system."""
    ended: datetime.datetime
    """Where there is no end, when the log was last written to."""
    end: End | None
    """None: it runs, or was killed."""
    why: str
    """Of an attempt that failed or was stopped."""
    last_lines: tuple[str, ...]
    """Before its end, and before the traceback of what `why` says."""


def read_log(path: Path) -> JobLog | None:
    """What the log says of the last attempt; None where there is no log that `logged` wrote."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        written = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
    except FileNotFoundError:
        return None
    marks = [(number, match) for number, line in enumerate(lines) if (match := LINE.match(line))]
    begun = [(number, match) for number, match in marks if match["what"] == "begun"]
    if not begun:
        return None
    start, last = begun[-1]
    ends = (mark for mark in reversed(marks) if mark[0] > start and mark[1]["whose"] == last["whose"])
    stop, end = next(ends, (len(lines), None))
    said = itertools.takewhile(lambda line: not line.startswith("Traceback "), lines[start:stop])
    return JobLog(
        path=path,
        begins=tuple(_time(match) for _, match in begun),
        host=last["host"],
        whose=last["whose"],
        written=written,
        ended=_time(end) if end else written,
        end=_end(end),
        why=end["why"].lstrip(": ") if end else "",
        last_lines=tuple(said)[-TAIL:],
    )


def _time(line: re.Match[str]) -> datetime.datetime:
    return datetime.datetime.fromisoformat(line["time"])


def _end(line: re.Match[str] | None) -> End | None:
    ends: dict[str, End] = {"done": "done", "failed": "failed", "stopped": "stopped"}
    return ends[line["what"]] if line else None
