"""Where a run was trained, and whether one that was trained elsewhere counts as finished.

Another machine or other versions change the last digits of a number, seldom more. So they are no part of a
run's key: they are written beside its numbers, said in the report, and `config.yaml: cache` decides.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from lapwing.files import content_key
from lapwing.images import labels_of
from lapwing.schema import Closed
from lapwing.training.gpus import gpus_here


class Cache(Closed):
    """Which finished runs and checkpoints count, of those that were made elsewhere."""

    other_machine: bool = True
    """Those of another model of processor, or of GPU."""
    other_lock: bool = True
    """Those of other versions of Python, PyTorch or NumPy."""


@dataclass(frozen=True)
class Origin:
    """Where a run was trained; None where it was not recorded."""

    machine: str | None
    """The model of its GPUs, or of its processor where it used none."""
    lock: str | None
    """The versions of Python, PyTorch and NumPy."""

    @property
    def tag(self) -> str:
        """A short name for files."""
        return content_key(asdict(self), length=8)


@dataclass(frozen=True)
class Counting:
    """Which runs count as finished in one place."""

    here: Origin = Origin(None, None)
    cache: Cache = Cache()

    def counts(self, about: Mapping[str, Any]) -> bool:
        """Whether a run, or a checkpoint, counts here; `about` is what it says of itself."""
        origins = origins_of(about)
        machine = self.cache.other_machine or not _other(self.here.machine, [o.machine for o in origins])
        return machine and (self.cache.other_lock or not _other(self.here.lock, [o.lock for o in origins]))

    def elsewhere(self, about: Mapping[str, Any]) -> str | None:
        """In words what is different where it was trained; None: nothing."""
        origins = origins_of(about)
        machine = _other(self.here.machine, [origin.machine for origin in origins])
        lock = _other(self.here.lock, [origin.lock for origin in origins])
        words = {
            "on another machine": machine == "other",
            "on an unrecorded machine": machine == "unrecorded",
            "with other versions": lock == "other",
            "with unrecorded versions": lock == "unrecorded",
        }
        return " ".join(text for text, holds in words.items() if holds) or None


def _other(here: str | None, there: list[str | None]) -> Literal["other", "unrecorded"] | None:
    """How any of these differs from `here`; what is not recorded counts as other."""
    if None in there:
        return "unrecorded"
    return None if all(one == here for one in there) else "other"


def origins_of(about: Mapping[str, Any]) -> list[Origin]:
    """Where a run was trained: more than one place if it was begun in one and went on in another."""
    if "origins" in about:
        return [Origin(**origin) for origin in about["origins"]]
    versions = about.get("versions")  # of a run that is older than this record
    return [Origin(None, lock_of(versions) if versions else None)]


# -- here ------------------------------------------------------------------------------------------


def origin_here(device: str) -> Origin:
    """This machine and its versions, without waiting for PyTorch; a GPU counts unless `device` is `cpu`."""
    versions = {"python": platform.python_version()}
    for name in ("torch", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):  # where all training is in containers
            versions[name] = metadata.version(name)
    return Origin(machine_of([] if device == "cpu" else gpus_here()), lock_of(versions))


def machine_of(gpus: list[str]) -> str:
    """The models of these GPUs, however many of each; without any that of the processor."""
    return ", ".join(sorted(set(gpus))) or processor()


def lock_of(versions: Mapping[str, str]) -> str:
    """The versions that decide last digits: no builds, no patch level of Python."""
    known = {
        name: versions[name].partition("+")[0] for name in ("python", "torch", "numpy") if name in versions
    }
    if "python" in known:
        known["python"] = ".".join(known["python"].split(".")[:2])
    return ", ".join(f"{name} {version}" for name, version in known.items())


def lock_of_image(image: Path) -> str | None:
    """The lock that a container's image says it was built from; None where it cannot be asked."""
    return labels_of(image).get("lapwing.lock")


def processor() -> str:
    """The model of the processor; virtual machines often hide its name, and not its number."""
    said: dict[str, str] = {}
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        said = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "model name" not in said:
        return platform.processor() or platform.machine()
    return f"{said['model name']} (family {said.get('cpu family')}, model {said.get('model')})"
