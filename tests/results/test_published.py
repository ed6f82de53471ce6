"""The published values as read here are those that were printed."""

import pandas as pd
import pytest

from lapwing.corruption import corruptions
from lapwing.datasets import datasets
from lapwing.errors import UserError
from lapwing.methods import methods
from lapwing.results.artefact import Cell
from lapwing.results.beside import Beside, PublishedRow
from lapwing.results.measures import rows_of
from lapwing.results.published import key_of, read_runs, read_summary, title_of
from lapwing.results.statistics import paired_differences
from lapwing.study_files import read_studies
from tests.results.conftest import PUBLISHED

EVERYTHING_1 = read_summary(PUBLISHED, "synthetic", "Table 1")
TABLE_1 = EVERYTHING_1[EVERYTHING_1["printed_mean"].notna()]
RUNS_1 = read_runs(PUBLISHED, "synthetic")


def test_table_1_has_all_its_printed_cells():
    assert len(TABLE_1) == 3 * 7 * 5
    assert set(TABLE_1.loc[TABLE_1.dataset == "cifar_100", "metric"]) == {"top_5"}
    assert (TABLE_1.n == 10).all()


def test_printed_means_and_deviations_are_those_of_the_runs():
    """More digits never change what was printed."""
    assert (TABLE_1["mean"] - TABLE_1["printed_mean"]).abs().max() <= 0.0051
    assert (TABLE_1["std"] - TABLE_1["printed_std"]).abs().max() <= 0.0051


def test_values_per_run_give_the_printed_means():
    keys = ["dataset", "corruption", "method"]
    means = RUNS_1.groupby(keys)["value"].mean()
    printed = TABLE_1.set_index(keys)["printed_mean"]
    # CIFAR-10's standard pools three history lengths, its original LAP two numbers of corrupt sources.
    assert (means.loc[printed.index] - printed).abs().max() <= 0.0051


def test_every_seed_counts_once():
    counts = RUNS_1.groupby(["dataset", "corruption", "method"])["seed"].agg(["size", "nunique"])
    assert (counts["size"] == counts["nunique"]).all()


@pytest.mark.parametrize(
    ("corruption", "mean", "error"),
    [
        ("chunk_shuffle", 4.13, 0.26),
        ("random_label", 4.44, 1.48),
        ("batch_label_shuffle", 0.28, 0.10),
        ("batch_label_flip", 1.62, 0.31),
        ("added_noise", 1.93, 1.06),
        ("replaced_noise", 2.15, 0.13),
        ("original", 0.0, 0.0),
    ],
)
def test_published_differences_within_a_seed_on_fashion_mnist(corruption, mean, error):
    rows = RUNS_1[(RUNS_1.dataset == "fashion_mnist") & (RUNS_1.corruption == corruption)]
    by_seed = {m: dict(zip(part.seed, part.value, strict=True)) for m, part in rows.groupby("method")}
    difference = paired_differences(by_seed["lap"], by_seed["standard"])
    assert difference.mean == pytest.approx(mean, abs=0.0051)
    assert difference.standard_error == pytest.approx(error, abs=0.0051)
    assert difference.n == 10


def shown_beside():
    """Every row of every table of methods that the studies describe, with its published values."""
    for study in read_studies(PUBLISHED.parent / "studies", "paper").values():
        cells = [Cell.read(cell.shown()) for cell in study.cells]
        for name, artefact in study.artefacts.items():
            is_table = artefact.columns == "method" and artefact.shows == "metric" and not artefact.curves
            if artefact.published and is_table:
                beside = Beside.read(artefact, PUBLISHED)
                for row in rows_of(artefact, cells).values():
                    yield name, artefact.readings[0], row, beside.row(row)


def test_published_differences_within_a_seed_are_those_of_the_published_means():
    found = set()
    for name, reading, row, published in shown_beside():
        for method in row:
            paired = published.paired(method, "standard", reading)
            if paired.n:
                means = [published.of(each, reading).mean for each in (method, "standard")]
                assert paired.mean == pytest.approx(means[0] - means[1], abs=0.05), (name, method)
                found.add(name)
    assert found >= {"table_1", "table_4", "table_10", "figure_4", "difficult_data"}


def test_of_several_settings_the_one_of_the_printed_table_is_paired():
    """Difficult data, random label: LAP with a leniency of 0.1 is 96.29, standard 67.43."""
    found = {
        (name, *(str(cell.axes["corruption"]) for cell in row.values())): published.paired(
            "lap", "standard", reading
        )
        for name, reading, row, published in shown_beside()
        if name == "difficult_data"
    }
    paired = found["difficult_data", "random_label", "random_label"]
    assert (paired.mean, paired.n) == (pytest.approx(28.87, abs=0.01), 5)


def test_runs_of_several_settings_are_not_paired():
    runs = pd.DataFrame({"method": ["lap", "lap", "standard"], "seed": [1, 1, 1], "value": [1.0, 2.0, 0.0]})
    places = {"lap": {"method": "lap"}, "standard": {"method": "standard"}}
    row = PublishedRow(pd.DataFrame(), runs.assign(reading="best"), places)
    assert row.paired("lap", "standard", "best").n == 0


def test_table_10_is_read_as_errors_and_not_as_percent():
    table = read_summary(PUBLISHED, "california_housing", "Table 10").set_index(["corruption", "method"])
    assert table.loc[("random_label", "standard"), "printed_mean"] == 0.62
    assert table.loc[("random_label", "lap"), "printed_mean"] == 0.45
    assert table.loc[("random_label", "lap"), "mean"] == pytest.approx(0.449344, abs=1e-5)
    assert set(table.reading) == {"best"}


def test_names_have_keys_and_keys_have_titles():
    assert [key_of(name) for name in ("CIFAR-10", "F-MNIST", "California Housing", "Co-teaching")] == [
        "cifar_10",
        "fashion_mnist",
        "california_housing",
        "coteaching",
    ]
    assert [title_of(key) for key in ("replaced_noise", "lap", "batch_label_flip", "cifar_100")] == [
        "Replace With Noise",
        "LAP",
        "Batch Label Flip",
        "CIFAR-100",
    ]


def test_entries_of_ours_are_called_by_their_own_title():
    """A new dataset, corruption or method needs no word elsewhere."""
    assert title_of("fashion_mnist") == "Fashion-MNIST"  # F-MNIST is the published abbreviation
    for registry in (datasets, corruptions, methods):
        for key in registry.names():
            assert key_of(registry.get(key).title) == key


def test_names_that_are_published_only_are_read_and_written_alike():
    for name in ("ARFL", "IDPA", "Co-teaching", "RRL + LAP", "Tiny-ImageNet", "CIFAR-10N", "PTB-XL"):
        assert title_of(key_of(name)) == name


def test_every_printed_table_can_be_read():
    """A name or unit that is read wrongly makes keys meet twice, or means go astray."""
    printed = {"presnet": "Table 2", "imdb": "Table 3", "ecg": "Figure 3a", "imagenet64": "Table 8"}
    for study, table in printed.items():
        rows = read_summary(PUBLISHED, study, table)
        assert rows["printed_mean"].between(20, 100).all(), study


def test_unknown_table_is_one_sentence():
    with pytest.raises(UserError, match="study synthetic has no printed Table 99"):
        read_summary(PUBLISHED, "synthetic", "Table 99")


def test_missing_values_are_one_sentence(tmp_path):
    with pytest.raises(UserError, match="There is no file .*summary.csv"):
        read_summary(tmp_path, "synthetic", "Table 1")
