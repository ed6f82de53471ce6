"""The report stands alone: one page, nothing from elsewhere, every run accounted for."""

import html
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from lapwing.errors import UserError
from lapwing.results import figures, tables
from lapwing.results.artefact import Artefact
from lapwing.results.collect import aggregate
from lapwing.results.report import report
from lapwing.schema import validate
from tests.results.conftest import PUBLISHED
from tests.results.test_present import outside_references

INTUITION = {"kind": "figure", "title": "Figure 1: intuition"}


def made(made_up, tmp_path, scale="paper", left_out=(), only=None, **changes):
    """A report on a made-up table and a figure."""
    made_up.description |= changes
    out = {kind: tmp_path / f"table_1_{kind}.parquet" for kind in ("results", "sources", "runs")}
    aggregate(**made_up.write(tmp_path / "part"), study=made_up.study, out=out)
    artefact = validate(Artefact, made_up.description, "test")
    frame = tables.build(artefact, made_up.cells, made_up.metrics, pd.DataFrame(), PUBLISHED, scale)
    table = {kind: tmp_path / "tables" / f"table_1.{kind}" for kind in ("csv", "md", "tex")}
    tables.save(frame, artefact, table)
    figure = {"png": tmp_path / "figures" / "figure_1.png"}
    figures.save(Figure(figsize=(1, 1)), figure)
    files = {"table": table, "html": tmp_path / "n.html"}
    artefacts = [
        {"name": "table_1", "description": made_up.description, **files, "studies": ["table_1"]},
        {"name": "figure_1", "description": INTUITION, "figure": figure},
    ]
    report(
        artefacts,
        [out["runs"]],
        scale,
        {"scale": scale, "only": only or {}},
        left_out,
        tmp_path / "report.html",
    )
    return (tmp_path / "report.html").read_text()


class Balanced(HTMLParser):
    """Every element that is opened is closed, in order; ids are unique."""

    EMPTY = frozenset({"meta", "img", "br", "hr"})

    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_whole_and_loads_nothing_from_elsewhere(made_up, tmp_path):
    page = made(made_up, tmp_path)
    parser = Balanced()
    parser.feed(page)
    assert not parser.open
    assert len(parser.ids) == len(set(parser.ids))
    beside = {".csv", ".md", ".tex", ".html", ".png"}  # links to follow, nothing that is loaded
    assert {Path(link).suffix for link in outside_references(page)} == beside
    assert "://" not in page


def test_ours_stand_beside_the_published_with_verdicts(made_up, tmp_path):
    page = made(made_up, tmp_path)
    assert "78.00 ± 0.10" in page
    assert "77.91 ± 3.39" in page
    assert "Verdicts (last epoch): " in page
    assert "Verdicts, added up over the tables: " in page
    assert 'src="data:image/png;base64,' in page
    assert 'alt="Figure 1: intuition"' in page


@pytest.mark.parametrize(
    ("scale", "notice"),
    [("demo", "Demo scale: stand-in data"), ("subset", "Subset scale: a subset, not a reproduction")],
)
def test_report_below_paper_scale_begins_with_the_notice_and_has_no_verdict(made_up, tmp_path, scale, notice):
    page = made(made_up, tmp_path, scale=scale)
    body = page[page.index("<body>") :]
    assert body.index(notice) < body.index("<h1>")
    assert "Verdicts" not in body


def test_every_run_says_where_it_comes_from(made_up, tmp_path):
    page = made(made_up, tmp_path)
    for text in (
        "0123abc",
        "2.13.0",
        "<dd>stacked by vmap</dd>",
        "<dd>CPU</dd>",
        "2026-01-01T00:00:00+00:00",
    ):
        assert text in page, text
    assert page.count("<td>abc123</td>") == 12
    assert "12 runs, 84.0 s of training" in page


def test_runs_found_finished_are_counted_apart(made_up, tmp_path):
    for run in made_up.runs[:5]:
        run["trained"] = "found finished"
    assert "in this run (7), found finished (5)" in made(made_up, tmp_path)


def test_runs_from_several_places_are_said_above_the_table_that_shows_them(made_up, tmp_path):
    lock = {"lock": "python 3.11.9, torch 2.13.0, numpy 2.4.6"}
    for run in made_up.runs:
        run["origins"] = [{"machine": "Processor 1", **lock}]
    assert "Its runs were trained" not in made(made_up, tmp_path)
    for run in made_up.runs[:5]:
        run |= {"trained": "found finished", "elsewhere": "on another machine"}
        run["origins"] = [{"machine": "Processor 2", **lock}]
    page = made(made_up, tmp_path)
    assert page.count("Its runs were trained on several machines: Processor 1 (7), Processor 2 (5).") == 1
    assert "<dt>Machine</dt><dd>Processor 1 (7), Processor 2 (5)</dd>" in page
    assert "<dt>Taken over, trained</dt><dd>on another machine (5)</dd>" in page
    made_up.description["only"] = {"corruption": ["random_label"]}  # whose runs are all from one machine
    assert "Its runs were trained" not in made(made_up, tmp_path)


def test_code_that_is_not_recorded_says_so(made_up, tmp_path):
    for run in made_up.runs:
        run["git_commit"] = None
    assert "<dt>Code</dt><dd>not recorded</dd>" in made(made_up, tmp_path)


def test_settings_are_shown_as_they_are_written(made_up, tmp_path):
    page = made(made_up, tmp_path, only={"seed": [2], "dataset": None})
    assert html.escape('{"dataset":null,"seed":[2]}', quote=True).replace("&quot;", "&#34;") in page


def test_what_is_left_out_says_what_to_do(made_up, tmp_path):
    left_out = [{"name": "table_7", "why": "accept the licence: --config data.accept=[tiny_imagenet]"}]
    assert "accept the licence: --config" in made(made_up, tmp_path, left_out=left_out)


def test_hostile_text_is_escaped(made_up, tmp_path):
    hostile = '"><img src=x onerror=alert(1)><script>alert(1)</script>'
    made_up.runs[0]["git_commit"] = hostile
    page = made(made_up, tmp_path, left_out=[{"name": hostile, "why": hostile}], title=hostile)
    assert "<script" not in page
    assert "<img src=x" not in page


def test_missing_table_is_one_sentence(tmp_path):
    artefact = {
        "name": "table_1",
        "description": {"kind": "table", "title": "Table 1", "rows": ["dataset"]},
        "table": {"csv": tmp_path / "gone.csv"},
    }
    with pytest.raises(UserError, match="There is no file .*gone.csv"):
        report([artefact], [], "paper", {}, [], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_report_of_nothing_is_a_page(tmp_path):
    report([], [], "demo", {}, [], tmp_path / "report.html")
    assert "0 artefacts from 0 runs" in (tmp_path / "report.html").read_text()
