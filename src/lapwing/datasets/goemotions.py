"""GoEmotions: comments from Reddit, each judged by raters who are named by number (Demszky et al. 2020)."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lapwing.corruption.split import torch_permutation
from lapwing.datasets._text import text_arrays
from lapwing.datasets.base import Dataset, RemoteFile
from lapwing.errors import UserError, optional
from lapwing.files import Array

EMOTIONS = (
    "admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity",
    "desire", "disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear",
    "gratitude", "grief", "joy", "love", "nervousness", "optimism", "pride", "realization", "relief",
    "remorse", "sadness", "surprise", "neutral",
)  # fmt: skip
"""The place of an emotion is its label."""
FILES = ("goemotions_1.csv", "goemotions_2.csv", "goemotions_3.csv")
LONGEST = 128
"""Words of a comment that are kept."""
TRAIN_SHARE, SPLIT_SEED = 0.8, 42
"""The published split is drawn once, from the base seed of all runs."""


def read(folder: Path) -> dict[str, Array]:
    """Comments with exactly one emotion as numbers of words int32 [N, 128], their labels, and who gave them.

    The vocabulary is that of all comments, those of the test included (spec lap-experiments 6.11).
    """
    return read_tables([folder / name for name in FILES], EMOTIONS, LONGEST)


def read_tables(paths: Sequence[Path], emotions: Sequence[str], length: int) -> dict[str, Array]:
    """The arrays of tables in the official format, one judgement a row, with `length` words of each comment.

    `train/source` is the rater's number. The rows are split as PyTorch's `random_split` does.

    Raises:
        UserError: a table has not the official columns, or says something else than 0 or 1 of an emotion.
    """
    tables = [_table(path, emotions) for path in paths]
    texts = [text for table in tables for text in table.texts]
    raters, flags = (np.concatenate(parts) for parts in zip(*(table[1:] for table in tables), strict=True))
    single = np.flatnonzero(flags.sum(axis=1) == 1)
    shuffled = single[torch_permutation(len(single), SPLIT_SEED)]
    size = int(TRAIN_SHARE * len(shuffled))
    rows = {"train": shuffled[:size], "test": shuffled[size:]}
    chosen = {split: [texts[row] for row in some.tolist()] for split, some in rows.items()}
    arrays = text_arrays(chosen, length, vocabulary_of=["train", "test"])
    for split, some in rows.items():
        arrays[f"{split}/targets"] = flags[some].argmax(axis=1)
    return {**arrays, "train/source": raters[rows["train"]]}


class _Table(NamedTuple):
    """What N judgements say."""

    texts: list[str]
    raters: Array
    """[N]"""
    flags: Array
    """[N, emotions] 0 or 1."""


def _table(path: Path, emotions: Sequence[str]) -> _Table:
    columns = _read_csv(path, {"text": "string", "rater_id": "int64", **dict.fromkeys(emotions, "int64")})
    flags = np.stack([np.asarray(columns[name], np.int64) for name in emotions], axis=1)
    wrong = flags[(flags < 0) | (flags > 1)]
    if wrong.size:
        raise UserError(f"{path.name}: an emotion is 0 or 1; one of them is {wrong[0]}.")
    return _Table(list(columns["text"]), np.asarray(columns["rater_id"], np.int64), flags)


def _read_csv(path: Path, types: Mapping[str, str]) -> dict[str, Sequence[Any]]:
    """Some columns, of these types, read by Hugging Face's `datasets`; for a local file it asks no hub."""
    datasets = optional("datasets", "text")
    datasets.disable_progress_bars()
    features = datasets.Features({name: datasets.Value(kind) for name, kind in types.items()})
    with tempfile.TemporaryDirectory() as cache:
        try:
            table = datasets.Dataset.from_csv(
                str(path),
                features=features,
                cache_dir=cache,
                keep_in_memory=True,
                usecols=list(types),
                keep_default_na=False,  # "null" is a comment
            )
        except (datasets.exceptions.DatasetGenerationError, ValueError) as error:
            reason = str(error.__cause__ or error).strip().partition("\n")[0]
            raise UserError(
                f"{path.name} is no table of comma-separated values with text, rater_id and a column of "
                f"whole numbers for each emotion ({reason})."
            ) from None
        return {name: table[name][:] for name in types}


def _file(name: str, size: int) -> RemoteFile:
    address = f"https://storage.googleapis.com/gresearch/goemotions/data/full_dataset/{name}"
    return RemoteFile(name=name, urls=(address,), size=size)


DATASET = Dataset(
    title="GoEmotions",
    version=1,
    task="classification",
    classes=len(EMOTIONS),
    scale=1.0,
    inputs="tokens",
    input_shape=(LONGEST,),
    rows={"train": 137_456, "test": 34_364},
    licence="CC BY 4.0 (Demszky et al. 2020)",
    read=read,
    mirror_folder="goemotions",
    files=(
        _file("goemotions_1.csv", 14_174_600),
        _file("goemotions_2.csv", 14_173_154),
        _file("goemotions_3.csv", 14_395_164),
    ),
    further={"source": "source"},
)
