"""Every table of the low-capacity studies finds its published values: none is missed, none is another's."""

import pandas as pd
import pytest

from lapwing.errors import UserError
from lapwing.results import layout, tables
from lapwing.results.artefact import Artefact
from lapwing.results.published import read_runs, read_summary
from lapwing.schema import validate
from tests.results.conftest import PUBLISHED, TOP_1

CORRUPTIONS = [
    *["original", "chunk_shuffle", "random_label", "batch_label_shuffle"],
    *["batch_label_flip", "added_noise", "replaced_noise"],
]
SYNTHETIC = ["cifar_10", "cifar_100", "fashion_mnist"]
TOP_5 = TOP_1 | {"name": "top_5"}
NUMBERS = [10, 50, 250, 1250, 6250, 50000]
LOSS = {"name": "loss", "better": "lower", "unit": "loss"}
SETTINGS = [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0]
SWEEP = {"leniency": SETTINGS, "depression_strength": SETTINGS, "history_length": [5, 10, 25, 50, 100, 200]}


def cells_of(grid, metric=TOP_1, **fixed):
    """One cell per point of a grid, none of them run."""
    points = [{}]
    for axis, values in grid.items():
        points = [{**point, axis: value} for point in points for value in values]
    return [{**fixed, **point, "metric": metric, "seeds": [1, 2]} for point in points]


def table_of(cells, published, results=None, **description):
    """The frame and its artefact, and the cells without results."""
    described = {"kind": "table", "title": "A table", "rows": ["corruption"], "published": published}
    artefact = validate(Artefact, described | description, "test")
    results = pd.DataFrame() if results is None else results
    frame = tables.build(artefact, cells, results, pd.DataFrame(), PUBLISHED, "paper")
    return frame, artefact


def found(frame, reading="best"):
    """How many places of a table have a published value, and how many there are."""
    values = frame[(frame["quantity"] == "value") & (frame["reading"] == reading)]
    return int(values["published_mean"].notna().sum()), len(values)


TABLE_4 = cells_of(
    {"corruption": CORRUPTIONS, "method": ["standard", "idpa", "coteaching", "lap"]}, dataset="cifar_10"
)
TABLE_6 = cells_of({"corruption": CORRUPTIONS, "n_sources": NUMBERS}, dataset="cifar_10", method="lap")
HEAD_1 = [
    cell
    for dataset, metric in zip(SYNTHETIC, (TOP_1, TOP_5, TOP_1), strict=True)
    for cell in cells_of(
        {
            "corruption": CORRUPTIONS,
            "method": ["standard", "arfl", "idpa", "coteaching", "cdr", "nls", "lap"],
        },
        metric,
        dataset=dataset,
    )
]
ORACLE = cells_of(
    {"dataset": ["cifar_10", "fashion_mnist"], "corruption": CORRUPTIONS}
    | {"train_on": ["all_sources", "clean_sources"]},
    method="standard",
)
DIFFICULT = cells_of(
    {"corruption": ["original", "random_label"], "method": ["standard", "lap"]}, dataset="difficult_data"
)
SWEPT = [
    cell
    for varied, settings in SWEEP.items()
    for cell in cells_of(
        {"setting": settings},
        LOSS,
        dataset="two_moons",
        corruption="graded_label_flip",
        method="lap",
        varied=varied,
    )
]


RIVALS = ["standard", "idpa", "coteaching", "cdr", "nls", "lap"]
TABLE_3 = cells_of(
    {"corruption": ["original", "random_permute", "random_label"], "method": RIVALS}, dataset="imdb"
)
TABLE_5 = cells_of(
    {"corruption": ["original", "random_label", "random_token", "random_permute"], "method": RIVALS},
    TOP_5,
    dataset="goemotions",
)
PAIR = ["standard", "lap"]
TABLE_7 = cells_of(
    {"corruption": ["original", "random_label"], "method": PAIR}, TOP_5, dataset="tiny_imagenet"
)
TABLE_8 = cells_of(
    {"corruption": ["wrapped_noise_and_random_label"], "method": PAIR}, TOP_5, dataset="imagenet64"
)
FIGURE_3A = cells_of(
    {"n_corrupt": [2, 3, 4, 5, 6, 7, 8], "method": PAIR},
    TOP_1 | {"name": "auc_pr"},
    dataset="ptb_xl",
    corruption="noise_and_label_flip",
)


@pytest.mark.parametrize(
    ("cells", "published", "description", "places"),
    [
        (TABLE_4, {"study": "multi_source", "table": "Table 4"}, {}, (28, 28)),
        (
            TABLE_6,
            {"study": "varied_sizes", "table": "Table 6", "columns": "lap"},
            {"columns": "n_sources"},
            (42, 42),
        ),
        (
            TABLE_6,
            {"study": "varied_sizes", "table": "HEAD Table 8", "columns": "lap"},
            {"columns": "n_sources", "published_columns": ["standard", "idpa", "coteaching", "cdr", "nls"]},
            (77, 77),
        ),
        (
            HEAD_1,
            {"study": "synthetic_head", "table": "HEAD Table 1"},
            {"rows": ["dataset", "corruption"]},
            (147, 147),
        ),
        (
            HEAD_1,
            {"study": "synthetic_head", "table": "HEAD Table 6"},
            {"rows": ["dataset", "corruption"], "shows": "relative_change"},
            (126, 126),
        ),
        (DIFFICULT, {"study": "difficult_data", "table": "HEAD Table 9"}, {}, (4, 4)),
        (
            DIFFICULT,
            {"study": "difficult_data", "table": "HEAD Table 10"},
            {"metric": TOP_1 | {"name": "top_1_of_difficult"}},
            (4, 4),
        ),
        (TABLE_3, {"study": "imdb", "table": "Table 3", "further_tables": ["HEAD Table 3"]}, {}, (18, 18)),
        (TABLE_3, {"study": "imdb", "table": "Table 3"}, {}, (12, 18)),
        (TABLE_5, {"study": "goemotions", "table": "HEAD Table 5"}, {}, (24, 24)),
        (TABLE_7, {"study": "tiny_imagenet", "table": "Table 7"}, {}, (4, 4)),
        (TABLE_8, {"study": "imagenet64", "table": "Table 8"}, {}, (2, 2)),
        (FIGURE_3A, {"study": "ecg", "table": "Figure 3a"}, {"rows": ["n_corrupt"]}, (14, 14)),
    ],
)
def test_every_published_value_is_found(cells, published, description, places):
    frame, _ = table_of(cells, published, **{"readings": ["best", "last"]} | description)
    assert found(frame) == places


def test_values_are_those_of_their_column():
    """Table 6, random label: LAP 66.50 with 10 sources and 66.49 with 50,000; Standard 60.85."""
    published = {"study": "varied_sizes", "table": "HEAD Table 8", "columns": "lap"}
    frame, artefact = table_of(
        TABLE_6,
        published,
        columns="n_sources",
        readings=["best"],
        published_columns=["standard", "cdr", "nls"],
    )
    row = frame[frame["corruption"] == "random_label"].set_index("n_sources")["published_mean"]
    assert (row["10"], row["50000"], row["standard"]) == (66.50, 66.49, 60.85)
    columns = layout.lay_out(frame, artefact).columns
    assert columns[0] == "Sources: 10"
    assert columns[-2:] == ["CDR (published only)", "Label Smoothing (published only)"]


def test_columns_that_were_swapped_in_print_are_swapped_back():
    """Their published runs have the right names."""
    table = read_summary(PUBLISHED, "varied_sizes", "HEAD Table 8")
    runs = read_runs(PUBLISHED, "varied_sizes")
    for method in ("cdr", "nls"):
        printed = table[table["method"] == method].set_index("corruption")["printed_mean"]
        best = runs[(runs["method"] == method) & (runs["metric"] == "top_1") & (runs["reading"] == "best")]
        means = best.groupby("corruption")["value"].mean()
        assert (means - printed).abs().max() <= 0.0051


def test_oracle_has_its_published_runs_where_nothing_was_printed():
    columns = {"all_sources": "standard", "clean_sources": "corruption_oracle"}
    published = {"study": "synthetic", "table": "Table 1", "columns": columns}
    frame, _ = table_of(ORACLE, published, rows=["dataset", "corruption"], columns="train_on")
    rows = frame.set_index(["dataset", "corruption", "train_on"])["published_mean"]
    assert rows["cifar_10", "random_label", "all_sources"] == 57.77
    assert rows["cifar_10", "random_label", "clean_sources"] == pytest.approx(64.228)
    assert rows[:, :, "clean_sources"].isna().sum() == 2  # nothing is corrupted in original data
    assert rows[:, :, "all_sources"].notna().all()


def test_values_of_a_hyperparameter_are_found_in_the_names_of_methods():
    frame, _ = table_of(
        SWEPT,
        {"study": "toy_example", "table": "HEAD Figure 6", "columns": "lap"},
        rows=["varied"],
        columns="setting",
        readings=["worst", "last", "best"],
    )
    assert found(frame, "worst") == (20, 20)
    assert found(frame, "last") == (0, 20)
    rows = frame[frame["reading"] == "worst"].set_index(["varied", "setting"])["published_mean"]
    assert (rows["depression_strength", "8.0"], rows["history_length", "5"]) == (0.72, 0.37)


def test_figure_4_is_found_by_the_number_of_noisy_sources():
    cells = cells_of(
        {"n_corrupt": [2, 3, 4, 5, 6], "method": ["standard", "lap"]},
        dataset="cifar_10n",
        corruption="human_labels",
    )
    published = {"study": "cifar10n_low_capacity", "table": "Figure 4"}
    frame, _ = table_of(cells, published, rows=["n_corrupt"], readings=["best"])
    assert found(frame) == (10, 10)
    values = frame[frame["quantity"] == "value"].set_index(["n_corrupt", "method"])["published_mean"]
    assert values[6, "lap"] == pytest.approx(65.8)


# -- two readings of one table -------------------------------------------------------------------------

BOTH = {"study": "multi_source", "table": "Table 4", "further_tables": ["extra to Table 4"]}


def results_of_table_4():
    """Every run is at 65 % in its last epoch, and two points higher before."""
    rows = [
        {"dataset": "cifar_10", "corruption": cell["corruption"], "method": cell["method"], "seed": seed}
        | {
            "epoch": epoch,
            "split": "test",
            "metric": "top_1",
            "value": 0.65 + 0.001 * seed + 0.02 * (epoch == 1),
        }
        for cell in TABLE_4
        for seed in cell["seeds"]
        for epoch in (1, 2, 3)
    ]
    return pd.DataFrame(rows)


def test_each_reading_has_the_values_that_were_published_of_it():
    frame, artefact = table_of(TABLE_4, BOTH, results_of_table_4(), readings=["best", "last", "mean_last_10"])
    assert found(frame, "best") == found(frame, "mean_last_10") == (28, 28)
    assert found(frame, "last") == (0, 28)
    values = frame[(frame["corruption"] == "random_label") & (frame["quantity"] == "value")]
    lap = values[values["method"] == "lap"].set_index("reading")
    assert lap.loc["mean_last_10", ["published_mean", "published_std"]].tolist() == [65.38, 0.87]
    assert lap.loc["best", "published_mean"] == 66.50
    assert lap.loc["mean_last_10", "verdict"] in ("reproduced", "differs", "not decided")
    lines = layout.lay_out(frame, artefact).blocks[0].lines
    assert [line.label for line in lines if line.kind == "published"] == [
        "published, best epoch",
        "published, mean of the last 10 epochs",
    ]


def test_spread_over_epochs_is_printed_and_that_of_the_runs_is_compared():
    """The printed deviation is over all runs and epochs at once; a test of means needs that of runs."""
    table = read_summary(PUBLISHED, "multi_source", "extra to Table 4")
    runs = read_runs(PUBLISHED, "multi_source")
    of_lap = (runs["method"] == "lap") & (runs["corruption"] == "random_label") & (runs["metric"] == "top_1")
    by_run = runs[of_lap & (runs["reading"] == "mean_last_10")]["value"]
    row = table[(table["method"] == "lap") & (table["corruption"] == "random_label")].iloc[0]
    assert row["std"] == pytest.approx(by_run.std())
    assert row["printed_std"] == 0.87
    assert row["n"] == 5


def test_a_further_table_of_a_reading_that_is_not_shown_is_refused():
    with pytest.raises(
        UserError, match="extra to Table 4 has the reading mean_last_10; a further table has one"
    ):
        table_of(TABLE_4, BOTH, readings=["best", "last"])


def test_columns_without_their_axis_in_the_published_table_are_not_compared():
    """The published table has no column for the number of sources of another grid."""
    cells = cells_of({"corruption": ["original"], "n_sources": [10, 20]}, dataset="cifar_10", method="lap")
    published = {"study": "varied_sizes", "table": "Table 6", "columns": "lap"}
    frame, _ = table_of(cells, published, columns="n_sources", readings=["best"])
    assert frame.set_index("n_sources")["published_mean"].notna().to_dict() == {"10": True, "20": False}


def test_published_values_are_of_the_cells_that_the_artefact_names():
    """The published numbers are those of blocks of 128; other rows stand alone, under any axis of ours."""
    cells = cells_of(
        {"block_size": [128, 1], "corruption": ["random_label"], "n_sources": [10, 50]},
        dataset="cifar_10",
        method="lap",
    )
    published = {"study": "varied_sizes", "table": "Table 6", "columns": "lap", "where": {"block_size": 128}}
    rows = ["block_size", "corruption"]
    frame, artefact = table_of(cells, published, rows=rows, columns="n_sources", readings=["best"])
    values = frame.set_index(["block_size", "n_sources"])["published_mean"]
    assert values[128].tolist() == [66.50, 66.76]
    assert values[1].isna().all()
    of_128, of_1 = layout.lay_out(frame, artefact).blocks
    assert [line.kind for line in of_128.lines] == ["ours", "published"]
    assert [line.kind for line in of_1.lines] == ["ours"]


def test_what_a_further_table_repeats_is_that_of_the_first():
    """Both printed tables have the four first columns; only the later one has the others."""
    published = {"study": "imdb", "table": "Table 3", "further_tables": ["HEAD Table 3"]}
    frame, _ = table_of(TABLE_3, published, readings=["best"])
    rows = frame[frame["quantity"] == "value"].set_index(["corruption", "method"])["published_mean"]
    assert rows["random_label", "lap"] == 71.95
    assert rows["random_label", "cdr"] == 64.80
    assert rows["random_permute", "nls"] == pytest.approx(84.13, abs=0.005)  # published per run only


def test_ecg_is_in_percent():
    """Figure 3a was printed as a share: 0.914 and 0.938 with eight noisy nurses."""
    frame, _ = table_of(
        FIGURE_3A, {"study": "ecg", "table": "Figure 3a"}, rows=["n_corrupt"], readings=["best"]
    )
    rows = frame[frame["quantity"] == "value"].set_index(["n_corrupt", "method"])["published_mean"]
    assert (rows[8, "standard"], rows[8, "lap"]) == (pytest.approx(91.4), pytest.approx(93.8))


# -- epochs of all runs at once ------------------------------------------------------------------------

TABLE_9 = {"study": "imagenet64", "table": "Table 9"}


def results_of_table_8():
    """Two runs of 12 epochs each, of which the last ten count."""
    rows = [
        {axis: cell[axis] for axis in ("dataset", "corruption", "method")}
        | {"seed": seed, "epoch": epoch, "split": "test", "metric": "top_5"}
        | {"value": (0.6 if cell["method"] == "lap" else 0.4) + 0.01 * seed + 0.001 * epoch}
        for cell in TABLE_8
        for seed in (1, 2)
        for epoch in range(1, 13)
    ]
    return pd.DataFrame(rows)


def test_pooled_epochs_show_the_deviation_of_all_of_them():
    results = results_of_table_8()
    frame, artefact = table_of(TABLE_8, TABLE_9, results, readings=["pooled_last_10"])
    values = frame[frame["quantity"] == "value"].set_index("method")
    for method in PAIR:
        last = results[(results["method"] == method) & (results["epoch"] > 2)]["value"] * 100
        assert len(last) == 20
        ours = values.loc[method]
        assert (ours["mean"], ours["std"]) == (pytest.approx(last.mean()), pytest.approx(last.std()))
        assert ours["n"] == 2  # runs
    assert "the deviation is that of all these epochs" in " ".join(layout.lay_out(frame, artefact).notes)


def test_table_9_has_its_printed_values_and_is_judged_by_its_runs():
    pooled, _ = table_of(TABLE_8, TABLE_9, results_of_table_8(), readings=["pooled_last_10"])
    by_run, _ = table_of(TABLE_8, TABLE_9, results_of_table_8(), readings=["mean_last_10"])
    values = pooled[pooled["quantity"] == "value"].set_index("method")
    assert values["published_mean"].to_dict() == {"standard": 42.96, "lap": 66.26}
    assert values["published_std"].to_dict() == {"standard": 0.64, "lap": 0.21}
    for column in ("mean", "difference", "low", "high", "margin", "verdict"):
        assert pooled[column].equals(by_run[column]), column
    assert not pooled["std"].equals(by_run["std"])


def test_pooled_epochs_are_those_of_a_metric():
    with pytest.raises(
        UserError, match=r"pooled_last_10 pools epochs of the metric \(shows is relative_change"
    ):
        table_of(TABLE_8, TABLE_9, readings=["pooled_last_10"], shows="relative_change")
