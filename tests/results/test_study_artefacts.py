"""What an artefact needs of its study is checked before any job starts."""

import pytest

from lapwing.errors import UserError
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
