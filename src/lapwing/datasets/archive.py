"""Unpack the expected members of a tar archive, and nothing else.

The archive decides no path: members are written under their declared names. Links, devices, names
that lead out of the archive, and more bytes than declared are refused, as tarfile's `data` filter
does, which early releases of Python 3.11 lack.
"""

import gzip
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO, cast

from lapwing.datasets.base import MIB, Member
from lapwing.errors import UserError
from lapwing.files import written_aside

SLACK = 16 * MIB
"""Bytes that an archive may hold beside its expected members: headers, a readme."""


class Refused(UserError):
    """An archive that is damaged, lacks a member, or holds what no honest one does."""

    def __init__(self, archive: Path, why: str) -> None:
        """Name the archive and what is wrong with it."""
        super().__init__(f"{archive.name} was not unpacked: {why}.")


class _Bounded:
    """The unpacked bytes of a gzip file, up to a limit; for tarfile's streaming mode, which only reads."""

    def __init__(self, archive: Path, file: gzip.GzipFile, limit: int) -> None:
        self.archive, self.file, self.left, self.limit = archive, file, limit, limit

    def read(self, size: int) -> bytes:
        """At most `size` bytes."""
        if size > self.left + 1:
            size = self.left + 1
        chunk = self.file.read(size)
        self.left -= len(chunk)
        if self.left < 0:
            raise Refused(self.archive, f"it unpacks to more than the {self.limit} bytes expected of it")
        return chunk


def unpack(archive: Path, members: Sequence[Member], into: Path) -> None:
    """Write each of `members` of the gzipped tar `archive` to `into` under its name.

    Raises:
        UserError: the archive is damaged, lacks a member, or holds what no honest one does.
    """
    wanted = {member.name: member for member in members}
    limit = sum(member.limit for member in members) + SLACK
    missing = set(wanted)
    try:
        with gzip.open(archive) as file, _tar(_Bounded(archive, file, limit)) as tar:
            for info in tar:
                _refuse_dishonest(archive, info)
                if info.name in wanted:
                    _write(archive, tar, info, wanted[info.name], into)
                    missing.discard(info.name)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, UnicodeError, ValueError) as error:
        raise Refused(archive, f"it is no whole archive ({error})") from None
    if missing:
        raise Refused(archive, f"it lacks {', '.join(sorted(missing))}")


def _tar(stream: _Bounded) -> tarfile.TarFile:
    return tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|")


def _refuse_dishonest(archive: Path, info: tarfile.TarInfo) -> None:
    path = PurePosixPath(info.name)
    if path.is_absolute() or ".." in path.parts:
        raise Refused(archive, f"its member {info.name!r} would be written outside the folder")
    if not (info.isreg() or info.isdir()):
        raise Refused(archive, f"its member {info.name!r} is a link or a device")


def _write(archive: Path, tar: tarfile.TarFile, info: tarfile.TarInfo, member: Member, into: Path) -> None:
    content: IO[bytes] | None = tar.extractfile(info)
    if content is None:
        raise Refused(archive, f"its member {info.name!r} is no file")
    if info.size > member.limit:
        raise Refused(
            archive, f"its member {info.name!r} has {info.size} bytes, expected at most {member.limit}"
        )
    with written_aside(into / member.name) as aside, aside.open("wb") as file:
        while chunk := content.read(MIB):
            file.write(chunk)
