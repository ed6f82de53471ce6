"""Below a table of many methods: ranks by hand, costs by hand, in every file."""

import pandas as pd
import pytest

from lapwing.results import layout, leaderboard, tables
from lapwing.results.artefact import Artefact
from lapwing.results.collect import aggregate
from lapwing.schema import validate
from tests.results.conftest import PUBLISHED

ALONE = {"published": None, "published_columns": [], "readings": ["last"], "rows": ["dataset", "corruption"]}


def board(made_up, tmp_path, **changes):
    """The frame with its footer, and the artefact."""
    artefact = validate(Artefact, made_up.description | ALONE | changes, "test")
    out = {kind: tmp_path / f"{kind}.parquet" for kind in ("results", "sources", "runs")}
    aggregate(**made_up.write(tmp_path / "part"), study=made_up.study, out=out)
    runs = pd.read_parquet(out["runs"])
    frame = tables.build(artefact, made_up.cells, made_up.metrics, runs, PUBLISHED, "paper")
    return leaderboard.with_footer(frame, artefact, made_up.cells, runs), artefact


def footer(frame, quantity):
    return frame[frame["quantity"] == quantity].set_index("method")["mean"]


def slower(made_up, method, factor, epochs):
    for run in made_up.runs:
        if run["method"] == method:
            run |= {"seconds": factor * run["seconds"], "settings": {"epochs": epochs}}


def test_mean_rank_averages_ties(made_up, tmp_path):
    """Original data: both 82 %; random label: LAP is better."""
    frame, _ = board(made_up, tmp_path)
    ranks = footer(frame, "mean_rank")
    assert ranks.to_dict() == {"standard": 1.75, "lap": 1.25}
    bold = frame[frame["quantity"] == "mean_rank"].set_index("method")["bold"]
    assert bold.to_dict() == {"standard": False, "lap": True}


def test_ranks_take_the_better_direction(made_up, tmp_path):
    for cell in made_up.cells:
        cell["metric"] = {"name": "top_1", "better": "lower", "unit": "loss"}
    frame, _ = board(made_up, tmp_path)
    assert footer(frame, "mean_rank").to_dict() == {"standard": 1.25, "lap": 1.75}


def test_rows_in_which_a_method_is_missing_are_not_ranked(made_up, tmp_path):
    made_up.cells.append({**made_up.cells[3], "corruption": "added_noise", "seeds": []})
    frame, artefact = board(made_up, tmp_path)
    assert frame.loc[frame["quantity"] == "mean_rank", "n"].tolist() == [2, 2]
    assert layout.lay_out(frame, artefact).footer[0].lines[0].label == "mean rank over 2 rows"


def test_costs_are_relative_to_standard_per_run_and_per_epoch(made_up, tmp_path):
    """LAP takes three times as long here, for twice as many epochs."""
    slower(made_up, "lap", 3.0, 8)
    frame, _ = board(made_up, tmp_path)
    assert footer(frame, "cost_of_run").to_dict() == {"standard": 1.0, "lap": pytest.approx(3.0)}
    assert footer(frame, "cost_of_epoch").to_dict() == {"standard": 1.0, "lap": pytest.approx(1.5)}


def test_only_runs_that_were_trained_alike_are_compared(made_up, tmp_path):
    """A run alone takes longer than its share of a stack: that is no cost of the method."""
    for run in made_up.runs:
        if run["method"] == "lap" and run["seed"] != 2:
            run |= {"seconds": 100 * run["seconds"], "replicas": 1}
    frame, _ = board(made_up, tmp_path)
    assert footer(frame, "cost_of_run")["lap"] == pytest.approx(3.0 / 6.0)  # of seed 2 alone
    for run in made_up.runs:
        if run["method"] == "lap":
            run |= {"replicas": 1}
    frame, artefact = board(made_up, tmp_path)
    assert pd.isna(footer(frame, "cost_of_run")["lap"])
    block = layout.lay_out(frame, artefact).footer[0]
    assert [entry.text for entry in block.lines[1].entries] == ["1.00", ""]
    assert "wall-clock time" in layout.to_markdown(layout.lay_out(frame, artefact))


def test_rows_may_have_an_axis_of_whole_numbers(made_up, tmp_path):
    """Lines below all rows have no value there."""
    for table in (made_up.metrics, made_up.sources):
        table["n_sources"] = 10
    made_up.runs = [{**run, "n_sources": 10} for run in made_up.runs]
    made_up.cells = [{**cell, "n_sources": 10} for cell in made_up.cells]
    frame, artefact = board(made_up, tmp_path, rows=["dataset", "corruption", "n_sources"])
    tables.save(frame, artefact, {"csv": tmp_path / "x.csv"})
    for each in (frame, tables.read(tmp_path / "x.csv", artefact)):
        said = layout.lay_out(each, artefact)
        assert [block.head[-1] for block in said.blocks] == ["10", "10"]
        assert said.footer[0].head == ["Fashion-MNIST", "", ""]


def test_runs_that_diverged_cost_nothing(made_up, tmp_path):
    lost = next(run for run in made_up.runs if run["method"] == "lap")
    lost |= {"seconds": 1e9, "diverged": {"epoch": 1, "step": 1}}
    frame, _ = board(made_up, tmp_path)
    assert footer(frame, "cost_of_run")["lap"] < 10


def test_conditions_have_ranks_of_their_own(made_up, tmp_path):
    """The first axis of the rows groups them: here the dataset stands for the conditions."""
    metrics = made_up.metrics.assign(dataset="digits", value=1 - made_up.metrics["value"])
    made_up.metrics = pd.concat([made_up.metrics, metrics], ignore_index=True)
    made_up.sources = pd.concat(
        [made_up.sources, made_up.sources.assign(dataset="digits")], ignore_index=True
    )
    made_up.runs += [{**run, "dataset": "digits"} for run in made_up.runs]
    made_up.cells += [{**cell, "dataset": "digits"} for cell in made_up.cells]
    frame, artefact = board(made_up, tmp_path)
    ranks = frame[frame["quantity"] == "mean_rank"].set_index(["dataset", "method"])["mean"]
    assert ranks["fashion_mnist", "lap"] == ranks["digits", "standard"] == 1.25
    blocks = layout.lay_out(frame, artefact).footer
    assert [block.head for block in blocks] == [["Fashion-MNIST", ""], ["Digits", ""]]


def test_footer_is_in_every_file(made_up, tmp_path):
    frame, artefact = board(made_up, tmp_path)
    paths = {kind: tmp_path / f"leaderboard.{kind}" for kind in ("csv", "md", "tex")}
    tables.save(frame, artefact, paths)
    again = layout.lay_out(tables.read(paths["csv"], artefact), artefact)
    assert again == layout.lay_out(frame, artefact)
    assert "| mean rank over 2 rows | 1.75 | **1.25** |" in paths["md"].read_text()
    assert r"mean rank over 2 rows & 1.75 & \textbf{1.25} \\" in paths["tex"].read_text()
    assert "mean rank over 2 rows" in layout.to_html(again)
    assert "time of an epoch, standard = 1" in paths["tex"].read_text()


def test_one_group_is_all_rows(made_up, tmp_path):
    frame, artefact = board(made_up, tmp_path, rows=["corruption"])
    assert [block.head for block in layout.lay_out(frame, artefact).footer] == [["All rows"]]


def test_nothing_run_has_no_footer(made_up):
    made_up.metrics = pd.DataFrame()
    artefact = validate(Artefact, made_up.description | ALONE, "test")
    frame = tables.build(artefact, made_up.cells, made_up.metrics, pd.DataFrame(), PUBLISHED, "paper")
    assert len(leaderboard.with_footer(frame, artefact, made_up.cells, pd.DataFrame())) == len(frame)
