"""Made-up reviews in the official format of IMDB, which they stand for: nothing to fetch."""

import tempfile
from pathlib import Path

import numpy as np

from lapwing.datasets._generated_text import neutral_words, text_about
from lapwing.datasets.archive import pack
from lapwing.datasets.base import Dataset
from lapwing.datasets.imdb import OPINIONS, TREE, read_reviews
from lapwing.files import Array

ROWS = {"train": 1500, "test": 500}
LONGEST = 32
"""Words of a review that are kept."""
SEED = 14
NEGATORS = ("not", "never", "hardly")
TELLING = {
    "neg": """
        awful bad bland boring careless cheap clumsy cold confusing crude dated dire dismal dreadful dreary
        dull empty failed feeble flat forced hollow horrible lazy lifeless mediocre messy painful pointless
        poor predictable shallow silly sloppy stale tedious terrible tiresome ugly weak
    """,
    "pos": """
        amazing beautiful brilliant charming clever delightful elegant engaging excellent exciting fantastic
        fine fresh funny gorgeous graceful great gripping honest hilarious impressive inspired lovely
        magnificent masterful memorable moving original perfect powerful remarkable rich stunning subtle
        superb tender thrilling touching wise wonderful
    """,
}
"""40 words each against and for a film."""


def read(folder: Path) -> dict[str, Array]:
    """Reviews as numbers of words int32 [N, 32]; label 0 is against the film, 1 for it."""
    with tempfile.TemporaryDirectory() as place:
        tree, archive = Path(place, TREE), Path(place, "reviews.zip")
        write_reviews(tree, ROWS)
        pack(tree, TREE, archive)
        return read_reviews(archive, LONGEST)


def write_reviews(tree: Path, rows: dict[str, int]) -> None:
    """Write so many reviews of each split into a folder of the official layout, half of each opinion."""
    generator = np.random.default_rng(SEED)
    neutral = neutral_words(generator)
    for split, number in rows.items():
        for place in range(number):
            opinion = OPINIONS[place % 2]
            length = int(generator.integers(8, 41))
            telling = _telling(generator, opinion, length // 4)
            path = tree / split / opinion / f"{place // 2}_{9 if opinion == 'pos' else 2}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text_about(generator, neutral, telling, length), encoding="utf-8")


def _telling(generator: np.random.Generator, opinion: str, number: int) -> list[str]:
    """Words of an opinion; some are the contrary's, with a word before them that turns them round."""
    [contrary] = set(OPINIONS) - {opinion}
    chosen = []
    for turned in (generator.random(number) < 0.1).tolist():
        word = str(generator.choice(TELLING[contrary if turned else opinion].split()))
        chosen.append(f"{generator.choice(NEGATORS)} {word}" if turned else word)
    return chosen


DATASET = Dataset(
    title="Generated reviews",
    version=1,
    task="classification",
    classes=2,
    scale=1.0,
    inputs="tokens",
    input_shape=(LONGEST,),
    rows=ROWS,
    licence="made by Lapwing, MIT",
    read=read,
)
