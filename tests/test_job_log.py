"""The log of a job: what it says on the screen, what it keeps, and how it ended."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lapwing.errors import UserError
from lapwing.job_log import in_one_sentence, read_log

RUN = """
from lapwing.errors import UserError
from lapwing.job_log import logged
with logged({log!r}):
    {body}
"""


def run(log: Path, body: str) -> subprocess.CompletedProcess[str]:
    """A process that is logged while it does something."""
    code = RUN.format(log=str(log), body=body)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def killed_by(number: int, log: Path, body: str) -> tuple[int, str]:
    """The exit code and screen of a process that gets a signal once it works."""
    code = RUN.format(log=str(log), body=f"print('working'); {body}; import time; time.sleep(60)")
    end = time.monotonic() + 60
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) as process:
        while not (log.is_file() and "working" in log.read_text()):
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(number)
        return process.wait(), process.communicate()[1]


@pytest.mark.parametrize(
    ("raised", "shown"),
    [
        ("UserError('The file a is empty.')", "lapwing: The file a is empty. (the whole story: {log})\n"),
        ("KeyError('a')", "lapwing: KeyError: 'a' (the whole story: {log})\n"),
    ],
)
def test_failure_is_one_line_on_the_screen_and_the_whole_story_in_the_log(
    tmp_path: Path, raised: str, shown: str
) -> None:
    path = tmp_path / "job.log"
    done = run(path, f"print('working'); raise {raised}")
    assert done.returncode == 1
    assert done.stderr == shown.format(log=path)
    assert done.stdout == ""
    assert "working" in path.read_text()
    assert "Traceback" in path.read_text()
    said = read_log(path)
    assert said is not None
    assert said.end == "failed"
    assert f"lapwing: {said.why} (" in done.stderr
    assert said.last_lines[-1] == "working"


def test_log_says_when_where_and_that_it_is_done(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    assert run(path, "import time; time.sleep(0.2)").returncode == 0
    said = read_log(path)
    assert said is not None
    assert (said.end, said.why, len(said.begins)) == ("done", "", 1)
    assert 0.2 <= (said.ended - said.begins[0]).total_seconds() < 60
    assert said.host


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_to_end_ends_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """What is written aside is removed, and exit code and log say what happened."""
    path, out = tmp_path / "job.log", tmp_path / "out.txt"
    body = (
        "from lapwing.files import written_aside; from pathlib import Path; "
        f"aside = written_aside(Path({str(out)!r})); aside.__enter__().write_text('half')"
    )
    code, screen = killed_by(number, path, body)
    assert code == 128 + number
    assert screen == f"lapwing: stopped by {number.name} (see {path})\n"
    said = read_log(path)
    assert said is not None
    assert (said.end, said.why) == ("stopped", f"by {number.name}")
    assert sorted(tmp_path.iterdir()) == [path, tmp_path / "job.log.kept"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_does_not_break_the_orderly_end(tmp_path: Path, number: signal.Signals) -> None:
    path, removed = tmp_path / "job.log", tmp_path / "removed"
    body = (
        f"import os, signal, contextlib, pathlib; end = contextlib.ExitStack(); "
        f"end.callback(pathlib.Path({str(removed)!r}).touch); "
        f"end.callback(os.kill, os.getpid(), signal.{number.name}); end.__enter__()"
    )
    code = RUN.format(log=str(path), body=f"{body}\n    with end: os.kill(os.getpid(), signal.SIGTERM)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, removed.exists()) == (128 + signal.SIGTERM, True)
    assert done.stderr == f"lapwing: stopped by SIGTERM (see {path})\n"


def test_signal_that_meets_a_finalizer_is_not_lost(tmp_path: Path) -> None:
    """Python drops what is raised in one: an import runs one for each module, to let go of its lock."""
    path = tmp_path / "job.log"
    done = run(
        path,
        """import os, signal, time, weakref
    class Lock: pass
    def release(_):
        os.kill(os.getpid(), signal.SIGTERM)
    def release_late(_):
        time.sleep(0.2)  # here it is raised again, and dropped again
    first, second = Lock(), Lock()
    seen = weakref.ref(first, release), weakref.ref(second, release_late)
    del first
    del second
    time.sleep(60)""",
    )
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stderr == f"lapwing: stopped by SIGTERM (see {path})\n"
    said = read_log(path)
    assert said is not None
    assert (said.end, said.why) == ("stopped", "by SIGTERM")


def test_signal_that_is_raised_again_too_early_is_not_lost(tmp_path: Path) -> None:
    """A process that is held up while it asks for that meets it there, where Python drops it too."""
    path = tmp_path / "job.log"
    done = run(
        path,
        """import os, signal, time, weakref
    class Lock: pass
    lock, arm = Lock(), signal.setitimer
    def held_up(*asked):
        signal.setitimer = arm
        arm(*asked)
        time.sleep(0.2)
    signal.setitimer = held_up
    seen = weakref.ref(lock, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    del lock
    time.sleep(60)""",
    )
    assert (done.returncode, done.stderr) == (143, f"lapwing: stopped by SIGTERM (see {path})\n")


def test_signal_that_meets_an_event_loop_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    done = run(
        path,
        """import asyncio, os, signal, time
    async def work():
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        await asyncio.sleep(60)
    asyncio.run(work())""",
    )
    assert (done.returncode, done.stderr) == (143, f"lapwing: stopped by SIGTERM (see {path})\n")


def test_stop_that_other_code_makes_an_error_of_is_a_stop(tmp_path: Path) -> None:
    """As NumPy does, on a signal in the midst of its import: "TypeError: expected a message argument"."""
    path = tmp_path / "job.log"
    done = run(
        path,
        """import os, signal
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except BaseException:
        raise TypeError("expected a message argument") from None""",
    )
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stderr == f"lapwing: stopped by SIGTERM (see {path})\n"


def test_signal_after_the_end_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    code = RUN.format(log=str(path), body="import os, signal")
    code += "[os.kill(os.getpid(), number) for number in (signal.SIGTERM, signal.SIGINT)]"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    said = read_log(path)
    assert said is not None
    assert said.end == "done"


def test_killed_attempt_is_kept_and_told_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    assert killed_by(signal.SIGKILL, path, "pass")[0] == -signal.SIGKILL
    said = read_log(path)
    assert said is not None
    assert (said.end, len(said.begins)) == (None, 1)
    run(path, "print('again')")
    text, said = path.read_text(), read_log(path)
    assert "working" in text
    assert "the attempt before said no end: it was killed" in text
    assert said is not None
    assert (said.end, len(said.begins)) == ("done", 2)
    assert not any("working" in line for line in said.last_lines)
    run(path, "print('a third time')")
    assert "working" not in path.read_text()


def test_log_that_snakemake_removes_before_the_next_attempt_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    killed_by(signal.SIGKILL, path, "pass")
    path.unlink()
    run(path, "print('again')")
    said = read_log(path)
    assert said is not None
    assert (said.end, len(said.begins)) == ("done", 2)
    assert list(tmp_path.iterdir()) == [path]


def test_attempt_that_still_runs_and_the_next_leave_each_others_lines(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    second = [sys.executable, "-c", RUN.format(log=str(path), body="print('second', flush=True)")]
    run(path, f"import subprocess; print('first', flush=True); subprocess.run({second}); print('still')")
    lines = path.read_text().splitlines()
    said = [line.partition("Z ")[2] or line for line in lines]
    assert [word.partition(" on ")[0] for word in said if "attempt" not in word] == [
        *["job begun", "first", "job begun", "second", "job done", "still", "job done"]
    ]


def test_end_of_an_attempt_is_not_taken_for_that_of_the_next(tmp_path: Path) -> None:
    """The first outlives its workflow; the second, which began after it, is killed."""
    path, kept = tmp_path / "job.log", tmp_path / "job.log.kept"
    second = RUN.format(log=str(path), body="import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    run(path, f"import subprocess; subprocess.run({[sys.executable, '-c', second]})")
    text, said = path.read_text(), read_log(path)
    assert (text.count("job begun"), text.count("job done")) == (2, 1)
    assert said is not None
    assert (said.end, len(said.begins)) == (None, 2)
    assert kept.read_text() == text


LIMIT = 150
"""Bytes that a log may have: the line of its begin, and not that of its end."""


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("raise UserError('The file a is empty.')", "The file a is empty. (the whole"),
        ("print('a' * 1000)", "File too large (the whole"),
    ],
)
def test_failure_reaches_the_screen_where_the_log_cannot_grow(
    tmp_path: Path, body: str, sentence: str
) -> None:
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT}, {LIMIT})); "
    done = run(tmp_path / "job.log", f"{limit}{body}")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.returncode
    assert (tmp_path / "job.log").stat().st_size <= LIMIT


def test_text_that_no_job_wrote_is_no_log(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    assert read_log(path) is None
    path.write_bytes(b"\xff\x00 job begun\n")
    assert read_log(path) is None


class AcceleratorError(RuntimeError):
    """As torch calls it."""


class OutOfMemoryError(RuntimeError):
    """As torch calls it."""


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UserError("There is no file a."), "There is no file a."),
        (MemoryError(), "(training: config.yaml: memory_mb; other stages: --set-resources RULE:mem_mb="),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "memory is used up;"),
        (OutOfMemoryError("CUDA out of memory. Tried to"), "the GPU's memory is used up (CUDA out of memory"),
        (
            AcceleratorError("CUDA error: unspecified launch failure\nmore"),
            "the GPU failed (CUDA error: u",
        ),
        (RuntimeError("CUDA error: misaligned address"), "training goes on after its last whole epoch"),
        (
            OSError(28, "No space left on device", "outputs/a"),
            "outputs/a cannot be written: the disk is",
        ),
        (ValueError("x"), "ValueError: x"),
    ],
)
def test_what_a_machine_does_is_a_sentence(error: Exception, sentence: str) -> None:
    assert sentence in in_one_sentence(error)
    assert "\n" not in in_one_sentence(error)
