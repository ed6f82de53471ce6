"""What a dataset declares: its files, their digests, its licence, and how the files become arrays."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lapwing.files import Array, Streamed

MIB = 2**20


@dataclass(frozen=True)
class Found:
    """What a file turned out to hold."""

    size: int
    sha256: str
    md5: str
    beginning: bytes
    """Its first bytes, which tell a web page from data."""

    @property
    def is_web_page(self) -> bool:
        """Whether it begins as an HTML page does."""
        return self.beginning.lstrip().lower().startswith((b"<!doctype html", b"<html"))


@dataclass(frozen=True, kw_only=True)
class Content:
    """A file by name, and what its authors or the usual loaders publish of its bytes.

    The digest is a SHA-256, or where only that is published an MD5 and the size; where neither is
    known, none: that of the first download is recorded, and compared afterwards.
    """

    name: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    largest: int = 1024 * MIB
    """Bytes that are accepted at most where the size is not known."""
    roughly: int | None = None
    """Bytes where the size is not known exactly: for what is said and checked before a download."""

    @property
    def expected_size(self) -> int:
        """Bytes as far as is known, to plan with."""
        return self.size or self.roughly or 0

    @property
    def limit(self) -> int:
        """Bytes that are accepted at most."""
        return self.largest if self.size is None else self.size

    @property
    def has_digest(self) -> bool:
        """Whether a digest is published."""
        return bool(self.sha256 or self.md5)

    def mismatch(self, found: Found) -> str | None:
        """How `found` differs from what is published, as the end of a sentence that begins with the file."""
        kind = "SHA-256" if self.sha256 else "MD5"
        expected, digest = (self.sha256, found.sha256) if self.sha256 else (self.md5, found.md5)
        if expected in (None, digest) and self.size in (None, found.size):
            return None
        has = f"{kind} {digest} and {found.size} bytes" if expected else f"{found.size} bytes"
        wants = [f"{kind} {expected}"] * bool(expected) + [f"{self.size} bytes"] * bool(self.size)
        page = " (it is a web page)" if found.is_web_page else ""
        return f"has {has}{page}, expected {' and '.join(wants)}"


@dataclass(frozen=True, kw_only=True)
class Member(Content):
    """A file inside an archive; its name is its path there."""

    copy_sha256: str | None = None
    """The SHA-256 of a known copy with the same values, accepted when it comes without its archive."""

    @property
    def alone(self) -> Content:
        """What is expected of it when it comes without its archive."""
        if self.copy_sha256 is None:
            return self
        return Content(name=self.name, sha256=self.copy_sha256, largest=self.limit)


@dataclass(frozen=True, kw_only=True)
class RemoteFile(Content):
    """A file to fetch; of an archive only its `members` are kept.

    An archive of very many files is kept whole: it has a `tree` in place of members, and `read` goes through
    it (`lapwing.datasets.archive.read_members`). Its format is told by its content, not by its name.
    """

    urls: tuple[str, ...]
    """The official address first, then known copies."""
    members: tuple[Member, ...] = ()
    tree: str = ""
    """The folder inside the archive; a mirror may hold this folder in place of the archive."""
    parts: tuple[str, ...] = ()
    """Where a mirror may hold a part of an archive with a `tree`, from the mirror's root: an archive, or a
    folder that stands for the tree. Used at scale `subset` only."""
    needed: tuple[str, ...] = ("*",)
    """Patterns of the paths below the tree that `read` asks for: of a folder, nothing else is packed."""

    @property
    def kept(self) -> tuple[Content, ...]:
        """What the raw folder holds of it."""
        return self.members or (self,)


@dataclass(frozen=True)
class Terms:
    """What a person must accept before the data may be fetched or used."""

    key: str
    """The word for `data.accept` in config.yaml."""
    address: str
    """Where they are to be read."""


@dataclass(frozen=True)
class Recording:
    """How signals were recorded."""

    leads: tuple[str, ...]
    """The names of the channels, upper case."""
    units: tuple[str, ...]
    """Of each channel: mV."""
    frequency: float
    """Samples per second."""

    def about(self) -> dict[str, Any]:
        """What a prepared file says of it under `recording`."""
        return {"leads": list(self.leads), "units": list(self.units), "frequency": self.frequency}


Kind = Literal["source", "labels", "detail"]
"""What a further array holds, int64 [N].

`source`: who supplied each training row, 0 to S - 1, none left out. `labels`: other labels of the
training rows, 0 to classes - 1. `detail`: what only the dataset's `view` reads, of the rows of each split.
"""


@dataclass(frozen=True, kw_only=True)
class View:
    """What a seed takes of the prepared data; rows not named are left aside."""

    train: Array
    """Rows of `train/inputs`, int64 [N]."""
    train_targets: Array
    """The targets of these rows, int64 [N]: the view may give other labels than the prepared file."""
    test: Array
    """Rows of `test/inputs`, int64 [M]."""
    test_targets: Array
    """The targets of these rows, int64 [M]."""
    classes: int
    """The labels 0 to classes - 1 are those of the rows that the study deals: what corruptions draw from."""
    source: Array
    """Who supplies each training row, int64 [N]: -1 where the study deals the row to one of its sources;
    f >= 0 for a fixed source, which gets the id that follows f places after the last dealt one (the number
    of dealt sources + f)."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One published collection.

    `read` turns a complete raw folder into `train/inputs` (uint8 images [N, C, H, W], float32
    features [N, D] or signals [N, C, T], int32 tokens [N, L]), `train/targets` (int64 [N]; float32 [N] for
    regression), `test/inputs`, `test/targets` where the collection has a test split, the arrays of `further`,
    and of tokens the `vocabulary`. What is too large for memory comes `Streamed`. It finds the raw folders of
    the datasets in `uses` beside its own: folder.parent / key.
    """

    title: str
    version: int
    """Goes up when what `read` or `view` gives changes."""
    task: Literal["classification", "regression"]
    classes: int | None
    scale: float
    """What uint8 inputs are multiplied by; 1.0 for features."""
    input_shape: tuple[int, ...]
    """Of one sample."""
    rows: Mapping[str, int]
    """The samples of each split: {"train": 60000, "test": 10000}."""
    licence: str
    read: Callable[[Path], Mapping[str, Array | Streamed]]
    inputs: Literal["numbers", "tokens"] = "numbers"
    """`tokens`: numbers of words; then there is `vocabulary`, uint8: the words in the order of their numbers,
    UTF-8, one on each line."""
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """Mean and standard deviation of each channel of the scaled inputs, taken out after corruption."""
    recording: Recording | None = None
    """Of signals: what their channels are, and how often they were sampled."""
    partial: bool = False
    """Whether `read` copes with a part of the collection, as scale `subset` takes it."""
    total: int | None = None
    """The rows of all splits, where only their sum is published: `rows` is about right then, and how many of
    them are in each split is found."""
    terms: Terms | None = None
    mirror_folder: str = ""
    """The name of its folder in a mirror; empty where there are no files."""
    files: tuple[RemoteFile, ...] = field(default=())
    uses: tuple[str, ...] = ()
    """Other datasets whose raw folders are read too; these use none themselves."""
    further: Mapping[str, Kind] = field(default_factory=dict)
    """Arrays beside inputs and targets: `train/<name>` (and `test/<name>` of a `detail`)."""
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Classes whose accuracy is reported apart: {"difficult": (10, 11)}."""
    view: Callable[[Mapping[str, Array], int], View] | None = None
    """(prepared arrays, seed) → what the seed takes of them; None: each seed takes everything."""

    def splits_of(self, name: str) -> tuple[str, ...]:
        """The splits for whose rows there is the further array `name`."""
        return tuple(self.rows) if self.further[name] == "detail" else ("train",)

    @property
    def kept(self) -> tuple[Content, ...]:
        """All files that the complete raw folder holds."""
        return tuple(content for file in self.files for content in file.kept)
