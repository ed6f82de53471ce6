"""How a run was made: on what, by which code, in what time."""

from __future__ import annotations

import datetime
import os
import platform
import resource
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lapwing.training.distributed import ALONE, Processes
from lapwing.training.engine import Training
from lapwing.training.origin import Origin, lock_of, machine_of, processor
from lapwing.training.settings import Device, RunSettings


@dataclass(frozen=True)
class Environment:
    """Where a job runs."""

    device: torch.device
    """Of this process."""
    git_commit: str | None
    versions: Mapping[str, str]
    processes: Processes = ALONE
    """Those of the job."""

    @classmethod
    def here(cls, device: Device, processes: Processes = ALONE) -> Environment:
        """This process, on a device that is there; of several processes each has a GPU of its own."""
        found = "cuda" if torch.cuda.is_available() else "cpu"
        chosen = torch.device(found if device == "auto" else device)
        if chosen.type == "cuda" and not processes.alone:
            chosen = torch.device("cuda", processes.rank)
            torch.cuda.set_device(chosen)
        versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
        versions["lapwing"] = _own_version()
        commit = git_commit(Path(__file__)) or os.environ.get("LAPWING_COMMIT") or None  # of an image
        return cls(chosen, commit, versions, processes)

    @property
    def devices(self) -> str:
        """The names of the devices of all processes."""
        names = Counter(_device_name(device) for device in self._all_devices())
        return ", ".join(name if number == 1 else f"{number} x {name}" for name, number in names.items())

    @property
    def origin(self) -> Origin:
        """What is said of a run that is trained here."""
        devices = self._all_devices()
        gpus = [_device_name(device) for device in devices if device.type != "cpu"]
        return Origin(machine_of(gpus), lock_of(self.versions))

    def _all_devices(self) -> list[torch.device]:
        if self.processes.alone or self.device.type == "cpu":
            return [self.device] * self.processes.number
        return [torch.device(self.device.type, rank) for rank in range(self.processes.number)]


@dataclass(frozen=True)
class Spent:
    """The time that a stack of runs took."""

    seconds: float
    resumed: int
    """The epoch after which it went on; 0: it began anew."""
    origins: Sequence[Origin]
    """Where it was trained, in order."""


def about_run(
    settings: RunSettings,
    key: str,
    training: Training,
    row: int,
    environment: Environment,
    spent: Spent,
) -> dict[str, Any]:
    """What is kept of how one replica was trained.

    Args:
        settings: of its cell.
        key: of its finished runs.
        training: of its stack.
        row: its place in the stack.
        environment: where it was trained.
        spent: by the stack; its replicas share the time evenly.
    """
    ended = training.diverged[row]
    own = spent.seconds / training.replicas
    return {
        "seed": training.seeds[row],
        "key": key,
        "settings": settings.model_dump(mode="json"),
        "device": environment.devices,
        "processor": processor(),
        "processes": environment.processes.number,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "backend": training.networks[0].backend,
        "replicas": training.replicas,
        "seconds": own,
        "samples_per_second": training.epoch * training.samples / max(own, 1e-9),
        "peak_memory_mb": _peak_memory_mb(environment.device),
        "git_commit": environment.git_commit,
        "versions": dict(environment.versions),
        "origins": [asdict(origin) for origin in spent.origins],
        "trained": f"resumed at epoch {spent.resumed}" if spent.resumed else "now",
        "diverged": None if ended is None else {"epoch": ended[0], "step": ended[1]},
        "finished_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _peak_memory_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _own_version() -> str:
    try:
        return metadata.version("lapwing")
    except metadata.PackageNotFoundError:
        return "not installed"


def git_commit(file: Path) -> str | None:
    """The commit of the checkout that tracks a file, with `-dirty` where it was changed; None without one.

    Its digest also where a tag names it.

    An installed package may lie inside somebody's checkout without being part of it.
    """
    tracked = _git(file.parent, "ls-files", "--error-unmatch", file.name)
    return tracked and _git(file.parent, "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*")


def _git(folder: Path, *words: str) -> str | None:
    """What git answers about a folder; None where it cannot."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", str(folder), *words]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # no shell reads it
    return answer.stdout.strip() if answer.returncode == 0 else None
