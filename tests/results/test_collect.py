"""Parts become one tidy table of each kind, or a sentence says what is wrong with them."""

import numpy as np
import pandas as pd
import pytest

from lapwing import files
from lapwing.errors import UserError
from lapwing.results.collect import aggregate, at_epoch_ends, at_the_end, check_results, without_diverged
from tests.results.conftest import axes_of


def collected(made_up, tmp_path):
    out = {kind: tmp_path / "results" / f"{kind}.parquet" for kind in ("results", "sources", "runs")}
    aggregate(**made_up.write(tmp_path / "part"), study=made_up.study, out=out)
    return {kind: files.read_table(path) for kind, path in out.items()}


def test_parts_become_tidy_tables(made_up, tmp_path):
    tables = collected(made_up, tmp_path)
    pd.testing.assert_frame_equal(tables["results"], made_up.metrics)
    pd.testing.assert_frame_equal(tables["sources"], made_up.sources)
    runs = tables["runs"]
    assert len(runs) == 12
    assert runs.loc[0, "version_torch"] == "2.13.0"
    assert runs.loc[0, "study"] == "table_1"
    assert runs["diverged_epoch"].isna().all()


def test_several_parts_are_one_study(made_up, tmp_path):
    whole, parts = made_up.metrics, []
    for corruption in ("original", "random_label"):
        made_up.metrics = whole[whole.corruption == corruption]
        parts.append(made_up.write(tmp_path / corruption))
    out = {kind: tmp_path / f"{kind}.parquet" for kind in ("results", "sources", "runs")}
    metrics = [part["metrics"][0] for part in parts]
    aggregate(metrics, parts[0]["sources"], parts[0]["runs"], made_up.study, out)
    assert len(files.read_table(out["results"])) == len(whole)


def repeat_a_row(made_up):
    made_up.metrics = pd.concat([made_up.metrics, made_up.metrics.head(1)])


def put_nan(made_up):
    made_up.metrics.loc[3, "value"] = np.nan


def put_infinity(made_up):
    made_up.metrics.loc[3, "value"] = np.inf


def take_a_run_out(made_up):
    made_up.runs.pop()


def repeat_a_run(made_up):
    made_up.runs.append(made_up.runs[0])


def take_results_out(made_up):
    made_up.metrics = made_up.metrics[~((made_up.metrics.seed == 8) & (made_up.metrics.method == "lap"))]


def cut_a_run_short(made_up):
    made_up.metrics = made_up.metrics[~((made_up.metrics.seed == 8) & (made_up.metrics.epoch == 4))]


def name_another_method(made_up):
    made_up.metrics["method"] = made_up.metrics["method"].replace("lap", "arfl")


def rename_a_column(made_up):
    made_up.metrics = made_up.metrics.rename(columns={"value": "score"})


def repeat_a_source(made_up):
    made_up.sources = pd.concat([made_up.sources, made_up.sources.tail(1)])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (repeat_a_row, "corruption=original, method=standard, seed=2, epoch=1, .* is there twice"),
        (put_nan, "a value is not finite: dataset=fashion_mnist, .*seed=2, epoch=2, metric=top_1"),
        (put_infinity, "a value is not finite"),
        (take_a_run_out, "run .*corruption=random_label, method=lap, seed=8 is missing"),
        (repeat_a_run, "seed=2 is there twice"),
        (take_results_out, "there are no test results of .*method=lap, seed=8"),
        (cut_a_run_short, r"end at different epochs \(3 and 4\)"),
        (name_another_method, "method=arfl, seed=2 is no run of this study"),
        (rename_a_column, "its columns are .*score; a part of this study has .*value"),
        (repeat_a_source, "source=1 is there twice"),
    ],
)
def test_what_is_wrong_with_a_part_is_one_sentence(made_up, tmp_path, damage, sentence):
    damage(made_up)
    with pytest.raises(UserError, match=sentence):
        collected(made_up, tmp_path)
    assert not (tmp_path / "results").exists()


def test_cells_that_were_not_asked_for_may_be_absent(made_up, tmp_path):
    made_up.cells.append({**made_up.cells[0], "method": "arfl", "seeds": []})
    assert len(collected(made_up, tmp_path)["results"]) == 96


def test_diverged_run_is_kept_but_left_out_of_tables(made_up, tmp_path):
    made_up.runs[0]["diverged"] = {"epoch": 3, "step": 17}
    lost = (made_up.metrics.method == "standard") & (made_up.metrics.corruption == "original")
    made_up.metrics = made_up.metrics[~(lost & (made_up.metrics.seed == 2) & (made_up.metrics.epoch >= 3))]
    tables = collected(made_up, tmp_path)
    assert tables["runs"]["diverged_epoch"].dropna().tolist() == [3]
    left = without_diverged(tables["results"], tables["runs"])
    kept = left[(left.method == "standard") & (left.corruption == "original")]
    assert set(kept.seed) == {4, 8}


def test_a_study_without_runs_has_empty_tables(tmp_path):
    out = {kind: tmp_path / f"{kind}.parquet" for kind in ("results", "sources", "runs")}
    aggregate([], [], [], {"name": "figure_1", "cells": [], "settings": []}, out)
    assert files.read_table(out["results"]).empty


def with_records(made_up):
    """The sources of a study that records them within epochs too."""
    inside = made_up.sources.assign(step=made_up.sources["step"] - 5, mean_loss=np.nan)
    return pd.concat([made_up.sources, inside]).sort_values("step", kind="stable", ignore_index=True)


def test_records_within_epochs_can_be_left_out(made_up):
    ends = at_epoch_ends(with_records(made_up))
    assert len(ends) == len(made_up.sources)
    assert ends["mean_loss"].notna().all()


def test_end_of_training_is_one_row_per_source_of_each_run(made_up):
    """Runs of another study end at another step."""
    other = made_up.sources[made_up.sources["epoch"] < 3].assign(level=0.5)
    both = pd.concat([with_records(made_up), other], ignore_index=True)
    end = at_the_end(both)
    assert end.groupby(end["level"].notna())["step"].unique().map(list).tolist() == [[40], [20]]
    assert len(end) == 2 * 2 * len(made_up.runs)


def test_records_of_a_part_are_not_taken_for_the_same_row_twice(made_up, tmp_path):
    made_up.sources = with_records(made_up)
    assert len(collected(made_up, tmp_path)["sources"]) == 2 * 12 * 4 * 2


def take_another_part_s(kind):
    """A table of the same runs, as another configuration made it."""

    def damage(made_up, part):
        cells = [{"axes": axes_of(cell), "seeds": cell["seeds"], "key": "other"} for cell in made_up.cells]
        files.write_table(part[kind][0], getattr(made_up, kind), {"cells": cells})

    return damage


def say_nothing_of_its_runs(made_up, part):
    files.write_table(part["metrics"][0], made_up.metrics, {})


def name_no_keys(made_up, part):
    """As a part was written before there were keys in it."""
    cells = [{"axes": axes_of(cell), "seeds": cell["seeds"]} for cell in made_up.cells]
    files.write_table(part["metrics"][0], made_up.metrics, {"cells": cells})


def train_with_other_settings(made_up, part):
    files.write_json(part["runs"][0], [{**run, "settings": {"epochs": 9}} for run in made_up.runs])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (take_another_part_s("metrics"), "metrics.parquet: it holds values of other runs than runs.json"),
        (take_another_part_s("sources"), "sources.parquet: it holds values of other runs than runs.json"),
        (name_no_keys, "metrics.parquet: it holds values of other runs .* rm -r"),
        (say_nothing_of_its_runs, "metrics.parquet: it holds values of other runs"),
        (train_with_other_settings, r"seed=2 was trained with other settings than are asked for now.*rm -r"),
    ],
)
def test_files_of_another_configuration_are_refused(made_up, tmp_path, damage, sentence):
    part = made_up.write(tmp_path / "part")
    damage(made_up, part)
    out = {kind: tmp_path / "results" / f"{kind}.parquet" for kind in ("results", "sources", "runs")}
    with pytest.raises(UserError, match=sentence):
        aggregate(**part, study=made_up.study, out=out)
    assert not (tmp_path / "results").exists()


def test_tables_of_something_else_are_refused(made_up, tmp_path):
    names = {"results": "table_1", "sources": "table_1_sources", "runs": "table_1_runs"}
    out = {kind: tmp_path / f"{name}.parquet" for kind, name in names.items()}
    aggregate(**made_up.write(tmp_path / "part"), study=made_up.study, out=out)
    asked = {"table_1": files.content_key(made_up.study)}
    check_results({kind: [path] for kind, path in out.items()}, asked)
    with pytest.raises(UserError, match=r"holds something else than the results of table_1.* rm .*table_1"):
        check_results({"results": [out["results"]]}, {"table_1": "of another selection"})
    out["sources"].replace(out["results"])
    with pytest.raises(UserError, match="something else than the results of table_1"):
        check_results({"results": [out["results"]]}, asked)
    out["results"].rename(tmp_path / "table_2.parquet")
    with pytest.raises(UserError, match="something else than the results of table_2"):
        check_results({"results": [tmp_path / "table_2.parquet"]}, asked | {"table_2": asked["table_1"]})
