"""`make demo` on stand-in data: few jobs, everything made, and the direction that LAP promises."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.workflow.conftest import ROOT, Project, new_project

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The repository's own studies and settings, made at demo scale."""
    project = new_project(tmp_path_factory.mktemp("demo"))
    shutil.rmtree(project.folder / "studies")
    shutil.copytree(ROOT / "studies", project.folder / "studies")
    shutil.copy(ROOT / "config.yaml", project.folder / "config.yaml")
    assert project.planned()["train"] <= 20
    project.run()
    return project


def results(demo: Project, name: str) -> pd.DataFrame:
    """A table of results at the last epoch."""
    table = pd.read_parquet(demo.folder / "outputs" / "demo" / "results" / f"{name}.parquet")
    return table[table["epoch"] == table["epoch"].max()]


@pytest.mark.parametrize(
    "name",
    [
        "report.html",
        *(f"tables/{table}.{ending}" for table in ("table_1", "table_10") for ending in ("csv", "md", "tex")),
        *(f"figures/figure_1.{ending}" for ending in ("pdf", "png", "svg")),
        *(
            f"notebooks/{name}.{end}"
            for name in ("figure_1", "table_1", "table_10")
            for end in ("ipynb", "html")
        ),
    ],
)
def test_demo_makes_every_file(demo: Project, name: str) -> None:
    assert (demo.folder / "outputs" / "demo" / name).stat().st_size > 500


def test_second_demo_does_nothing_and_says_so(demo: Project) -> None:
    assert "Nothing to be done" in demo.run()


def test_tables_and_report_say_first_that_this_is_no_reproduction(demo: Project) -> None:
    folder = demo.folder / "outputs" / "demo"
    for table in ("table_1", "table_10"):
        assert (
            (folder / "tables" / f"{table}.md")
            .read_text()
            .startswith("Demo scale: stand-in data, no reproduction")
        )
        verdicts = pd.read_csv(folder / "tables" / f"{table}.csv").get("verdict")
        assert verdicts is None or verdicts.isna().all()
    assert "stand-in data, no reproduction" in (folder / "report.html").read_text()


def test_report_opens_offline(demo: Project) -> None:
    page = (demo.folder / "outputs" / "demo" / "report.html").read_text()
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page)


@pytest.mark.parametrize(
    ("study", "corruptions"),
    [
        (
            "table_1",
            {
                "chunk_shuffle",
                "random_label",
                "batch_label_shuffle",
                "batch_label_flip",
                "added_noise",
                "replaced_noise",
            },
        ),
        ("table_10", {"random_label"}),
    ],
)
def test_corrupt_sources_end_with_the_highest_unreliability(
    demo: Project, study: str, corruptions: set[str]
) -> None:
    sources = results(demo, f"{study}_sources")
    judged = sources[(sources["method"] == "lap") & sources["corruption"].isin(corruptions)]
    assert set(judged["corruption"]) == corruptions
    for run, of_run in judged.groupby(["corruption", "seed"]):
        corrupt = of_run[of_run["is_corrupt"]]["unreliability"]
        others = of_run[~of_run["is_corrupt"]]["unreliability"]
        assert corrupt.min() > others.max(), run


@pytest.mark.parametrize("corruption", ["random_label", "batch_label_shuffle", "batch_label_flip"])
def test_lap_is_not_below_standard_under_label_corruption(demo: Project, corruption: str) -> None:
    table = results(demo, "table_1")
    chosen = table[
        (table["corruption"] == corruption) & (table["split"] == "test") & (table["metric"] == "top_1")
    ]
    means = chosen.groupby("method")["value"].mean()
    assert means["lap"] >= means["standard"]


def test_lap_errs_less_than_standard_under_random_targets(demo: Project) -> None:
    table = results(demo, "table_10")
    chosen = table[(table["corruption"] == "random_label") & (table["split"] == "test")]
    means = chosen.groupby("method")["value"].mean()
    assert means["lap"] < means["standard"]


def test_clean_data_give_the_same_with_and_without_lap(demo: Project) -> None:
    table = results(demo, "table_1")
    chosen = table[
        (table["corruption"] == "original") & (table["split"] == "test") & (table["metric"] == "top_1")
    ]
    means = chosen.groupby("method")["value"].mean()
    assert abs(means["lap"] - means["standard"]) < 0.03


def test_where_things_are_is_named(demo: Project) -> None:
    """The page of the outputs names every kind of folder that there is."""
    page = (ROOT / "outputs" / "README.md").read_text()
    for folder in Path(demo.folder, "outputs", "demo").iterdir():
        assert folder.name.split(".")[0] in page
