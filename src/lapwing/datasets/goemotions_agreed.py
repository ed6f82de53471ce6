"""GoEmotions with the labels on which its raters agreed, who are not named (Demszky et al. 2020).

Its sources are made up: as many, and about as unequal in size, as the raters of `goemotions`.
"""

from pathlib import Path

import numpy as np

from lapwing.datasets._text import text_arrays
from lapwing.datasets.base import Dataset, RemoteFile
from lapwing.datasets.goemotions import EMOTIONS, LONGEST
from lapwing.errors import UserError
from lapwing.files import Array

SPLITS = {"train": ("train.tsv",), "test": ("dev.tsv", "test.tsv")}
"""Four fifths and one fifth of the rows, as in `goemotions`."""
RATERS = 82
MEAN_SIZE, SIZE_DEVIATION = 1676, 1477
"""Training rows of a rater of `goemotions`; the fewest are 1, the most 7479 (spec lap-experiments 6.11)."""
DEAL_SEED = 42


def read(folder: Path) -> dict[str, Array]:
    """Comments with one label as numbers of words int32 [N, 128], their labels, and dealt sources.

    The vocabulary is that of all comments, as for `goemotions`.
    """
    rows = {
        split: [row for name in names for row in _single_labels(folder / name)]
        for split, names in SPLITS.items()
    }
    texts = {split: [text for text, _ in some] for split, some in rows.items()}
    arrays = text_arrays(texts, LONGEST, vocabulary_of=list(SPLITS))
    for split, some in rows.items():
        arrays[f"{split}/targets"] = np.array([label for _, label in some], np.int64)
    return {**arrays, "train/source": dealt(len(rows["train"]))}


def _single_labels(path: Path) -> list[tuple[str, int]]:
    """The comments of a table that have one label, with it."""
    rows = []
    # A comment may hold what Python takes for a line's end; only the line feed is one here.
    for number, line in enumerate(path.read_bytes().rstrip(b"\n").split(b"\n"), start=1):
        try:
            text, labels, _ = line.decode().removesuffix("\r").split("\t")
            chosen = [int(label) for label in labels.split(",")]
        except ValueError:
            raise UserError(
                f"{path.name}, line {number}: no text, labels and id, with tabs between."
            ) from None
        if not set(chosen) <= set(range(len(EMOTIONS))):
            raise UserError(f"{path.name}, line {number}: a label lies between 0 and 27, not {labels}.")
        if len(chosen) == 1:
            rows.append((text, chosen[0]))
    return rows


def rater_sizes(rows: int) -> Array:
    """How many of `rows` training rows each of the 82 sources has, int64 [82], rising.

    Only a summary of the true sizes is published. These are the quantiles (i + 1/2) / 82 of the gamma
    distribution with the published mean and deviation, scaled to what is left of `rows` when each source
    has one; the last takes what rounding leaves over.

    Raises:
        UserError: there are too few rows.
    """
    from scipy.stats import gamma

    if rows < RATERS:
        raise UserError(
            f"train.tsv: the {RATERS} sources of goemotions_agreed need at least as many training rows "
            f"(there are {rows})."
        )
    shape = (MEAN_SIZE / SIZE_DEVIATION) ** 2
    quantiles = gamma.ppf((np.arange(RATERS) + 0.5) / RATERS, shape)
    sizes: Array = 1 + np.floor((rows - RATERS) * quantiles / quantiles.sum()).astype(np.int64)
    sizes[-1] += rows - sizes.sum()
    return sizes


def dealt(rows: int) -> Array:
    """A source for each training row, int64 [rows]: the same in every run, in no order of size."""
    generator = np.random.default_rng(DEAL_SEED)
    return generator.permutation(np.repeat(generator.permutation(RATERS), rater_sizes(rows)))


def _file(name: str, size: int, sha256: str) -> RemoteFile:
    addresses = (
        f"https://raw.githubusercontent.com/google-research/google-research/master/goemotions/data/{name}",
        f"https://raw.githubusercontent.com/monologg/GoEmotions-pytorch/b75f9d3a8b76bc1060687925b04ca98a1b8ea66b/data/original/{name}",
    )
    return RemoteFile(name=name, urls=addresses, size=size, sha256=sha256)


DATASET = Dataset(
    title="GoEmotions, agreed labels",
    version=1,
    task="classification",
    classes=len(EMOTIONS),
    scale=1.0,
    inputs="tokens",
    input_shape=(LONGEST,),
    rows={"train": 36_308, "test": 9_138},
    licence="CC BY 4.0 (Demszky et al. 2020)",
    read=read,
    mirror_folder="goemotions",
    files=(
        _file("train.tsv", 3_519_053, "1c254a142be5c00e80d819b9ae1bbd36d94b2eeb8f4b1271846508d57e57d9c5"),
        _file("dev.tsv", 439_059, "575489c079c9de1097062a01738f998590d6b7ead66dd1c9fd1d2ba01fd8bc62"),
        _file("test.tsv", 436_706, "0587b2dd8b27b97352adbfc3fb083d46005c8946657fdc2b1ca8b1cc7f1f8be4"),
    ),
    further={"source": "source"},
)
