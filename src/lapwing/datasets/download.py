"""Bring the files of a dataset to its raw folder: from a mirror or the network, verified, all or nothing.

Work in progress lives beside the raw folder, in `part-<dataset>`; after a kill it is gone on with.
"""

import contextlib
import fcntl
import logging
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from lapwing.datasets import datasets
from lapwing.datasets.archive import pack, unpack
from lapwing.datasets.base import Content, Dataset, Member, RemoteFile
from lapwing.datasets.mirror import mark_of, mirror_copies, what_is_missing
from lapwing.datasets.raw import (
    MANIFEST,
    PACKED,
    Manifest,
    as_recorded,
    look_at,
    read_manifest,
    verify,
    write_manifest,
)
from lapwing.datasets.remote import Patience, fetch
from lapwing.errors import UserError
from lapwing.files import sync, written_aside

logger = logging.getLogger(__name__)

AnyContent = TypeVar("AnyContent", bound=Content)


def download(
    dataset_key: str,
    folder: Path,
    mirrors: Sequence[Path],
    offline: bool,
    accepted: Collection[str],
    *,
    part: bool = False,
) -> None:
    """Make `folder` the complete raw folder of a dataset, or leave it as it was.

    Args:
        dataset_key: A key of `lapwing.datasets.datasets`.
        folder: `resources/raw/<dataset>`.
        mirrors: `data.mirror`: folders that are tried first, in this order.
        offline: `data.offline`: nothing is fetched from the network.
        accepted: `data.accept`: the terms that a person has accepted.
        part: a part of an archive is enough, where a mirror holds one.

    Raises:
        UserError: something is missing or wrong; its sentence says what to do.
    """
    download_files(dataset_key, datasets.get(dataset_key), folder, mirrors, offline, accepted, part=part)


def check_available(
    dataset_key: str,
    mirrors: Sequence[Path],
    offline: bool,
    accepted: Collection[str],
    folder: Path | None = None,
    *,
    part: bool = False,
) -> str | None:
    """The one thing that a person must do before `download` can succeed; None if there is none.

    Cheap: looks for files and reads none. What is in the raw `folder` already needs no mirror. Of the
    datasets that it uses the same is asked; their raw folders lie beside `folder`.
    """
    return missing_step(dataset_key, datasets.get(dataset_key), mirrors, offline, accepted, folder, part=part)


def missing_step(
    key: str,
    dataset: Dataset,
    mirrors: Sequence[Path],
    offline: bool,
    accepted: Collection[str],
    folder: Path | None = None,
    *,
    part: bool = False,
) -> str | None:
    """What `check_available` says, for a dataset that need not be registered."""
    problem = _missing_step(key, dataset, mirrors, offline, accepted, folder, part)
    for used in dataset.uses:
        beside = folder.with_name(used) if folder else None
        problem = problem or _missing_step(used, datasets.get(used), mirrors, offline, accepted, beside, part)
    return problem


def _missing_step(
    key: str,
    dataset: Dataset,
    mirrors: Sequence[Path],
    offline: bool,
    accepted: Collection[str],
    folder: Path | None,
    part: bool,
) -> str | None:
    """What is missing of a dataset's own files."""
    problem = _permission(key, dataset, mirrors, accepted)
    if problem or not offline:
        return problem
    if folder and all((folder / content.name).is_file() for content in dataset.kept):
        return None
    return what_is_missing(key, dataset, dataset.files, mirrors, part=part)


def _permission(key: str, dataset: Dataset, mirrors: Sequence[Path], accepted: Collection[str]) -> str | None:
    """What the configuration lacks, whatever files there are."""
    if dataset.terms and dataset.terms.key not in accepted:
        return (
            f"{key}: the terms of {dataset.title} ({dataset.licence}) must be accepted first; read "
            f"{dataset.terms.address}, then add {dataset.terms.key} to data.accept in config.yaml."
        )
    for mirror in mirrors:
        if not mirror.is_dir():
            return f"data.mirror in config.yaml names {mirror}, and there is no such folder."
    return None


def marks_of_part(dataset: Dataset, mirrors: Sequence[Path], folder: Path) -> dict[str, str]:
    """What tells a part of a collection from another: marks of what mirrors hold in place of its archives.

    Where no mirror has any, that of which the raw `folder` was made: a mirror that is away or cannot be read
    changes nothing.
    """
    recorded = _recorded(folder)
    marks = {file.name: recorded.get(file.name, {}).get(PACKED) for file in dataset.files}
    for file in dataset.files:
        with contextlib.suppress(OSError):
            if copy := mirror_copies(file, dataset, mirrors, part=True).get(file.name):
                marks[file.name] = mark_of(file, copy)
    # What was packed before there were marks says only that it was.
    return {name: mark for name, mark in marks.items() if isinstance(mark, str)}


def download_files(
    key: str,
    dataset: Dataset,
    folder: Path,
    mirrors: Sequence[Path] = (),
    offline: bool = False,
    accepted: Collection[str] = (),
    patience: Patience | None = None,
    *,
    part: bool = False,
) -> None:
    """What `download` does, for a dataset that need not be registered.

    Raises:
        UserError: something is missing or wrong; its sentence says what to do.
    """
    problem = _permission(key, dataset, mirrors, accepted)
    if problem:
        raise UserError(problem)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(f"lock-{folder.name}")):
            patience = patience or Patience()
            work = _Work(key, dataset, folder, mirrors, offline, patience, _recorded(folder), part)
            if any(map(work.is_changed, dataset.files)) or not _is_complete(dataset, folder):
                work.do()
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be used: {error.strerror or error}.") from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time in; the lock goes when the process does."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("waiting for the process that holds %s", path)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_complete(dataset: Dataset, folder: Path) -> bool:
    if not (folder / MANIFEST).is_file():
        return False
    try:
        verify(dataset, folder)
    except UserError as problem:
        logger.warning("fetching again: %s", problem)
        return False
    return True


def _recorded(folder: Path) -> Manifest:
    try:
        return read_manifest(folder)
    except UserError:
        return {}


@dataclass(frozen=True)
class _Work:
    """One download in progress, in the folder `part`; what is verified waits in `whole`."""

    key: str
    dataset: Dataset
    folder: Path
    mirrors: Sequence[Path]
    offline: bool
    patience: Patience
    recorded: Manifest
    """The manifest of the raw folder that is to be replaced, where it can be read."""
    part: bool
    """Whether a part of an archive is enough."""

    @property
    def workplace(self) -> Path:
        return self.folder.with_name(f"part-{self.folder.name}")

    @property
    def whole(self) -> Path:
        return self.workplace / "whole"

    def copies(self, file: RemoteFile) -> dict[str, Path]:
        """Where mirrors hold a file, or what stands for it."""
        return mirror_copies(file, self.dataset, self.mirrors, part=self.part)

    def do(self) -> None:
        """Bring every file, then put the folder in place."""
        self.whole.mkdir(parents=True, exist_ok=True)
        reused = {file.name: self.reused(file) for file in self.dataset.files}
        needed = [file for file in self.dataset.files if not reused[file.name]]
        self.must_be_possible(needed)
        entries = [*reused.values(), *(self.brought(file) for file in needed)]
        self.put_in_place({name: entry for some in entries for name, entry in some.items()})

    def must_be_possible(self, needed: Sequence[RemoteFile]) -> None:
        """Refuse what can be known to fail before anything is fetched."""
        if self.offline:
            problem = what_is_missing(self.key, self.dataset, needed, self.mirrors, part=self.part)
            if problem:
                raise UserError(problem)
        space, free = sum(map(self.space, needed)), shutil.disk_usage(self.workplace).free
        if space > free:
            raise UserError(
                f"{self.key} needs {space / 1e6:.1f} MB in {self.folder.parent}, where {free / 1e6:.1f} MB "
                "are free; make room, then start again."
            )

    def space(self, file: RemoteFile) -> int:
        """Bytes that bringing `file` takes, as far as sizes are known."""
        fetched = file.members and not self.copies(file)
        kept = sum(content.expected_size for content in file.kept)
        return kept + (file.expected_size if fetched else 0)

    def is_changed(self, file: RemoteFile) -> bool:
        """Whether a mirror holds another part of a file than that which the raw folder was made of."""
        mark = self.recorded.get(file.name, {}).get(PACKED)
        copy = self.copies(file).get(file.name) if self.part and mark else None
        return copy is not None and mark != mark_of(file, copy)

    # -- what is there already ---------------------------------------------------------------------

    def reused(self, file: RemoteFile) -> Manifest:
        """Entries of what an earlier download left of `file`; empty unless all of it is as it should be."""
        if self.is_changed(file):
            return {}
        entries = {content.name: self.reused_content(content) for content in file.kept}
        return {name: entry for name, entry in entries.items() if entry} if all(entries.values()) else {}

    def reused_content(self, content: Content) -> dict[str, Any] | None:
        origin = self.recorded.get(content.name, {}).get("from", "an earlier download")
        for path in (self.whole / content.name, self.folder / content.name):
            found = look_at(path) if path.is_file() else None
            if found and any(known.mismatch(found) is None for known in self.known(content)):
                _copy(path, self.whole / content.name)
                mark = self.recorded.get(content.name, {}).get(PACKED)
                packed = {PACKED: mark} if mark else {}
                return {"sha256": found.sha256, "size": found.size, "from": origin, **packed}
        return None

    def known(self, content: Content) -> Iterator[Content]:
        """Everything that `content` may hold."""
        if content.has_digest and not self.recorded.get(content.name, {}).get(PACKED):
            yield content
            return
        if isinstance(content, Member) and content.copy_sha256:
            yield content.alone
        if content.name in self.recorded:
            yield as_recorded(content, self.recorded)

    # -- what has to be brought --------------------------------------------------------------------

    def brought(self, file: RemoteFile) -> Manifest:
        """Bring what is kept of `file` to `whole`; its entries of the manifest."""
        copies = self.copies(file)
        if not copies:
            return self.fetched(file)
        if file.tree and (packed := self.packed(file, copies[file.name])):
            return packed
        if file.name not in copies:
            return self.copied([self.expected(member.alone) for member in file.members], copies)
        if not file.members:
            return self.copied([self.expected(file)], copies)
        self.entry(file, copies[file.name], str(copies[file.name]))
        return self.unpacked(file, copies[file.name], str(copies[file.name]))

    def fetched(self, file: RemoteFile) -> Manifest:
        partial = self.workplace / f"{file.name}.partial"
        url = fetch(self.expected(file), partial, self.patience)
        if file.members:
            try:
                return self.unpacked(file, partial, url)
            finally:
                partial.unlink()
        entry = self.entry(file, partial, url)
        partial.replace(self.whole / file.name)
        return {file.name: entry}

    def packed(self, file: RemoteFile, source: Path) -> Manifest:
        """An archive out of a folder that holds its files, or a part of it; empty for the official one."""
        mark, target = mark_of(file, source), self.whole / file.name
        if mark is None:
            return {}
        if source.is_dir():
            pack(source, file.tree, target, file.needed)
        else:
            _copy(source, target)
        found = look_at(target)
        return {file.name: {"sha256": found.sha256, "size": found.size, "from": str(source), PACKED: mark}}

    def copied(self, contents: Iterable[Content], copies: dict[str, Path]) -> Manifest:
        entries = {}
        for content in contents:
            source = copies[content.name]
            entries[content.name] = self.entry(content, source, str(source))
            _copy(source, self.whole / content.name)
        return entries

    def unpacked(self, file: RemoteFile, archive: Path, origin: str) -> Manifest:
        unpack(archive, file.members, self.whole)
        entries = {}
        for member in file.members:
            # The digest of an archive vouches for its members: what was recorded before need not agree.
            expected = member if file.has_digest else self.expected(member)
            entries[member.name] = self.entry(expected, self.whole / member.name, origin)
        return entries

    def expected(self, content: AnyContent) -> AnyContent:
        """With the digest of the first download where none is published."""
        if content.has_digest or content.name not in self.recorded:
            return content
        first = as_recorded(content, self.recorded)
        return replace(content, sha256=first.sha256, size=first.size)

    def entry(self, expected: Content, path: Path, origin: str) -> dict[str, Any]:
        """The entry of the manifest for the file at `path`, which came from `origin`."""
        found = look_at(path)
        problem = expected.mismatch(found)
        if problem:
            whose = "" if expected.name in origin else f"{expected.name} of "
            raise UserError(
                f"{self.key}: {whose}{origin} {problem}; it was not used, put the right file into a folder "
                "of data.mirror in config.yaml."
            )
        return {"sha256": found.sha256, "size": found.size, "from": origin}

    def put_in_place(self, manifest: Manifest) -> None:
        """Give `whole` the name of the raw folder, and clear away what it replaces."""
        write_manifest(self.whole, manifest, self.key)
        for path in [path for path in self.whole.rglob("*") if path.is_file()]:
            if path.relative_to(self.whole).as_posix() not in {*manifest, MANIFEST}:
                path.unlink()
        replaced = self.workplace / "replaced"
        shutil.rmtree(replaced, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(replaced)
        self.whole.rename(self.folder)
        sync(self.folder.parent)
        shutil.rmtree(self.workplace, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    if source != target:
        with written_aside(target) as aside:
            shutil.copyfile(source, aside)
