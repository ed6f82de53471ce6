"""What an artefact needs of its study is checked before any job starts."""

import pytest

from lapwing.errors import UserError
from lapwing.results.artefact import Cell
from lapwing.study_files import read_studies
from tests.results.conftest import PUBLISHED
from tests.test_study import read

TINY = {"kind": "table", "title": "Tiny", "rows": ["corruption"]}


def with_artefact(tmp_path, conditions=None, grid=None, **changes):
    return read(
        tmp_path, artefacts={"tiny": TINY | changes}, conditions=conditions or {}, grid=grid or {}
    ).artefacts


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"readings": ["last", "validation"]},
            r"validation needs data that are left aside \(split.kind is given",
        ),
        (
            {"kind": "figure", "draws": "lines"},
            r"lines need numbers; corruption has \['original', 'random_label'\]",
        ),
        (
            {"kind": "figure", "draws": "boxes", "rows": ["dataset"]},
            "several cells share a place; add to rows",
        ),
    ],
)
def test_what_the_cells_have_not_is_one_sentence(tmp_path, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        with_artefact(tmp_path, **changes)


CURVE = {"split": "validation", "metric": {"name": "loss", "better": "lower", "unit": "loss"}}


def test_curves_need_the_split_and_the_column_that_they_name(tmp_path):
    figure = {"kind": "figure", "curves": [CURVE]}
    with pytest.raises(UserError, match="validation needs data that are left aside"):
        with_artefact(tmp_path, **figure)
    split = {"split": {"kind": "fraction", "train": 0.75}}
    assert with_artefact(tmp_path, split, **figure, marks_best_of="lap")["tiny"].curves
    with pytest.raises(UserError, match="tiny: marks_best_of: there is no column lab; did you mean lap"):
        with_artefact(tmp_path, split, **figure, marks_best_of="lab")


def curve(split, name, better="lower", unit="loss"):
    return {"split": split, "metric": {"name": name, "better": better, "unit": unit}}


@pytest.mark.parametrize(
    ("shown", "sentence"),
    [
        (curve("train", "top_2", "higher", "percent"), "train: metric.name: unknown metric top_2"),
        (curve("train", "objectiv"), "unknown metric objectiv; did you mean objective"),
        (curve("test", "objective"), "test: metric.name: unknown metric objective"),
        (curve("test", "auc", "higher", "share"), "test: metric.name: unknown metric auc"),
        (curve("train", "objective", "higher"), "metric: objective is better lower and its unit is loss"),
    ],
)
def test_a_curve_that_nobody_measures_is_one_sentence(tmp_path, shown, sentence):
    with pytest.raises(UserError, match=rf"tiny: curves: {shown['split']}: .*{sentence.split(': ')[-1]}"):
        with_artefact(tmp_path, kind="figure", curves=[shown])


@pytest.mark.parametrize(
    "shown",
    [
        *(curve("train", name) for name in ("loss", "objective")),
        curve("train", "top_1", "higher", "percent"),
        curve("test", "top_5", "higher", "percent"),
    ],
)
def test_a_curve_that_is_measured_is_drawn(tmp_path, shown):
    assert with_artefact(tmp_path, kind="figure", curves=[shown])["tiny"].curves


def test_a_curve_is_that_of_the_cells_which_the_artefact_shows(tmp_path):
    grid = {"dataset": ["digits", "two_moons"]}
    figure = {"kind": "figure", "rows": ["dataset", "corruption"]}
    figure["curves"] = [curve("test", "auc", "higher", "percent")]
    with pytest.raises(UserError, match="unknown metric auc"):
        with_artefact(tmp_path, grid=grid, **figure)
    assert with_artefact(tmp_path, grid=grid, only={"dataset": ["two_moons"]}, **figure)["tiny"].curves


def test_change_needs_standard_among_the_methods(tmp_path):
    with pytest.raises(UserError, match="changes relate to a method: standard"):
        with_artefact(tmp_path, grid={"method": ["lap"]}, shows="relative_change")


def test_validation_is_read_where_data_are_left_aside(tmp_path):
    split = {"split": {"kind": "fraction", "train": 0.75}}
    assert "tiny" in with_artefact(tmp_path, split, readings=["last", "validation"])


def test_an_artefact_of_one_metric_may_show_cells_that_are_judged_by_several(tmp_path):
    special = [{"where": {"method": "lap"}, "set": {"metric": {"name": "top_2"}}}]
    with pytest.raises(UserError, match="have different metrics"):
        read(tmp_path, special=special)
    metric = {"name": "loss", "better": "lower", "unit": "loss"}
    assert read(tmp_path, special=special, artefacts={"tiny": TINY | {"metric": metric}})


def of_the_repository():
    """Every artefact at the published size, and its cells."""
    for study in read_studies(PUBLISHED.parent / "studies", "paper").values():
        cells = [Cell.read(cell.shown()) for cell in study.cells]
        yield from ((name, artefact, cells) for name, artefact in study.artefacts.items())


def test_every_case_that_is_not_comparable_is_there():
    """A misspelt one would leave a verdict where there must be none."""
    for name, artefact, cells in of_the_repository():
        for case in artefact.published.not_comparable if artefact.published else ():
            assert any(case.matches(cell) for cell in cells), name


def test_arfl_is_nowhere_compared():
    """It was published with another framework (spec lap-core 7.4)."""
    shown = {
        name: {artefact.is_comparable(cell) for cell in cells if cell.axes["method"] == "arfl"}
        for name, artefact, cells in of_the_repository()
        if artefact.published and any(cell.axes["method"] == "arfl" for cell in cells)
    }
    assert set(shown) == {"table_1", "table_1_multi_source", "table_1_multi_source_change", "leaderboard"}
    assert all(is_comparable == {False} for is_comparable in shown.values())


def test_rivals_on_cifar_100_were_published_under_something_else():
    [(artefact, cells)] = [(one, cells) for name, one, cells in of_the_repository() if name == "table_1"]
    refused = {
        (cell.axes["dataset"], cell.axes["method"]) for cell in cells if not artefact.is_comparable(cell)
    }
    arfl = {(dataset, "arfl") for dataset in ("cifar_10", "cifar_100", "fashion_mnist")}
    assert refused == arfl | {("cifar_100", "idpa"), ("cifar_100", "coteaching")}


def test_artefacts_of_stand_in_data_name_them():
    """What the demo draws and tabulates of other data than the published."""
    demo, paper = (read_studies(PUBLISHED.parent / "studies", scale) for scale in ("demo", "paper"))
    for study in demo.values():
        published = set(paper[study.name].values.get("dataset", []))
        shown = set(study.values.get("dataset", []))
        for name, artefact in study.artefacts.items():
            assert shown - published <= set(artefact.stand_in), name
