"""`make demo-all` on stand-in data: few jobs, everything made, and the direction that LAP promises."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from lapwing.study_files import read_studies
from tests.workflow.conftest import ROOT, Project, new_demo

pytestmark = pytest.mark.workflow

STUDIES = read_studies(ROOT / "studies", "demo")
ARTEFACTS = {name: artefact for study in STUDIES.values() for name, artefact in study.artefacts.items()}
ENDINGS = {"table": ("tables", ("csv", "md", "tex")), "figure": ("figures", ("pdf", "png", "svg"))}
EVERYTHING = ("--config", "demo=[]")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The repository's own studies and settings: every artefact, made at demo scale."""
    project = new_demo(tmp_path_factory.mktemp("demo"))
    assert project.planned()["train"] <= 20  # a first look
    assert project.planned(*EVERYTHING)["train"] <= 60
    project.run(*EVERYTHING)
    return project


def results(demo: Project, name: str) -> pd.DataFrame:
    """A table of results at the last epoch of each run."""
    table = pd.read_parquet(demo.folder / "outputs" / "demo" / "results" / f"{name}.parquet")
    run = [*STUDIES[name.removesuffix("_sources")].values, "seed"]
    return table[table["epoch"] == table.groupby(run)["epoch"].transform("max")]


def means_of(demo: Project, study: str, **axes: object) -> "pd.Series[float]":
    """The study's metric, on the test set, of each method in a cell, averaged over the seeds."""
    table, metric = results(demo, study), STUDIES[study].cells[0].metric
    chosen = table[(table["split"] == "test") & (table["metric"] == metric.name)]
    for axis, value in axes.items():
        chosen = chosen[chosen[axis] == value]
    return chosen.groupby("method")["value"].mean()


@pytest.mark.parametrize("study", STUDIES)
def test_a_demo_study_is_small(study: str) -> None:
    assert len(STUDIES[study].cells) <= 14


def test_the_first_look_is_a_handful() -> None:
    named = yaml.safe_load((ROOT / "config.yaml").read_text())["demo"]
    assert 4 <= len(named) <= 9
    assert set(named) <= ARTEFACTS.keys()


@pytest.mark.parametrize("name", ["report.html", *ARTEFACTS])
def test_demo_makes_every_file(demo: Project, name: str) -> None:
    folder = demo.folder / "outputs" / "demo"
    if name == "report.html":
        paths = [folder / name]
    else:
        where, endings = ENDINGS[ARTEFACTS[name].kind]
        paths = [folder / where / f"{name}.{ending}" for ending in endings]
        paths += [folder / "notebooks" / f"{name}.{ending}" for ending in ("ipynb", "html")]
    assert all(path.stat().st_size > 400 for path in paths)


def test_second_demo_does_nothing_and_says_so(demo: Project) -> None:
    assert "Nothing to be done" in demo.run(*EVERYTHING)


@pytest.mark.parametrize("name", [name for name, one in ARTEFACTS.items() if one.kind == "table"])
def test_tables_say_first_that_this_is_no_reproduction(demo: Project, name: str) -> None:
    folder = demo.folder / "outputs" / "demo" / "tables"
    assert (folder / f"{name}.md").read_text().startswith("Demo scale: ")
    verdicts = pd.read_csv(folder / f"{name}.csv").get("verdict")
    assert verdicts is None or verdicts.isna().all()


def test_the_report_says_first_that_this_is_no_reproduction(demo: Project) -> None:
    assert "no reproduction" in (demo.folder / "outputs" / "demo" / "report.html").read_text()


def test_report_opens_offline(demo: Project) -> None:
    page = (demo.folder / "outputs" / "demo" / "report.html").read_text()
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page)


@pytest.mark.parametrize(
    "study",
    ["table_1", "table_3", "table_4", "table_7", "table_10", "figure_3a", "imagenet64", "leaderboard"],
)
def test_corrupt_sources_end_with_the_highest_unreliability(demo: Project, study: str) -> None:
    sources = results(demo, f"{study}_sources")
    judged = sources[(sources["method"] == "lap") & (sources["corruption"] != "original")]
    assert len(judged)
    for run, of_run in judged.groupby([*STUDIES[study].values, "seed"]):
        corrupt = of_run[of_run["is_corrupt"]]["unreliability"]
        others = of_run[~of_run["is_corrupt"]]["unreliability"]
        assert corrupt.min() > others.max(), run


def test_no_rater_is_taken_for_corrupt_who_is_not(demo: Project) -> None:
    """A rater of three comments seldom has a history, so not all of the corrupt ones are found."""
    sources = results(demo, "goemotions_sources")
    judged = sources[(sources["method"] == "lap") & (sources["corruption"] == "random_label")]
    for seed, of_run in judged.groupby("seed"):
        found = of_run[of_run["unreliability"] > 20]
        assert found["is_corrupt"].all(), seed
        assert len(found) >= of_run["is_corrupt"].sum() - 2, seed


@pytest.mark.parametrize(
    ("study", "axes"),
    [
        ("table_1", {"corruption": "random_label"}),
        ("table_1", {"corruption": "batch_label_flip"}),
        ("table_3", {"corruption": "random_label"}),
        ("table_4", {"corruption": "random_label"}),
        ("table_4", {"corruption": "batch_label_flip"}),
        ("table_7", {"corruption": "random_label"}),
        ("imagenet64", {}),
        ("figure_3a", {"n_corrupt": 3}),
        ("table_1_multi_source", {"corruption": "random_label"}),
        ("table_1_multi_source", {"corruption": "batch_label_flip"}),
        ("figure_4", {"n_corrupt": 2}),
        ("figure_4", {"n_corrupt": 4}),
        ("difficult_data", {"corruption": "random_label"}),
        ("goemotions", {"corruption": "random_label"}),
        ("goemotions_agreed", {"corruption": "random_label"}),
    ],
)
def test_lap_is_not_below_standard_under_label_corruption(
    demo: Project, study: str, axes: dict[str, object]
) -> None:
    means = means_of(demo, study, **axes)
    assert means["lap"] >= means["standard"]


@pytest.mark.parametrize("corruption", ["random_label", "batch_label_flip"])
def test_the_oracle_is_above_training_on_all_sources(demo: Project, corruption: str) -> None:
    table = results(demo, "oracle")
    chosen = table[(table["split"] == "test") & (table["metric"] == "top_1")]
    means = chosen[chosen["corruption"] == corruption].groupby("train_on")["value"].mean()
    assert means["clean_sources"] > means["all_sources"]


def test_the_leaderboard_names_ranks_and_costs_of_all_methods(demo: Project) -> None:
    text = (demo.folder / "outputs" / "demo" / "tables" / "leaderboard.md").read_text()
    ranks = next(line for line in text.splitlines() if "mean rank" in line)
    assert len(re.findall(r"\d\.\d\d", ranks)) == 7
    assert "time of an epoch, standard = 1" in text


def test_lap_errs_less_than_standard_under_random_targets(demo: Project) -> None:
    table = results(demo, "table_10")
    chosen = table[(table["corruption"] == "random_label") & (table["split"] == "test")]
    means = chosen.groupby("method")["value"].mean()
    assert means["lap"] < means["standard"]


@pytest.mark.parametrize("study", ["table_4", "difficult_data"])
def test_clean_data_give_the_same_with_and_without_lap(demo: Project, study: str) -> None:
    means = means_of(demo, study, corruption="original")
    assert abs(means["lap"] - means["standard"]) < 0.03


def test_where_things_are_is_named(demo: Project) -> None:
    """The page of the outputs names every kind of folder that there is."""
    page = (ROOT / "outputs" / "README.md").read_text()
    for folder in Path(demo.folder, "outputs", "demo").iterdir():
        assert folder.name.split(".")[0] in page
