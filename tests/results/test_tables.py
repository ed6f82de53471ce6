"""Numbers in the published layout: readings, bold rules, verdicts, and what is not there."""

import pandas as pd
import pytest

from lapwing.errors import UserError
from lapwing.results import layout, tables
from lapwing.results.artefact import Artefact
from lapwing.schema import validate
from tests.results.conftest import PUBLISHED, SEEDS, TOP_1

NO_RUNS = pd.DataFrame()


def build(made_up, scale="paper", **changes):
    artefact = validate(Artefact, {**made_up.description, **changes}, "test")
    frame = tables.build(artefact, made_up.cells, made_up.metrics, NO_RUNS, PUBLISHED, scale)
    return frame, artefact


def value_of(frame, corruption, method, reading="last"):
    rows = frame[(frame.corruption == corruption) & (frame.method == method) & (frame.quantity == "value")]
    return rows[rows.reading == reading].iloc[0]


def test_both_readings_are_shown_and_only_the_published_one_is_compared(made_up):
    frame, _ = build(made_up)
    last, best = (value_of(frame, "random_label", "lap", reading) for reading in ("last", "best"))
    assert (last["mean"], best["mean"]) == (pytest.approx(78.0), pytest.approx(80.0))
    assert last["published_mean"] == 77.91
    assert last["difference"] == pytest.approx(78.0 - 77.915, abs=0.001)
    assert pd.isna(best["difference"])
    assert pd.isna(best["published_mean"])


def test_deviation_is_over_seeds_in_points(made_up):
    frame, _ = build(made_up)
    assert value_of(frame, "random_label", "lap")["std"] == pytest.approx(0.1)
    assert value_of(frame, "random_label", "lap")["n"] == 3


def test_difference_within_a_seed_stands_beside_the_published(made_up):
    frame, _ = build(made_up)
    paired = frame[frame.quantity == "paired_difference"].set_index("corruption")
    assert paired.loc["random_label", "mean"] == pytest.approx(8.0)
    assert paired.loc["random_label", "published_mean"] == pytest.approx(4.444)
    assert paired.loc["original", "standard_errors"] == 0.0
    assert paired.loc["original", "mean"] == 0.0


def test_published_table_10_is_found_without_the_dataset_among_its_rows(made_up):
    for cell in made_up.cells:
        cell["dataset"] = "california_housing"
        cell["metric"] = {"name": "loss", "better": "lower", "unit": "mse"}
    loss = {"dataset": "california_housing", "metric": "loss"}
    made_up.metrics = made_up.metrics.assign(**loss)
    published = {"study": "california_housing", "table": "Table 10"}
    changes = {"rows": ["corruption"], "readings": ["best", "last"], "published_columns": []}
    frame, _ = build(made_up, published=published, **changes)
    row = value_of(frame, "random_label", "standard", "best")
    assert row["published_mean"] == 0.62
    assert row["mean"] == pytest.approx(0.5)  # the lowest epoch, and no percent
    assert row["margin"] == pytest.approx(0.02328, abs=1e-4)
    paired = frame[frame.quantity == "paired_difference"]
    assert paired["published_n"].tolist() == [5, 5]


def test_demo_scale_has_no_verdict_and_says_so_first(made_up):
    frame, artefact = build(made_up, scale="demo")
    assert not frame["verdict"].fillna("").any()
    laid_out = layout.lay_out(frame, artefact)
    for text in (layout.to_markdown(laid_out), layout.to_latex(laid_out), layout.to_html(laid_out)):
        first = text.splitlines()[0]
        assert "stand-in data" in first
        assert "no verdict" in first
        assert "eproduced" not in text


def test_stand_in_has_the_published_values_of_its_dataset_for_orientation(made_up):
    made_up.metrics["dataset"] = "digits"
    for cell in made_up.cells:
        cell["dataset"] = "digits"
    stand_in = {"digits": "fashion_mnist"}
    frame, artefact = build(made_up, scale="demo", stand_in=stand_in)
    assert value_of(frame, "random_label", "lap")["published_mean"] == 77.91
    assert "77.91 ± 3.39" in layout.to_markdown(layout.lay_out(frame, artefact))
    at_paper, _ = build(made_up, stand_in=stand_in)
    assert value_of(at_paper, "random_label", "lap")["verdict"] == "not comparable"
    assert at_paper["ordering_agrees"].isna().all()
    assert at_paper["standard_errors"].isna().all()
    text = layout.to_markdown(layout.lay_out(at_paper, artefact))
    assert "published order" not in text
    assert "combined standard errors" not in text


def test_subset_scale_says_first_that_it_is_one_and_has_no_verdict(made_up):
    frame, artefact = build(made_up, scale="subset")
    assert (frame["verdict"].fillna("") == "").all()
    laid_out = layout.lay_out(frame, artefact)
    kinds = {line.kind for block in laid_out.blocks for line in block.lines}
    assert kinds == {"ours", "published"}
    for written in (layout.to_markdown(laid_out), layout.to_latex(laid_out).removeprefix("% ")):
        assert "a subset, not a reproduction" in written.splitlines()[0]
        assert "published values are for orientation" in written.splitlines()[0]


def test_demo_says_first_which_data_stand_in_for_which(made_up):
    """The title is that of the published table."""
    stand_in = {"diabetes": "california_housing", "digits": "fashion_mnist"}
    expected = "Stand-in: Diabetes for California Housing, Digits for Fashion-MNIST."
    laid_out = layout.lay_out(*build(made_up, scale="demo", stand_in=stand_in))
    for text in (layout.to_markdown(laid_out), layout.to_latex(laid_out), layout.to_html(laid_out)):
        assert expected in text.splitlines()[0]
    assert "Stand-in" not in layout.to_markdown(layout.lay_out(*build(made_up, stand_in=stand_in)))


def test_demo_speaks_of_published_values_where_there_are_some(made_up):
    alone = {"published": None, "published_columns": [], "stand_in": {"digits": "fashion_mnist"}}
    said = layout.lay_out(*build(made_up, scale="demo", **alone)).notice
    assert said == "Demo scale: stand-in data, no reproduction. Stand-in: Digits for Fashion-MNIST."
    assert "published values are for orientation" in layout.lay_out(*build(made_up, scale="demo")).notice


def test_paper_scale_has_a_verdict_for_every_compared_cell(made_up):
    frame, artefact = build(made_up)
    values = frame[(frame["status"] == "run") & (frame["quantity"] == "value")]
    compared = values[values["published_mean"].notna()]
    assert len(compared) == 4
    assert set(compared["verdict"]) <= {"reproduced", "differs", "not decided"}
    text = layout.to_markdown(layout.lay_out(frame, artefact))
    assert "| verdict |" in text
    assert "The methods stand in the published order in 2 of 2 rows." in text


def test_cells_without_runs_say_not_run(made_up):
    missing = {"dataset": "fashion_mnist", "corruption": "added_noise", "metric": TOP_1, "seeds": []}
    made_up.cells += [{**missing, "method": "standard"}, {**missing, "method": "lap"}]
    frame, artefact = build(made_up)
    assert value_of(frame, "added_noise", "lap")["status"] == "not run"
    assert value_of(frame, "added_noise", "lap")["published_mean"] == 79.98
    text = layout.to_markdown(layout.lay_out(frame, artefact))
    added = next(line for line in text.splitlines() if "Added Noise | ours, last epoch" in line)
    assert added.count("not run") == 2


def test_a_study_without_any_run_is_a_table_of_not_run(made_up):
    made_up.metrics = pd.DataFrame()
    frame, artefact = build(made_up)
    assert set(frame.loc[frame["status"] != "published only", "status"]) == {"not run"}
    assert "not run" in layout.to_latex(layout.lay_out(frame, artefact))


def test_fewer_runs_than_asked_are_counted_in_the_cell(made_up):
    made_up.metrics = made_up.metrics[~((made_up.metrics.seed == 8) & (made_up.metrics.method == "lap"))]
    frame, artefact = build(made_up)
    assert "(2 of 3 runs)" in layout.to_markdown(layout.lay_out(frame, artefact))


def test_diverged_runs_do_not_count(made_up):
    runs = pd.DataFrame(made_up.runs)
    runs["diverged_epoch"] = None
    runs.loc[(runs["method"] == "lap") & (runs["seed"] == 2), "diverged_epoch"] = 2
    artefact = validate(Artefact, made_up.description, "test")
    frame = tables.build(artefact, made_up.cells, made_up.metrics, runs, PUBLISHED, "paper")
    row = value_of(frame, "random_label", "lap")
    assert (row["n"], row["diverged"]) == (2, 1)
    assert "Diverged and left out: 2." in layout.to_markdown(layout.lay_out(frame, artefact))


def test_differences_of_runs_that_diverged_say_so(made_up):
    runs = pd.DataFrame(made_up.runs).assign(diverged_epoch=None)
    runs.loc[(runs["method"] == "lap") & (runs["corruption"] == "original"), "diverged_epoch"] = 2
    artefact = validate(Artefact, made_up.description, "test")
    frame = tables.build(artefact, made_up.cells, made_up.metrics, runs, PUBLISHED, "paper")
    paired = frame[frame["quantity"] == "paired_difference"].set_index("corruption")["status"]
    assert paired.to_dict() == {"original": "diverged", "random_label": "run"}


# -- not comparable, remarks ---------------------------------------------------------------------------


def with_arfl(made_up, where, **changes):
    """A table of which a part is not comparable, with ARFL in it: five points below standard."""
    arfl = made_up.metrics[made_up.metrics["method"] == "standard"].assign(method="arfl")
    arfl["value"] -= 0.05
    made_up.metrics = pd.concat([made_up.metrics, arfl], ignore_index=True)
    made_up.cells += [{**cell, "method": "arfl"} for cell in made_up.cells if cell["method"] == "lap"]
    case = {"where": where, "why": "ARFL was published with other models."}
    published = made_up.description["published"] | {"not_comparable": [case]}
    return build(made_up, published=published, published_columns=[], **changes)


def test_values_of_something_else_have_a_difference_and_no_verdict(made_up):
    frame, artefact = with_arfl(made_up, {"method": "arfl"})
    arfl, lap = (value_of(frame, "random_label", method) for method in ("arfl", "lap"))
    assert arfl["verdict"] == "not comparable"
    assert arfl["difference"] == pytest.approx(65.0 - 77.58, abs=0.01)
    assert lap["verdict"] in ("reproduced", "differs", "not decided")
    text = layout.to_markdown(layout.lay_out(frame, artefact))
    assert "Not comparable: ARFL was published with other models." in text
    assert "2 not comparable" in text


def test_a_case_may_name_several_values(made_up):
    where = {"method": ["arfl", "lap"], "corruption": "random_label"}
    frame, _ = with_arfl(made_up, where)
    verdicts = frame[frame["verdict"].fillna("") == "not comparable"]
    assert set(verdicts["method"] + verdicts["corruption"]) == {"arflrandom_label", "laprandom_label"}


def test_values_of_something_else_decide_nothing_on_rows_either(made_up):
    """Random label, F-MNIST: ARFL is published above standard, and is below it here."""
    frame, _ = with_arfl(made_up, {"method": "arfl"})
    rows = frame[frame["corruption"] == "random_label"]
    assert rows["ordering_agrees"].dropna().all()
    paired = rows[rows["quantity"] == "paired_difference"].set_index("method")
    assert pd.notna(paired.loc["arfl", "published_mean"])
    assert paired["standard_errors"].notna().to_dict() == {"lap": True, "arfl": False}
    whole, _ = build(made_up, published_columns=[])
    assert not whole.loc[whole["corruption"] == "random_label", "ordering_agrees"].dropna().any()


def test_remarks_stand_below_the_table(made_up):
    text = layout.to_markdown(layout.lay_out(*build(made_up, remarks=["Blocks of 128 make 293 sources."])))
    assert text.splitlines().count("Blocks of 128 make 293 sources.") == 1


def test_minus_is_a_minus_everywhere(made_up):
    made_up.metrics["value"] -= 1
    frame, artefact = build(made_up, published=None, published_columns=[])
    text = layout.to_markdown(layout.lay_out(frame, artefact))
    assert "−22.00 ± 0.10" in text
    assert "-22.00" not in text


def test_methods_published_only_stand_beside(made_up):
    frame, artefact = build(made_up)
    arfl = value_of(frame, "random_label", "arfl")
    assert (arfl["status"], arfl["published_mean"]) == ("published only", 77.58)
    assert layout.lay_out(frame, artefact).columns[2] == "ARFL (published only)"


def bold_of(frame, corruption, column="bold"):
    rows = frame[(frame.corruption == corruption) & (frame.reading == "last") & (frame.quantity == "value")]
    return sorted(rows.loc[rows[column].astype(bool), "method"])


def test_bold_best_takes_the_first_of_equals(made_up):
    frame, _ = build(made_up)
    assert bold_of(frame, "random_label") == ["lap"]
    assert bold_of(frame, "original") == ["standard"]
    assert bold_of(frame, "random_label", "published_bold") == ["lap"]


def test_means_that_are_printed_alike_are_equals(made_up):
    """82.002 beside 82.000: both are printed 82.00, and the first is bold."""
    is_lap = (made_up.metrics["method"] == "lap") & (made_up.metrics["corruption"] == "original")
    made_up.metrics.loc[is_lap, "value"] += 0.00002
    frame, _ = build(made_up)
    assert bold_of(frame, "original") == ["standard"]
    frame, _ = build(made_up, decimals=3)
    assert bold_of(frame, "original") == ["lap"]


def test_bold_within_one_deviation_takes_all_that_are_near(made_up):
    """Published, F-MNIST, random label: LAP 77.91 ± 3.39 is best; only ARFL is that near."""
    frame, _ = build(made_up, bold="within_one_std")
    assert bold_of(frame, "random_label", "published_bold") == ["arfl", "lap"]
    assert bold_of(frame, "original") == ["lap", "standard"]


def test_bold_none_marks_nothing(made_up):
    frame, _ = build(made_up, bold="none")
    assert not frame["bold"].any()
    assert not frame["published_bold"].any()


def test_lowest_error_is_the_best(made_up):
    for cell in made_up.cells:
        cell["metric"] = {"name": "top_1", "better": "lower", "unit": "loss"}
    frame, _ = build(made_up, published=None, published_columns=[], readings=["last"])
    assert bold_of(frame, "random_label") == ["standard"]


def test_csv_gives_the_same_table_again(made_up, tmp_path):
    frame, artefact = build(made_up)
    paths = {kind: tmp_path / f"table_1.{kind}" for kind in ("csv", "md", "tex")}
    tables.save(frame, artefact, paths)
    again = layout.lay_out(tables.read(paths["csv"], artefact), artefact)
    assert again == layout.lay_out(frame, artefact)
    assert paths["md"].read_text() == layout.to_markdown(again)


def test_latex_is_escaped_and_balanced(made_up):
    frame, artefact = build(made_up, title="Test & 100 % of {it} \\input{x}")
    text = layout.to_latex(layout.lay_out(frame, artefact))
    assert r"Test \& 100 \% of \{it\} \textbackslash{}input\{x\}" in text
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert "±" not in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.replace(r"\&", "").count("&") for line in rows} == {7, 5}


def test_hostile_text_is_escaped_in_html_and_markdown(made_up):
    hostile = "<script>alert(1)</script>|x"
    frame, artefact = build(made_up, title=hostile)
    laid_out = layout.lay_out(frame, artefact)
    assert "<script" not in layout.to_html(laid_out)
    assert "<script" not in layout.to_markdown(laid_out)


def test_two_cells_on_one_place_are_refused(made_up):
    made_up.cells.append(made_up.cells[0])
    with pytest.raises(UserError, match="two cells fall on one place"):
        build(made_up)


def test_unknown_metric_of_a_cell_is_refused(made_up):
    made_up.cells[0]["metric"] = {"name": "top_5", "better": "higher"}
    with pytest.raises(UserError, match="has no metric top_5"):
        build(made_up, published=None)


def test_published_values_of_another_reading_are_no_match(made_up):
    with pytest.raises(UserError, match="published: Table 1 has no .*reading=best; it has metric=top_1"):
        build(made_up, readings=["best", "last"])


def test_published_values_of_another_metric_are_no_match(made_up):
    for cell in made_up.cells:
        cell["metric"] = TOP_1 | {"name": "top_2"}
    with pytest.raises(UserError, match="published: Table 1 has no .*metric=top_2"):
        build(made_up)


def test_several_published_values_of_one_place_are_refused(made_up):
    """Table 6 has a row for each number of sources, which is no axis of this table."""
    published = {"study": "varied_sizes", "table": "Table 6"}
    stand_in = {"fashion_mnist": "cifar_10"}
    with pytest.raises(UserError, match="published: Table 6 has several values of .*method="):
        build(made_up, published=published, stand_in=stand_in, readings=["best"])


def test_a_method_without_published_values_is_not_compared(made_up):
    made_up.cells.append({**made_up.cells[3], "method": "own_method"})
    frame, _ = build(made_up)
    assert pd.isna(value_of(frame, "random_label", "own_method")["published_mean"])


def test_published_runs_are_paired_only_where_they_are_the_same(made_up):
    """IDPA's are called 0 to 9 and those of standard by their seed: 2, 4 and 8 are in both."""
    made_up.cells.append({**made_up.cells[3], "method": "idpa"})
    frame, _ = build(made_up, published_columns=[])
    paired = frame[(frame.quantity == "paired_difference") & (frame.corruption == "random_label")]
    paired = paired.set_index("method")
    assert paired.loc["lap", "published_n"] == 10
    assert pd.isna(paired.loc["idpa", "published_n"])
    assert pd.isna(paired.loc["idpa", "published_mean"])
    assert pd.notna(value_of(frame, "random_label", "idpa")["published_mean"])


def test_runs_of_two_studies_with_different_axes_are_kept_apart(made_up):
    """The second study has its corruption at a level, and everything half as good."""
    further = [{**cell, "dataset": "cifar_10", "level": 0.5} for cell in made_up.cells]
    second = made_up.metrics.assign(dataset="cifar_10", level=0.5, value=made_up.metrics["value"] / 2)
    hidden = second.assign(dataset="fashion_mnist")  # one of its cells that this table does not show
    made_up.cells += further
    made_up.metrics = pd.concat([made_up.metrics, second, hidden], ignore_index=True)
    frame, _ = build(made_up)
    lap = frame[(frame.corruption == "random_label") & (frame.method == "lap") & (frame.quantity == "value")]
    ours = lap[lap.reading == "last"].set_index("dataset")["mean"]
    assert ours["fashion_mnist"] == pytest.approx(78.0)
    assert ours["cifar_10"] == pytest.approx(39.0)


def test_diverged_runs_of_two_studies_with_different_axes_do_not_count(made_up):
    further = [{**cell, "dataset": "cifar_10", "level": 0.5} for cell in made_up.cells]
    second = made_up.metrics.assign(dataset="cifar_10", level=0.5)
    runs = pd.DataFrame(made_up.runs)
    runs["diverged_epoch"] = [2 if run["seed"] == SEEDS[0] else None for run in made_up.runs]
    runs = pd.concat([runs, runs.assign(dataset="cifar_10", level=0.5)], ignore_index=True)
    made_up.cells += further
    both = pd.concat([made_up.metrics, second], ignore_index=True)
    artefact = validate(Artefact, made_up.description, "test")
    frame = tables.build(artefact, made_up.cells, both, runs, PUBLISHED, "paper")
    ours = frame[(frame.status == "run") & (frame.quantity == "value")]
    assert len(ours) == 2 * 2 * 2 * 2
    assert set(ours["n"]) == {2}
    assert set(ours["diverged"]) == {1}


def test_misspelt_key_of_a_description_is_refused(made_up):
    with pytest.raises(UserError, match="unknown key decimal; did you mean decimals"):
        build(made_up, decimal=1)


def test_verdicts_are_counted(made_up):
    frame, _ = build(made_up)
    counts = tables.verdicts([frame])
    assert sum(counts.values()) == 4
    further = frame.assign(reading="best")
    assert tables.verdicts([pd.concat([frame, further])]) == counts  # of further readings none


def test_seeds_of_a_selection_are_all_that_is_asked(made_up):
    """A selection of seeds is a whole table of fewer runs, not one with holes."""
    for cell in made_up.cells:
        cell["seeds"] = SEEDS[:2]
    frame, artefact = build(made_up)
    assert value_of(frame, "random_label", "lap")["n"] == 2
    assert "of 3 runs" not in layout.to_markdown(layout.lay_out(frame, artefact))


def test_published_value_without_a_number_of_runs_is_shown_and_decides_nothing(made_up, tmp_path):
    summary = pd.read_csv(PUBLISHED / "summary.csv").assign(n_seeds=None)
    summary.to_csv(tmp_path / "summary.csv", index=False)
    (tmp_path / "synthetic_runs.csv").symlink_to(PUBLISHED / "synthetic_runs.csv")
    artefact = validate(Artefact, made_up.description, "test")
    frame = tables.build(artefact, made_up.cells, made_up.metrics, NO_RUNS, tmp_path, "paper")
    row = value_of(frame, "random_label", "lap")
    assert (row["published_mean"], row["verdict"]) == (77.91, "not decided")
    assert frame.loc[frame["quantity"] == "value", "published_n"].isna().all()
