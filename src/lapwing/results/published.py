"""The published values, read from `published/` under our keys and in the units in which they are shown."""

import functools
import re
from pathlib import Path

import pandas as pd

from lapwing.corruption import corruptions
from lapwing.datasets import datasets
from lapwing.errors import UserError
from lapwing.methods import methods

NAMES = {
    "F-MNIST": "fashion_mnist",
    "CIFAR-10N": "cifar_10n",
    "CIFAR-100N": "cifar_100n",
    "MNIST": "mnist",
    "ImageNet-64": "imagenet64",
    "Tiny-ImageNet": "tiny_imagenet",
    "IMDB": "imdb",
    "PTB-XL": "ptb_xl",
    "GoEmotions": "goemotions",
    "ARFL": "arfl",
    "IDPA": "idpa",
    "CDR": "cdr",
    "Co-teaching": "coteaching",
    "Label Smoothing": "nls",
    "RRL": "rrl",
    "RRL + LAP": "rrl_lap",
}
"""Published names that are no title of ours: they abbreviate it, or it is published only."""

METRICS = {"top1acc": "top_1", "top2acc": "top_2", "top5acc": "top_5"}
KEYS = ["dataset", "corruption", "method", "metric", "reading"]
CONDITIONS = ["n_corrupt", "corruption_level", "n_sources"]


def key_of(name: str) -> str:
    """Our key for a published name: `F-MNIST` is `fashion_mnist`."""
    by_title = {title: key for key, title in _titles().items()}
    return by_title.get(name) or NAMES.get(name) or re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def title_of(key: object) -> str:
    """What a reader sees for a key: `cifar_10` is CIFAR-10."""
    text = str(key)
    published = {key: name for name, key in NAMES.items()}
    known = _titles().get(text) or published.get(text)
    return known or text.replace("_", " ").title()


@functools.cache
def _titles() -> dict[str, str]:
    """The title of every dataset, corruption and method of ours, by key."""
    registries = (datasets, corruptions, methods)
    return {key: registry.get(key).title for registry in registries for key in registry.names()}


def read_summary(folder: Path, study: str, table: str) -> pd.DataFrame:
    """Read a table's published means.

    Returns:
        One row per printed value: dataset, corruption, method, metric, reading, the conditions;
        `printed_mean` and `printed_std` as printed; `mean` and `std` from the published runs, which
        have more digits, or as printed where these runs are missing; `n`. Accuracies in percent.

    Raises:
        UserError: the file is missing, or has no such table.
    """
    everything = _read(folder / "summary.csv")
    printed = everything[(everything["source_kind"] == "notebook") & (everything["study"] == study)]
    printed = printed[printed["table"] == table]
    if printed.empty:
        raise UserError(f"{folder / 'summary.csv'}: study {study} has no printed {table}.")
    recomputed = everything[(everything["source_kind"] == "raw") & (everything["study"] == study)]
    return _with_more_digits(_keyed(printed), _keyed(recomputed))


def _with_more_digits(printed: pd.DataFrame, recomputed: pd.DataFrame) -> pd.DataFrame:
    keys = [*KEYS, *CONDITIONS, "version", "split"]
    recomputed = recomputed.drop_duplicates(keys)  # the ECG study logs its loss under two names
    both = printed.merge(recomputed, on=keys, how="left", suffixes=("_printed", ""), validate="one_to_one")
    both = both.rename(columns={"mean_printed": "printed_mean", "std_printed": "printed_std"})
    for column in ("mean", "std"):
        both[column] = both[column].fillna(both[f"printed_{column}"])
    both["n"] = both["n_seeds_printed"].fillna(both["n_seeds"]).astype("Int64")
    return both[[*KEYS, *CONDITIONS, "printed_mean", "printed_std", "mean", "std", "n"]]


def read_runs(folder: Path, study: str) -> pd.DataFrame:
    """Read a study's published values per run, on the split that is reported.

    Returns:
        Columns dataset, corruption, method, metric, reading, seed, value (accuracies in percent).
        Where several runs share a seed (Table 1's standard on CIFAR-10: several history
        lengths, which it does not use), their mean.
    """
    runs = _read(folder / f"{study}_runs.csv")
    if "in_table" in runs:
        runs = runs[runs["in_table"] == 1]
    runs = _keyed(runs[runs["split"] == "test"]).rename(columns={"run": "seed"})
    conditions = [name for name in CONDITIONS if name in runs and "in_table" not in runs]
    groups = runs.groupby([*KEYS, *conditions, "seed"], sort=False, dropna=False)["value"]
    return groups.mean().reset_index()


def _keyed(rows: pd.DataFrame) -> pd.DataFrame:
    """Our keys instead of the published names, and percent instead of fractions."""
    rows = rows.rename(columns={"agg": "reading"})
    for column in ("dataset", "corruption", "method"):
        rows[column] = rows[column].map(key_of, na_action="ignore")
    is_share = ~rows["metric"].str.lower().isin(["loss", "time"])
    in_percent = rows["unit"].str.startswith("%") if "unit" in rows else pd.Series(False, rows.index)
    factor = (is_share & ~in_percent.fillna(False)).map({True: 100.0, False: 1.0})
    for column in {"value", "mean", "std"} & set(rows.columns):
        rows[column] = rows[column] * factor
    rows["metric"] = rows["metric"].map(lambda name: METRICS.get(name) or key_of(name))
    rows["reading"] = rows["reading"].str.replace(r"^mean_last(?=\d)", "mean_last_", regex=True)
    return rows


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"There is no file {path}; the published values belong to the repository.")
    return pd.read_csv(path)
