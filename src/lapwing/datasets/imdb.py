"""IMDB: 50,000 film reviews, for or against the film (Maas et al. 2011)."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lapwing.datasets._text import text_arrays
from lapwing.datasets.archive import read_members
from lapwing.datasets.base import MIB, Dataset, RemoteFile
from lapwing.errors import UserError
from lapwing.files import Array

ARCHIVE, TREE = "aclImdb_v1.tar.gz", "aclImdb"
SPLITS, OPINIONS = ("train", "test"), ("neg", "pos")
"""The number of an opinion is its label."""
REVIEW = re.compile(rf"{TREE}/(train|test)/(neg|pos)/(\d+)_(\d+)\.txt")
LONGEST = 256
"""Words of a review that are kept."""
LARGEST = 1024 * MIB
"""What the archive may unpack to: all reviews are in memory."""


class Review(NamedTuple):
    """Where a review belongs; reviews are in the order of these fields."""

    label: int
    number: int
    stars: int
    text: str


def read(folder: Path) -> dict[str, Array]:
    """Reviews as numbers of words int32 [N, 256]; label 0 is against the film, 1 for it.

    All that are against come first, each in the order of their official numbers. The vocabulary is
    that of the training reviews (spec lap-experiments 6.6).
    """
    return read_reviews(folder / ARCHIVE, LONGEST)


def read_reviews(archive: Path, length: int) -> dict[str, Array]:
    """The arrays of an archive of the official layout, with `length` words of each review.

    Raises:
        UserError: the archive is damaged, a review is no UTF-8, or there are none of a kind.
    """
    reviews: dict[str, list[Review]] = {split: [] for split in SPLITS}
    for split, review in _reviews(archive):
        reviews[split].append(review)
    for split, some in reviews.items():
        some.sort()
        for label, opinion in enumerate(OPINIONS):
            if not any(review.label == label for review in some):
                raise UserError(
                    f"{archive.name} holds no review {TREE}/{split}/{opinion}/<number>_<stars>.txt."
                )
    texts = {split: [review.text for review in some] for split, some in reviews.items()}
    arrays = text_arrays(texts, length, vocabulary_of=["train"])
    for split, some in reviews.items():
        arrays[f"{split}/targets"] = np.array([review.label for review in some], np.int64)
    return arrays


def _reviews(archive: Path) -> Iterator[tuple[str, Review]]:
    """Each review with its split, in the order of the archive; what else is there (`unsup`) is left alone."""
    for name, content in read_members(
        archive, lambda name: REVIEW.fullmatch(name) is not None, total=LARGEST
    ):
        if match := REVIEW.fullmatch(name):
            split, opinion, number, stars = match.groups()
            try:
                text = content.decode()
            except UnicodeDecodeError as error:
                raise UserError(f"{archive.name}: {name} is no UTF-8 text ({error.reason}).") from None
            yield split, Review(OPINIONS.index(opinion), int(number), int(stars), text)


DATASET = Dataset(
    title="IMDB",
    version=1,
    task="classification",
    classes=2,
    scale=1.0,
    inputs="tokens",
    input_shape=(LONGEST,),
    rows={"train": 25_000, "test": 25_000},
    licence="none stated (Maas et al. 2011, cite the paper)",
    read=read,
    partial=True,
    mirror_folder="imdb",
    files=(
        RemoteFile(
            name=ARCHIVE,
            urls=("https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",),
            size=84_125_825,
            md5="7c2ac02c03563afcf9b574c7e56c153a",
            tree=TREE,
            parts=("imdb-subset/aclImdb_subset.tar.gz",),
        ),
    ),
)
