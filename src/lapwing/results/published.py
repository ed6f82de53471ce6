"""The published values, read from `published/` under our keys and in the units in which they are shown."""

import re
from pathlib import Path

import pandas as pd

from lapwing.errors import UserError

NAMES = {
    "F-MNIST": "fashion_mnist",
    "ImageNet-64": "imagenet64",
    "Original Data": "original",
    "Replace With Noise": "replaced_noise",
    "Co-teaching": "coteaching",
    "Label Smoothing": "nls",
}
"""Published names whose key is not the name in lower case with underscores."""

TITLES = {key: name for name, key in NAMES.items()} | {
    "cifar_10": "CIFAR-10",
    "cifar_100": "CIFAR-100",
    "cifar_10n": "CIFAR-10N",
    "cifar_100n": "CIFAR-100N",
    "mnist": "MNIST",
    "tiny_imagenet": "Tiny-ImageNet",
    "imdb": "IMDB",
    "ptb_xl": "PTB-XL",
    "goemotions": "GoEmotions",
    "lap": "LAP",
    "arfl": "ARFL",
    "idpa": "IDPA",
    "cdr": "CDR",
    "rrl": "RRL",
    "rrl_lap": "RRL + LAP",
}
"""Keys whose title is not the key in capitals and spaces."""

METRICS = {"top1acc": "top_1", "top2acc": "top_2", "top5acc": "top_5"}
KEYS = ["dataset", "corruption", "method", "metric", "reading"]
CONDITIONS = ["n_corrupt", "corruption_level", "n_sources"]


def key_of(name: str) -> str:
    """Our key for a published name: `F-MNIST` is `fashion_mnist`."""
    return NAMES.get(name) or re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def title_of(key: object) -> str:
    """What a reader sees for a key: `fashion_mnist` is F-MNIST."""
    text = str(key)
    return TITLES.get(text) or text.replace("_", " ").title()


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
