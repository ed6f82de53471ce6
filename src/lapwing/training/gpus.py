"""The GPUs of this machine, and which of them a training job takes; nothing here waits for PyTorch."""

import contextlib
import fcntl
import itertools
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

log = logging.getLogger(__name__)

NVIDIA = Path("/proc/driver/nvidia/gpus")
"""Where NVIDIA's driver has a folder for each GPU."""
DEVICES = Path("/dev")
"""Where each GPU that can be used has a node."""
VISIBLE = "CUDA_VISIBLE_DEVICES"
"""By it a scheduler, or a user, says which GPUs a job may see."""


def gpus_here() -> list[str]:
    """The models of this machine's GPUs; none where a job may see none."""
    if VISIBLE in os.environ and not _shown():
        return []
    paths = NVIDIA.glob("*/information")
    found = [re.search(r"^Model:\s*(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE) for path in paths]
    return [match[1].strip() for match in found if match]


def visible_gpus() -> list[str]:
    """The GPUs that jobs on this machine may take, as `CUDA_VISIBLE_DEVICES` calls them.

    Where it names none: all if they are of one model, else only CUDA's first, which is the fastest.
    """
    models = gpus_here()
    if not models:
        return []
    if VISIBLE in os.environ:
        return _shown()
    if len(set(models)) > 1:
        return ["0"]
    # In a container there may be fewer than its machine's driver names; before a machine uses one, no node.
    nodes = len(list(DEVICES.glob("nvidia[0-9]*"))) or len(models)
    return [str(number) for number in range(min(nodes, len(models)))]


def _shown() -> list[str]:
    """Those that `CUDA_VISIBLE_DEVICES` names; CUDA reads it up to the first that is not there."""
    there = len(list(NVIDIA.glob("*/information")))

    def is_there(name: str) -> bool:
        return int(name) < there if name.isdecimal() else name not in ("", "-1")

    names = [name.strip() for name in os.environ.get(VISIBLE, "").split(",")]
    return list(dict.fromkeys(itertools.takewhile(is_there, names)))


@contextlib.contextmanager
def gpus_of_job(number: int) -> Iterator[None]:
    """Show this job so many GPUs: those that a scheduler gives it, else those that the fewest jobs have.

    A scheduler shows no more than the job is to take. Where it may see more, every job of this user holds a
    lock for each GPU that it has: jobs share one only where all have one, and a job that is killed lets go.
    """
    visible = visible_gpus()
    with contextlib.ExitStack() as held:
        if len(visible) > number:
            try:
                chosen = _take(visible, number, held)
            except OSError as error:  # no reason not to train
                log.warning("no job can say which GPUs it has: %s", error)
                chosen = list(visible[:number])
            held.callback(_show_again, os.environ.get(VISIBLE))
            os.environ[VISIBLE] = ",".join(chosen)
            log.info("takes GPU %s of %s", " and ".join(chosen), ", ".join(visible))
        yield


def _take(visible: Sequence[str], number: int, held: contextlib.ExitStack) -> list[str]:
    """The GPUs that no job has first, then those that one has, and so on; `held` keeps their locks."""
    folder, chosen = _locks(), []
    with (folder / "taking").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # two jobs of two GPUs each must not get one of both
        for jobs in itertools.count():
            for gpu in [gpu for gpu in visible if gpu not in chosen]:
                file = held.enter_context((folder / f"{gpu}.{jobs}".replace("/", "-")).open("w"))
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    chosen.append(gpu)
                if len(chosen) == number:
                    return chosen
    raise AssertionError("unreachable")


def _locks() -> Path:
    """A folder of this machine, not of a checkout: several may train on it."""
    folder = Path(tempfile.gettempdir(), f"lapwing-gpus-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user")
    return folder


def _show_again(before: str | None) -> None:
    if before is None:
        del os.environ[VISIBLE]
    else:
        os.environ[VISIBLE] = before
