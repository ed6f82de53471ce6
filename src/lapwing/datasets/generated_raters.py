"""Made-up comments that twenty raters judge, in the official format of GoEmotions, for which they stand."""

import csv
import tempfile
from pathlib import Path

import numpy as np

from lapwing.datasets._generated_text import neutral_words, text_about
from lapwing.datasets.base import Dataset
from lapwing.datasets.goemotions import TRAIN_SHARE, read_tables
from lapwing.files import Array

RATER_SIZES = np.geomspace(3, 400, 20).round().astype(int).tolist()
"""Comments of each rater."""
FILES = 3
LONGEST = 16
"""Words of a comment that are kept."""
SEED = 14
TELLING = {
    "admiration": "admire brilliant hero impressive respect talented bravo masterpiece skill outstanding",
    "anger": "furious hate idiot outrage rage shut angry disgrace damn fuming",
    "curiosity": "wonder why how curious question explain ask anyone interested learn",
    "gratitude": "thanks thank grateful appreciate kind helped blessing owe cheers generous",
    "sadness": "sad cry lonely miss lost tears sorry heartbroken grave mourn",
    "neutral": "table street window tuesday paper number weather list box corner",
}
"""Six emotions, and the words by which they are told."""
COLUMNS = ("id", "author", "subreddit", "link_id", "parent_id", "created_utc", "rater_id")


def read(folder: Path) -> dict[str, Array]:
    """Comments as numbers of words int32 [N, 16], labels 0 to 5, and who gave them."""
    with tempfile.TemporaryDirectory() as place:
        paths = [Path(place, f"goemotions_{number}.csv") for number in range(1, FILES + 1)]
        write_tables(paths)
        return read_tables(paths, tuple(TELLING), LONGEST)


def write_tables(paths: list[Path]) -> None:
    """Write the comments into tables of the official columns, in turn."""
    generator = np.random.default_rng(SEED)
    neutral = neutral_words(generator)
    raters = generator.permutation(np.repeat(np.arange(len(RATER_SIZES)), RATER_SIZES))
    rows = [_row(generator, neutral, number, rater) for number, rater in enumerate(raters.tolist())]
    for first, path in enumerate(paths):
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["text", *COLUMNS, "example_very_unclear", *TELLING])
            table.writerows(rows[first :: len(paths)])


def _row(generator: np.random.Generator, neutral: list[str], number: int, rater: int) -> list[object]:
    """A comment and what a rater says of it."""
    emotion = str(generator.choice(list(TELLING)))
    length = int(generator.integers(8, 17))
    telling = generator.choice(TELLING[emotion].split(), size=length // 4).tolist()
    about = [f"c{number}", "somebody", "made_up", "t3_0", "t3_0", 1_550_000_000.0 + number, rater]
    flags = [int(name == emotion) for name in TELLING]
    return [text_about(generator, neutral, telling, length), *about, False, *flags]


DATASET = Dataset(
    title="Generated comments of twenty raters",
    version=1,
    task="classification",
    classes=len(TELLING),
    scale=1.0,
    inputs="tokens",
    input_shape=(LONGEST,),
    rows={
        "train": int(TRAIN_SHARE * sum(RATER_SIZES)),
        "test": sum(RATER_SIZES) - int(TRAIN_SHARE * sum(RATER_SIZES)),
    },
    licence="made by Lapwing, MIT",
    read=read,
    further={"source": "source"},
)
