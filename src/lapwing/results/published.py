"""The published values, read from `published/` under our keys and in the units in which they are shown."""

import functools
import math
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
    "Two moons (toy)": "two_moons",
    "MNIST+CIFAR-10": "difficult_data",
    "CIFAR-10N labels (levels 0.25..1)": "human_labels",
    "Added Noise + Label Flip (levels 0.25..1)": "noise_and_label_flip",
    "Input and Label Noise": "wrapped_noise_and_random_label",
    "RRL": "rrl",
    "RRL + LAP": "rrl_lap",
}
"""Published names that are no title of ours: they abbreviate it, or it is published only."""

AXES = {
    "n_corrupt": "Noisy Sources",
    "n_sources": "Sources",
    "train_on": "Trained on",
    "varied": "Hyperparameter",
    "setting": "Value",
}
"""What a reader sees for an axis, where its name is not enough."""

METRICS = {
    "top1acc": "top_1",
    "top2acc": "top_2",
    "top5acc": "top_5",
    "accuracy": "top_1",
    "Accuracy": "top_1",
    "cifar_class_accuracy": "top_1_of_difficult",
}
READINGS = {"max_over_epochs": "worst", "last10_pooled": "mean_last_10", "mean_last10": "mean_last_10"}
"""The published figure of losses takes the highest of the epochs, which is the worst of a loss. The means of
the last ten epochs are the same whether they are pooled or not: their deviations are told apart as the
printed one and that of the runs."""
SPLITS = {"val": "validation"}

KEYS = ["dataset", "corruption", "method", "metric", "reading"]
CONDITIONS = ["n_corrupt", "corruption_level", "n_sources", "varied", "setting"]
"""By what published values of one method are told apart. `LAP leniency=0.5` is LAP, where leniency
is `varied` and 0.5 the `setting`."""

CHOSEN = {"difficult_data": {"original": 4.0, "random_label": 0.1}}
"""Study → corruption → which of several published settings of LAP the printed table shows (lap-core 6.8)."""

SWAPPED_IN_PRINT = {("varied_sizes", "HEAD Table 8"): {"cdr": "nls", "nls": "cdr"}}
"""Methods that stand under each other's name in print (published/README.md, 1); they are swapped back."""


def key_of(name: str) -> str:
    """Our key for a published name: `F-MNIST` is `fashion_mnist`."""
    by_title = {title: key for key, title in _titles().items()}
    return by_title.get(name) or NAMES.get(name) or re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def title_of(key: object) -> str:
    """What a reader sees for a key: `cifar_10` is CIFAR-10."""
    text = str(key)
    published = {key: name for name, key in NAMES.items()}
    known = _titles().get(text) or AXES.get(text) or published.get(text)
    return known or text.replace("_", " ").title()


@functools.cache
def _titles() -> dict[str, str]:
    """The title of every dataset, corruption and method of ours, by key."""
    registries = (datasets, corruptions, methods)
    return {key: registry.get(key).title for registry in registries for key in registry.names()}


def read_summary(folder: Path, study: str, table: str) -> pd.DataFrame:
    """Read a table's published means.

    Returns:
        One row per printed value, and per value of a method that is not printed but has published runs
        of the same metric and reading: dataset, corruption, method, metric, reading, the conditions;
        `printed_mean` and `printed_std` as printed, NaN where they are not; `mean` and `std` from the
        published runs, which have more digits, or as printed where these runs are missing; `n`.
        Accuracies in percent.

    Raises:
        UserError: the file is missing, or has no such table.
    """
    everything = _read(folder / "summary.csv")
    of_study = everything[everything["study"] == study]
    is_printed = of_study["source_kind"] == "notebook"
    printed = of_study[is_printed & (of_study["table"] == table)]
    if printed.empty:
        raise UserError(f"{folder / 'summary.csv'}: study {study} has no printed {table}.")
    # The deviation over all epochs and runs at once is none of runs, which the comparison needs.
    recomputed = of_study[~is_printed & (of_study["agg"] != "last10_pooled")]
    keyed = _keyed(printed)
    keyed["method"] = keyed["method"].replace(SWAPPED_IN_PRINT.get((study, table), {}))
    return _with_more_digits(keyed, _keyed(recomputed))


def _with_more_digits(printed: pd.DataFrame, recomputed: pd.DataFrame) -> pd.DataFrame:
    keys = [*KEYS, *CONDITIONS, "version", "split"]
    recomputed = recomputed.drop_duplicates(keys)  # the ECG study logs its loss under two names
    both = printed.merge(recomputed, on=keys, how="left", suffixes=("_printed", ""), validate="one_to_one")
    both = both.rename(columns={"mean_printed": "printed_mean", "std_printed": "printed_std"})
    both = pd.concat([both, _not_printed(printed, recomputed)], ignore_index=True)
    for column in ("mean", "std"):
        both[column] = both[column].fillna(both[f"printed_{column}"])
    both["n"] = both["n_seeds_printed"].fillna(both["n_seeds"]).astype("Int64")
    return both[[*KEYS, *CONDITIONS, "printed_mean", "printed_std", "mean", "std", "n"]]


def _not_printed(printed: pd.DataFrame, recomputed: pd.DataFrame) -> pd.DataFrame:
    """What was published of further methods and corruptions under the conditions of a printed table."""
    shared = ["dataset", "metric", "reading", "version", "split"]
    under_them = recomputed.merge(printed[shared].drop_duplicates(), on=shared)
    return _beyond(under_them, printed, ["dataset", "corruption", "method"])


def only_new(table: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """The rows of a further table that those before have not."""
    return _beyond(table, before, [*KEYS, *CONDITIONS])


def _beyond(table: pd.DataFrame, before: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The rows of a table whose keys are none of those before; no value is a value too."""
    own, known = (pd.MultiIndex.from_frame(each[keys].astype(object).fillna("")) for each in (table, before))
    return table[~own.isin(known)]


def read_runs(folder: Path, study: str) -> pd.DataFrame:
    """Read a study's published values per run, on the split that is reported.

    Returns:
        Columns dataset, corruption, method, metric, reading, the conditions, seed, value (accuracies in
        percent); empty where no values per run were published. Where several runs share a seed (Table
        1's standard on CIFAR-10: several history lengths, which it does not use), their mean.
    """
    path = folder / f"{study}_runs.csv"
    if not path.is_file():
        return pd.DataFrame(columns=[*KEYS, *CONDITIONS, "seed", "value"])
    runs = _read(path)
    if "in_table" in runs:
        # Its rows differ in conditions by which the table does not tell them apart.
        runs = runs[runs["in_table"] == 1].drop(columns=["n_corrupt", "n_sources"])
    runs = _keyed(runs[runs["split"] == "test"]).rename(columns={"run": "seed"})
    if study in CHOSEN:
        chosen = runs["corruption"].map(CHOSEN[study])
        runs = runs[runs["setting"].isna() | (runs["setting"] == chosen)].assign(
            varied=None, setting=math.nan
        )
    groups = runs.groupby([*KEYS, *CONDITIONS, "seed"], sort=False, dropna=False)["value"]
    return groups.mean().reset_index()


def read_curves(folder: Path, study: str) -> pd.DataFrame:
    """Read the published values of every epoch of a study.

    Returns:
        Columns dataset, corruption, method, metric, the conditions, seed, epoch, split, value (accuracies in
        percent); empty where none were published.
    """
    path, columns = folder / f"{study}_curves.csv.gz", [column for column in KEYS if column != "reading"]
    columns = [*columns, *CONDITIONS, "seed", "epoch", "split", "value"]
    if not path.is_file():
        return pd.DataFrame(columns=columns)
    curves = _keyed(_read(path)).rename(columns={"run": "seed"})
    # The published loss of training is that after weighting (spec lap-experiments 0): what was minimised.
    is_objective = (curves["split"] == "train") & (curves["metric"] == "loss")
    metric = curves["metric"].mask(is_objective, "objective")
    return curves.assign(metric=metric, split=curves["split"].replace(SPLITS))[columns]


def _keyed(rows: pd.DataFrame) -> pd.DataFrame:
    """Our keys instead of the published names, and percent instead of fractions."""
    rows = _with_settings(rows.rename(columns={"agg": "reading"}))
    for column in ("dataset", "corruption", "method"):
        rows[column] = rows[column].map(key_of, na_action="ignore")
    is_share = ~rows["metric"].str.lower().isin(["loss", "time"])
    in_percent = rows["unit"].str.startswith("%") if "unit" in rows else pd.Series(False, rows.index)
    factor = (is_share & ~in_percent.fillna(False)).map({True: 100.0, False: 1.0})
    for column in {"value", "mean", "std"} & set(rows.columns):
        rows[column] = rows[column] * factor
    rows["metric"] = rows["metric"].map(_metric)
    if "reading" in rows:
        rows["reading"] = rows["reading"].replace(READINGS)
    return rows


def _with_settings(rows: pd.DataFrame) -> pd.DataFrame:
    """Every condition as a column; a hyperparameter that is part of a method's name among them."""
    rows = rows.assign(**{name: math.nan for name in CONDITIONS if name not in rows})
    parts = rows["method"].str.extract(r"^(?P<method>.*?) (?P<varied>\w+)=(?P<setting>[\d.]+)$")
    is_varied = parts["varied"].notna()
    rows["method"] = parts["method"].where(is_varied, rows["method"])
    return rows.assign(varied=parts["varied"], setting=parts["setting"].astype(float))


def _metric(name: str) -> str:
    change = "_rel_change"
    base = name.removesuffix(change)
    return (METRICS.get(base) or key_of(base)) + name[len(base) :]


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"There is no file {path}; the published values belong to the repository.")
    return pd.read_csv(path)
