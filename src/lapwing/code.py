"""Whether the code that runs a job is that which planned it.

An image, or an environment on another machine, may hold another Lapwing than the checkout whose plan a job
belongs to. Who plans says in the environment what it is; who runs a job there compares itself with it.
"""

import hashlib
import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote, unquote

from lapwing.errors import UserError

PLANNED_BY = "LAPWING_PLANNED_BY"
"""The environment variable: `Code`, as text, of the code that planned."""
PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class Code:
    """One copy of this package."""

    digest: str
    """Of the names and contents of its files."""
    changed: int
    """When one of them was changed last, in nanoseconds, by the clock of the file system."""
    number: int
    """Of its folder: its inode, which is the same on all machines that share the file system."""
    host: str
    folder: str

    @classmethod
    def here(cls) -> "Code":
        """That of this process."""
        return cls(*_digest_and_change(PACKAGE), PACKAGE.stat().st_ino, socket.gethostname(), str(PACKAGE))

    @classmethod
    def read(cls, text: str) -> "Code":
        """What `str` gives."""
        digest, changed, number, host, folder = text.split(":", 4)
        return cls(digest, int(changed), int(number), host, unquote(folder))

    def __str__(self) -> str:  # one word, whatever the folder is called
        return f"{self.digest}:{self.changed}:{self.number}:{self.host}:{quote(self.folder)}"

    def is_edited(self, before: "Code") -> bool:
        """Whether it lies in the very folder of the code `before`, and was changed since.

        Cloned machines may give two folders one number; there nothing was changed since.
        """
        same = (self.folder, self.number) == (before.folder, before.number)
        return same and self.changed > before.changed


@cache
def _digest_and_change(folder: Path) -> tuple[str, int]:
    """The digest depends on what an installation holds, not on where it lies or when it was made."""
    sha, changed = hashlib.sha256(), 0
    for path in sorted(path for ending in ("py", "j2") for path in folder.rglob(f"*.{ending}")):
        name = path.relative_to(folder)
        if any(part.startswith(".") for part in name.parts):  # an editor's: locks, copies
            continue
        content = path.read_bytes()
        sha.update(f"{name.as_posix()} {len(content)}\n".encode() + content)
        changed = max(changed, path.stat().st_ctime_ns, path.parent.stat().st_ctime_ns)  # of a deletion too
    return sha.hexdigest(), changed


def say_who_plans(environment: MutableMapping[str, str]) -> None:
    """Name this code as the one that plans, unless this is a job of another's plan itself."""
    environment.setdefault(PLANNED_BY, str(Code.here()))


def check_planned_by_same(environment: MutableMapping[str, str] = os.environ) -> None:
    """Refuse to run a job that another Lapwing planned; without a plan there is nothing to compare.

    A folder that somebody edits while the workflow runs is the same code, on every machine that shares it.

    Raises:
        UserError: it was planned by another; says what to do about it.
    """
    text = environment.get(PLANNED_BY)
    if text is None:
        return
    planner, own = Code.read(text), Code.here()
    if own.digest == planner.digest or own.is_edited(planner):
        return
    if image := environment.get("SINGULARITY_CONTAINER"):  # Apptainer sets it too
        raise stale_image(image, planner)
    raise UserError(
        f"{own.folder} on {own.host} is another Lapwing than {planner.folder} on {planner.host}, which "
        "planned this job; install the same on both or, if it was changed meanwhile, start Snakemake again"
    )


def stale_image(image: str, planner: Code) -> UserError:
    """What is said of an image that another Lapwing was built into."""
    return UserError(
        f"the image {image} holds another Lapwing than {planner.folder}, which plans its jobs; "
        "build it anew: make containers"
    )


if __name__ == "__main__":
    print(Code.here().digest)  # noqa: T201  # for the label of an image
