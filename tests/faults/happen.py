"""What can happen to a job: called in its process before it begins.

Without torch, for scripts of stages that do not import it.
"""

import atexit
import contextlib
import ctypes
import errno
import os
import resource
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

Event = Callable[[], None]
"""What happens."""


def nothing() -> None:
    """A job that nothing happens to."""


# -- when ----------------------------------------------------------------------------------------------


def at_step(number: int, happens: Event) -> None:
    """In the `number`-th step of training."""
    from lapwing.training.engine import Training

    step, steps = Training.step, []

    def counted(training: Training, batch: Any) -> None:
        steps.append(batch)
        if len(steps) == number:
            happens()
        step(training, batch)

    Training.step = counted  # type: ignore[method-assign]


def at_sync(name: str, number: int, happens: Event) -> None:
    """When a file with `name` in its name was written for the `number`-th time, and is not renamed yet."""
    sync, seen = os.fsync, []

    def watched(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if name in path.name and path.is_file():
            seen.append(descriptor)
            if len(seen) == number:
                happens()
        sync(descriptor)

    os.fsync = watched


def when_there(pattern: str, happens: Event) -> None:
    """As soon as there is such a file, whatever the job does then."""

    def watch() -> None:
        while not list(Path().glob(pattern)):
            time.sleep(0.01)
        happens()

    threading.Thread(target=watch, daemon=True).start()


def at_end(happens: Event) -> None:
    """When the script has ended, and the workflow has not seen it yet."""
    atexit.register(happens)


def all_of(*events: Event) -> None:
    """Several, one after another."""
    for event in events:
        event()


# -- what ----------------------------------------------------------------------------------------------


def die() -> None:
    """End as the kernel or `kill -9` ends a process."""
    os.kill(os.getpid(), signal.SIGKILL)


def all_get(number: signal.Signals) -> None:
    """Send a signal to the workflow and all its jobs, as Ctrl-C does."""
    os.killpg(os.getpgrp(), number)


def until_waited_for(project: Path = Path(), patience: float = 240) -> None:
    """Go on only when a job of a project says in its log that it waits for this one."""
    end, mine = time.monotonic() + patience, f"process {os.getpid()} on "
    while time.monotonic() < end:
        logs = [path.read_text() for path in project.glob("outputs/paper/logs/train/*/*.log")]
        if any(mine in line and "waiting" in line for log in logs for line in log.splitlines()):
            return
        time.sleep(0.05)


def lose_driver() -> None:
    """Kill the workflow and not its job; which goes on when another job waits for it."""
    with contextlib.suppress(ProcessLookupError):  # another job did
        os.kill(os.getpgrp(), signal.SIGKILL)
    until_waited_for()


def be_requeued() -> None:
    """Have Slurm put the job into the queue again, the first time."""
    number = os.environ["SLURM_JOB_ID"]
    done = Path(f"requeued-{number}")
    if not done.exists():
        done.touch()
        subprocess.run(["scontrol", "requeue", number], check=True)
        time.sleep(60)  # until Slurm ends it


def until_there(path: str, patience: float = 240) -> None:
    """Go on when there is a file."""
    end = time.monotonic() + patience
    while time.monotonic() < end and not Path(path).exists():
        time.sleep(0.05)


def vanish(unheard: str, jobs: int) -> None:
    """Have Slurm cancel the first jobs, once a file says that the queue no longer speaks of them."""
    until_there(unheard)
    if len(list(Path().glob("vanished-*"))) < jobs:
        number = os.environ["SLURM_JOB_ID"]
        Path(f"vanished-{number}").touch()
        subprocess.run(["scancel", number], check=True)
        time.sleep(60)  # until Slurm ends it


def lose_power(folder: Path, synced: set[int]) -> None:
    """Drop the content of what was not synced, then end at once."""
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_ino not in synced:
            os.truncate(path, 0)
    die()


def fail(error: Exception) -> None:
    """Raise an error in the middle of the work."""
    raise error


disk_is_full = partial(fail, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
"""What a file system that allocates late says at the sync."""


# -- from the beginning --------------------------------------------------------------------------------


def power_cut(folder: Path, when: Callable[[Event], None]) -> None:
    """Keep no content but that of inputs and of what is synced before the power goes."""
    sync, synced = os.fsync, {path.stat().st_ino for path in folder.glob("*.safetensors")}

    def noted(descriptor: int) -> None:
        sync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    os.fsync = noted
    when(partial(lose_power, folder, synced))


def files_up_to(size: int) -> None:
    """Refuse what makes a file larger, as a full disk does."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def keep_states(folder: Path, epochs: int) -> None:
    """Note each epoch of which a checkpoint was written, and keep what is in that of the last one."""
    import numpy as np

    from lapwing.training.finished import FinishedRuns

    save = FinishedRuns.save

    def kept(runs: Any, seeds: Any, arrays: Any, about: Any) -> None:
        save(runs, seeds, arrays, about)
        folder.mkdir(exist_ok=True)
        with (folder / "epochs").open("a") as file:
            file.writelines(f"{runs.key} {seed} {about['counters']['epoch']}\n" for seed in seeds)
        if about["counters"]["epoch"] == epochs:
            for row, seed in enumerate(seeds):
                state = {name: array[row] for name, array in arrays.items()}
                np.savez(folder / f"{runs.key}-seed={seed}.npz", **state)

    FinishedRuns.save = kept  # type: ignore[method-assign,assignment]


def little_memory() -> None:
    """Leave room to begin, but not to train."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**20, used + 2**20))


def ordinary_user() -> None:
    """Take from an administrator the right to write where permissions say no; in what it starts too."""
    libc, set_securebits, without_root = ctypes.CDLL(None, use_errno=True), 28, 0b11
    if os.geteuid() == 0 and (
        libc.prctl(set_securebits, without_root, 0, 0, 0)
        or libc.capset(struct.pack("II", 0x20080522, 0), bytes(24))
    ):
        raise OSError(ctypes.get_errno(), "the rights of an administrator cannot be given up")


def seen_late(seconds: float) -> None:
    """Have what is renamed seen under its name only later, as over a network's file system."""
    rename = Path.replace

    def later(path: Path, target: Path) -> Path:
        hidden = rename(path, path.with_name(f".{path.name}"))
        words = ["sh", "-c", 'sleep "$0"; mv "$1" "$2"', f"{seconds}", f"{hidden}", f"{target}"]
        subprocess.Popen(words, start_new_session=True)
        return target

    Path.replace = later  # type: ignore[method-assign,assignment]
