"""Read, unpack and pack archives: tar, gzipped tar and zip, told apart by what they hold, not by their names.

The archive decides no path: members are written under their declared names. Links, devices, names that
lead out of the archive, encrypted members, a name that comes twice, and more bytes than expected are
refused; so is whatever is damaged or cut off, which Python's own tarfile takes for the end.
"""

import contextlib
import functools
import gzip
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, ClassVar, cast

from lapwing.datasets.base import MIB, Member
from lapwing.errors import UserError
from lapwing.files import written_aside

SLACK = 16 * MIB
"""Bytes that an archive may hold beside its expected members: headers, a readme."""

LONGEST_NAME = MIB
"""Bytes, at most, of what tells a long name in a tar: tarfile reads it into memory whole."""

_LONG_NAMES = {
    tarfile.GNUTYPE_LONGNAME: 32 * MIB,
    tarfile.GNUTYPE_LONGLINK: 32 * MIB,
    tarfile.XHDTYPE: 32 * MIB,
    tarfile.SOLARIS_XHDTYPE: 32 * MIB,
    tarfile.XGLTYPE: MIB // 16,  # holds for all members after it, and is copied for each
}
"""Bytes, at most, of all such headers of an archive, by their kind."""

_DAMAGE = (
    tarfile.TarError,
    gzip.BadGzipFile,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    RuntimeError,
    OverflowError,
)


class Refused(UserError):
    """An archive that is damaged, lacks a member, or holds what no honest one does."""

    def __init__(self, archive: Path, why: str) -> None:
        """Name the archive and what is wrong with it."""
        super().__init__(f"{archive.name} was not unpacked: {why}.")


def unpack(archive: Path, members: Sequence[Member], into: Path) -> None:
    """Write each of `members` of `archive` to `into` under its name.

    Raises:
        UserError: the archive is damaged, lacks a member, or holds what no honest one does.
    """
    wanted = {member.name: member for member in members}
    total = sum(member.limit for member in members) + SLACK
    missing = set(wanted)
    with _entries(archive, total) as entries:
        for entry in entries:
            if entry.name in wanted:
                entry.must_fit(archive, wanted[entry.name].limit)
                target = into / entry.name
                with entry.open() as content, written_aside(target) as aside, aside.open("wb") as file:
                    shutil.copyfileobj(content, file, MIB)
                missing.discard(entry.name)
    if missing:
        raise Refused(archive, f"it lacks {', '.join(sorted(missing))}")


def read_members(
    archive: Path, keep: Callable[[str], bool], *, largest: int = 16 * MIB, total: int = 8192 * MIB
) -> Iterator[tuple[str, bytes]]:
    """Name and content of those members that `keep` says yes to, in the order of the archive.

    Args:
        archive: a tar, gzipped tar or zip.
        keep: told the name of a member, a path with "/" and without a leading "./".
        largest: bytes of a member that is kept, at most.
        total: bytes of all members together, kept or not, at most.

    Raises:
        UserError: while it is read: the archive is damaged, or holds what no honest one does.
    """
    with _entries(archive, total) as entries:
        for entry in entries:
            if keep(entry.name):
                entry.must_fit(archive, largest)
                with entry.open() as content:
                    whole = content.read(entry.size)
                yield entry.name, whole


def pack(folder: Path, tree: str, out: Path, needed: Sequence[str] = ("*",)) -> None:
    """Write files below `folder` to the zip `out`, as `<tree>/<path below folder>`, uncompressed.

    Equal folders give equal bytes: members are sorted, and times are left out.

    Args:
        folder: what is packed.
        tree: the name that it has in the archive.
        out: the zip.
        needed: patterns of the paths below `folder` that are wanted; `*` stands for any text, "/" too.

    Raises:
        UserError: the folder holds no such file, or something cannot be read or written.
    """
    files = ((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    paths = {name: path for name, path in files if any(fnmatchcase(name, pattern) for pattern in needed)}
    if not paths:
        raise UserError(f"{folder} holds no files to take the place of {out.name}.")
    with written_aside(out) as aside, zipfile.ZipFile(aside, "w") as archive:
        for name, path in sorted(paths.items()):
            info = zipfile.ZipInfo(f"{tree}/{name}")
            info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16  # as made on Unix
            info.file_size = path.stat().st_size  # beforehand: it decides how large sizes are written
            with path.open("rb") as source, archive.open(info, "w") as target:
                shutil.copyfileobj(source, target, MIB)


# -- what archives of each kind hold ---------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    """One plain file of an archive; it can be opened until the next one is asked for."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]

    def must_fit(self, archive: Path, largest: int) -> None:
        if self.size > largest:
            raise Refused(
                archive, f"its member {self.name!r} has {self.size} bytes, expected at most {largest}"
            )


@contextlib.contextmanager
def _entries(archive: Path, total: int) -> Iterator[Iterator[_Entry]]:
    """The plain files of an archive, in its order, as long as it is honest and has at most `total` bytes."""
    with archive.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    try:
        with contextlib.closing(_of_zip(archive) if is_zip else _of_tar(archive, total)) as entries:
            yield _within_limits(archive, entries, total)
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Refused(archive, f"it is no whole archive ({reason})") from None


def _within_limits(archive: Path, entries: Iterator[_Entry], total: int) -> Iterator[_Entry]:
    """The same, as long as they are not too large together and each has a name of its own."""
    names, left = set(), total
    for entry in entries:
        left -= entry.size
        if left < 0:
            raise _too_much(archive, total)
        if entry.name in names:
            raise Refused(archive, f"its member {entry.name!r} comes twice")
        names.add(entry.name)
        yield entry


def _too_much(archive: Path, total: int) -> Refused:
    return Refused(archive, f"it unpacks to more than the {total} bytes expected of it")


def _honest_name(archive: Path, name: str, *, is_plain: bool) -> str:
    """The name of a member in the one form that names are compared in."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise Refused(archive, f"its member {name!r} would be written outside the folder")
    if not is_plain:
        raise Refused(archive, f"its member {name!r} is a link or a device")
    return path.as_posix()


# -- zip -------------------------------------------------------------------------------------------


def _of_zip(archive: Path) -> Generator[_Entry, None, None]:
    """The plain files of a zip; zipfile gives no more bytes than it says, and checks their CRC."""
    with zipfile.ZipFile(archive) as whole:
        for info in whole.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            name = _honest_name(archive, info.filename, is_plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
            if info.header_offset < 0:
                raise zipfile.BadZipFile(f"{name!r} begins before it")
            if info.flag_bits & 1:
                raise Refused(archive, f"its member {name!r} is encrypted")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # Of the other ways to compress, zipfile cannot bound what it holds in memory.
                raise Refused(archive, f"its member {name!r} is neither stored nor deflated")
            if not info.is_dir():
                yield _Entry(name, info.file_size, functools.partial(whole.open, info))


# -- tar -------------------------------------------------------------------------------------------


class _Bounded:
    """The bytes of a file up to a limit; for tarfile's streaming mode, which only reads."""

    def __init__(self, archive: Path, file: IO[bytes], limit: int) -> None:
        self.archive, self.file, self.left, self.limit = archive, file, limit, limit

    def read(self, size: int) -> bytes:
        """At most `size` bytes."""
        chunk = self.file.read(min(size, self.left + 1))
        self.left -= len(chunk)
        if self.left < 0:
            raise _too_much(self.archive, self.limit)
        return chunk


class _Header(tarfile.TarInfo):
    """A header that is read strictly: tarfile takes one that is damaged, or not there, for the end."""

    left: ClassVar[dict[bytes, int]]
    """What is left of `_LONG_NAMES`: each archive has a class of its own."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        """The header in a block of 512 bytes."""
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise  # zeros: the end
            raise tarfile.ReadError(f"a header is damaged: {error}") from None
        if info.size < 0 or (info.size > LONGEST_NAME and info.type in _LONG_NAMES):
            raise tarfile.ReadError("a header says an impossible size")
        if info.type in _LONG_NAMES:
            cls.left[info.type] -= info.size
            if cls.left[info.type] < 0:
                raise tarfile.ReadError("its headers are too large together")
        return info


def _of_tar(archive: Path, total: int) -> Generator[_Entry, None, None]:
    class Header(_Header):
        left = dict(_LONG_NAMES)

    with archive.open("rb") as file:
        is_gzipped = file.peek(2)[:2] == b"\x1f\x8b"
        stream = _Bounded(
            archive, cast(IO[bytes], gzip.GzipFile(fileobj=file)) if is_gzipped else file, total
        )
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|", tarinfo=Header) as tar:
            for info in iter(tar.next, None):
                tar.members.clear()  # type: ignore[attr-defined]  # where tarfile would keep all headers
                name = _honest_name(archive, info.name, is_plain=info.isreg() or info.isdir())
                if info.isreg():
                    content = cast(Callable[[], IO[bytes]], functools.partial(tar.extractfile, info))
                    yield _Entry(name, info.size, content)
        while stream.read(MIB):
            pass  # up to the end, where gzip keeps its checksum
