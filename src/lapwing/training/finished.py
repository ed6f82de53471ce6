"""Runs that were trained before, and where unfinished ones stand: memory only, never trusted blindly.

    <folder>/<key>/seed=<s>/{metrics.parquet, sources.parquet, run.json}   a finished run, whole or absent
    <folder>/<key>/seed=<s>-<origin>/…                                     another, where that does not count
    <folder>/<key>/checkpoint-seeds=<…>.safetensors                        runs at the end of an epoch
    <folder>/<key>/lock-seed=<s>                                           held while a process works on it

The key is a hash of what decides the numbers; where they were trained is no part of it (`origin.py`). What is
read is checked; what is damaged is renamed to `damaged-…`, named in the log, and trained again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import itertools
import logging
import os
import shutil
import socket
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from lapwing import files
from lapwing.errors import UserError
from lapwing.files import Array
from lapwing.training.origin import Cache, Counting
from lapwing.training.settings import RunSettings

log = logging.getLogger(__name__)

NOT_WHAT_WAS_WRITTEN = (files.DamagedFile, files.MissingFile, KeyError, TypeError)
"""What sets a file aside; one that merely cannot be read now is left alone."""

PARTS = ("metrics.parquet", "sources.parquet", "run.json")
"""The files of a finished run."""

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system says that knows no locks."""


def data_digest(path: Path) -> str:
    """A hash of all of a prepared file that decides numbers; only its header is read."""
    about = files.read_about(path)
    decisive = {name: about.get(name) for name in ("scale", "task", "classes", "groups")}
    decisive |= {name: about[name] for name in ("normalisation", "vocabulary") if name in about}
    return files.content_key({"content": files.content_hash(path), **decisive}, length=64)


def run_key(settings: RunSettings, data: str) -> str:
    """The key of a cell's runs: its settings and the digest of the prepared data."""
    return files.content_key({"settings": settings.model_dump(mode="json"), "data": data}, length=16)


def recorded_seconds(folder: Path, key: str, counting: Counting) -> dict[int, float]:
    """How long the finished runs of a key took that count, by seed."""
    said = _said(folder / key, counting).items()
    return {seed: float(about["seconds"]) for seed, about in said if "seconds" in about}


def _said(folder: Path, counting: Counting) -> dict[int, dict[str, Any]]:
    """What the finished runs that count say of themselves, by seed; what cannot be read is left out."""
    said = {}
    for path in folder.glob("seed=*/run.json"):
        with contextlib.suppress(UserError, KeyError, TypeError):
            about = files.read_json(path)
            if counting.counts(about):
                said[int(about["seed"])] = about
    return said


@contextlib.contextmanager
def shared_as(folder: Path) -> Iterator[None]:
    """Whatever the umask, let the group of a folder use what is made in it meanwhile.

    If it is to share it: the folder is group-writable, and setgid hands its group on (`chmod g+ws`).
    """
    needed = stat.S_ISGID | stat.S_IWGRP
    shared = folder.stat().st_mode & needed == needed
    before = os.umask(0o077)
    os.umask(before & ~stat.S_IRWXG if shared else before)
    try:
        yield
    finally:
        os.umask(before)


@dataclass(frozen=True)
class FinishedRun:
    """What a run leaves: tables without the columns of axes and seed, and how it was made."""

    metrics: pd.DataFrame
    sources: pd.DataFrame
    about: dict[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """K runs at the end of an epoch: arrays [K, …], and what they share."""

    path: Path
    seeds: tuple[int, ...]
    arrays: Mapping[str, Array]
    about: Mapping[str, Any]

    def of(self, seeds: Sequence[int]) -> dict[str, Array]:
        """The rows of some of its seeds."""
        rows = [self.seeds.index(seed) for seed in seeds]
        return {name: array[rows] for name, array in self.arrays.items()}


class FinishedRuns:
    """The finished and unfinished runs of one key.

    Args:
        folder: of all finished runs.
        key: of these.
        counting: which of them count here.
    """

    def __init__(self, folder: Path, key: str, counting: Counting | None = None) -> None:
        self.key = key
        self.folder = folder / key
        self.counting = counting or Counting()
        self._held: set[int] = set()
        """The seeds whose locks are ours: nobody else works on them."""

    # -- finished runs -----------------------------------------------------------------------------

    def read(self, seed: int) -> FinishedRun | None:
        """A finished run that counts, or None; changes nothing, so it needs no lock and no right to write.

        Raises:
            UserError: it may not be read.
        """
        with self._for_its_group():
            places = self._places(seed)
        for folder in places:
            with contextlib.suppress(*NOT_WHAT_WAS_WRITTEN):
                run = self._read(folder, seed)
                if self.counting.counts(run.about):
                    return run
        return None

    def _read(self, folder: Path, seed: int) -> FinishedRun:
        about = files.read_json(folder / "run.json")
        metrics, of_metrics = files.read_table_with_about(folder / "metrics.parquet")
        sources, of_sources = files.read_table_with_about(folder / "sources.parquet")
        for said in (about, of_metrics, of_sources):
            if (said["key"], said["seed"]) != (self.key, seed):
                raise files.DamagedFile(folder, "it belongs to another run")
        return FinishedRun(metrics, sources, about)

    def write(self, seed: int, run: FinishedRun) -> None:
        """Keep a finished run: written aside, then renamed, so that it is whole or absent.

        A run that is there already stays as it is. If it is one that does not count, this one is kept under a
        name of its own; if it does, the file system knows no locks, and one of the two is enough.

        Raises:
            UserError: it cannot be written, or was removed meanwhile.
        """
        if seed in self._held:
            self._clear_leftovers(seed)
        aside = files.beside(self.folder / f"seed={seed}")
        what = {"key": self.key, "seed": seed}
        files.write_table(aside / "metrics.parquet", run.metrics, what)
        files.write_table(aside / "sources.parquet", run.sources, what)
        files.write_json(aside / "run.json", run.about, what)
        place = self._place(seed)
        try:
            if not all((aside / name).is_file() for name in PARTS):  # somebody took it for a leftover
                raise UserError(f"{aside} was removed while it was written; start again.")
            aside.rename(place)
        except OSError as error:
            shutil.rmtree(aside, ignore_errors=True)
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise UserError(f"{place} cannot be written: {error.strerror}.") from error
        files.sync(self.folder)

    def _run(self, seed: int) -> Path:
        return self.folder / f"seed={seed}"

    def _own(self, seed: int) -> Path:
        """Where a run from here is kept while one from elsewhere has the plain name."""
        return self.folder / f"seed={seed}-{self.counting.here.tag}"

    def _place(self, seed: int) -> Path:
        """Where a new run belongs; names that runs have which do not count are left to them."""
        plain, own = self._run(seed), self._own(seed)
        if seed in _said(self.folder, self.counting):
            return plain
        further = (own.with_name(f"{own.name}-{number}") for number in itertools.count(2))
        return next(place for place in itertools.chain((plain, own), further) if not place.is_dir())

    def _places(self, seed: int) -> list[Path]:
        """Where the seed's runs are; one from here stands before those from elsewhere."""
        found = [self._run(seed), *sorted(self.folder.glob(f"seed={seed}-*"))]
        own = self._own(seed).name
        there = [path for path in found if path.is_dir()]
        return sorted(there, key=lambda path: not path.name.startswith(own))

    def _set_damaged_aside(self, seed: int) -> None:
        for folder in self._places(seed):
            try:
                self._read(folder, seed)
            except NOT_WHAT_WAS_WRITTEN as error:
                self.set_aside(folder, error)

    def _clear_leftovers(self, seed: int) -> None:
        """Remove what killed processes were writing; nobody else works on a run that is locked by us."""
        for path in self.folder.glob(f"part-*-seed={seed}"):
            shutil.rmtree(path, ignore_errors=True)

    def set_aside(self, path: Path, error: Exception) -> None:
        """Rename what is of no use, and say so; another process may have done it before."""
        aside = path.with_name(f"damaged-{time.time_ns()}-{path.name}")
        try:
            path.rename(aside)
        except FileNotFoundError:
            return
        log.warning("%s was set aside as %s and is trained again: %s", path, aside.name, error)

    # -- locks -------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self, seeds: Sequence[int]) -> Iterator[None]:
        """Work on these runs alone; waits for other processes that do, then sets aside what is damaged.

        Every process takes its locks in ascending order, those of one key at a time: none waits in a circle.

        Raises:
            UserError: nothing may be written there.
        """
        with self._for_its_group():
            self.folder.parent.mkdir(parents=True, exist_ok=True)
        with shared_as(self.folder.parent), contextlib.ExitStack() as held:
            for seed in sorted(seeds):
                file = held.enter_context(self._lock_file(seed))
                if self._lock(file, seed):
                    held.callback(self._held.discard, seed)
                    self._held.add(seed)
                self._set_damaged_aside(seed)
            yield

    def _lock_file(self, seed: int) -> TextIO:
        with self._for_its_group():
            self.folder.mkdir(exist_ok=True)
            return (self.folder / f"lock-seed={seed}").open("a+")

    @contextlib.contextmanager
    def _for_its_group(self) -> Iterator[None]:
        """Of what this user may not use, say how several users share a folder."""
        try:
            yield
        except PermissionError as error:
            raise UserError(
                f"{error.filename} cannot be used: {error.strerror}; if several users share "
                f"{self.folder.parent}, it must be made for a group (docs/reruns.md)."
            ) from error

    def _lock(self, file: TextIO, seed: int) -> bool:
        """Lock an open file, unless there are no locks; it then says by whom it is locked."""
        known = True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            log.info("run %s seed %d: %s trains it, waiting", self.key, seed, holder)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            known = False
            log.warning("%s: the file system knows no locks; two jobs may train the same run", file.name)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        return known

    # -- checkpoints -------------------------------------------------------------------------------

    def checkpoint_path(self, seeds: Sequence[int]) -> Path:
        """Where a stack of these seeds is saved."""
        names = "+".join(str(seed) for seed in seeds)
        if len(names) > 60:
            names = f"{len(seeds)}-{hashlib.sha256(names.encode()).hexdigest()[:12]}"
        if self.counting.cache != Cache():  # it must not take the place of one that does not count
            names = f"{names}-{self.counting.here.tag}"
        return self.folder / f"checkpoint-seeds={names}.safetensors"

    def save(self, seeds: Sequence[int], arrays: Mapping[str, Array], about: Mapping[str, Any]) -> None:
        """Save a stack at the end of an epoch, whole, in place of the epoch before."""
        path = self.checkpoint_path(seeds)
        for leftover in self.folder.glob(f"part-*-{path.name}"):
            leftover.unlink(missing_ok=True)
        files.write_arrays(path, arrays, {"key": self.key, "seeds": list(seeds), **about})

    def checkpoints(self, pending: Sequence[int]) -> list[tuple[Checkpoint, list[int]]]:
        """Where pending seeds can go on: checkpoints and the seeds to take from each, the furthest first."""
        paths = sorted(self.folder.glob("checkpoint-*.safetensors"))
        found = [self._load(path) for path in paths if self._concerns(path, pending)]
        usable = sorted((c for c in found if c), key=lambda c: -c.about["counters"]["epoch"])
        taken: set[int] = set()
        plan = []
        for checkpoint in usable:
            seeds = [seed for seed in checkpoint.seeds if seed in pending and seed not in taken]
            taken.update(seeds)
            if seeds:
                plan.append((checkpoint, seeds))
        return plan

    def _concerns(self, path: Path, pending: Sequence[int]) -> bool:
        try:
            about = files.read_about(path)
            return self.counting.counts(about) and not set(about["seeds"]).isdisjoint(pending)
        except NOT_WHAT_WAS_WRITTEN:
            return True  # to be set aside when it is read

    def _load(self, path: Path) -> Checkpoint | None:
        try:
            arrays, about = files.read_arrays(path)
            if about["key"] != self.key:
                raise files.DamagedFile(path, "it belongs to other runs")
            if not isinstance(about["counters"]["epoch"], int):
                raise files.DamagedFile(path, "it does not say after which epoch it was written")
            return Checkpoint(path, tuple(about["seeds"]), arrays, about)
        except NOT_WHAT_WAS_WRITTEN as error:
            self.set_aside(path, error)
            return None

    def forget_checkpoints(self) -> None:
        """Remove the checkpoints that are ours and all of whose runs are finished.

        One under another name belongs to those who take less for finished than we do.
        """
        finished = _said(self.folder, self.counting).keys()
        for path in self.folder.glob("checkpoint-*.safetensors"):
            with contextlib.suppress(UserError, KeyError, TypeError, OSError):  # it costs only room
                about = files.read_about(path)
                ours = path == self.checkpoint_path(about["seeds"]) and self.counting.counts(about)
                if ours and finished >= set(about["seeds"]):
                    path.unlink(missing_ok=True)
