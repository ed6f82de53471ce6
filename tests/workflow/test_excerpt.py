"""Single records: they are taken where PyTorch is, and shown where it is not."""

from pathlib import Path

import pytest

from tests.workflow.changes import ELSEWHERE, Changed
from tests.workflow.conftest import Project, new_demo

pytestmark = pytest.mark.workflow

ARTEFACT = "figure_3a_records"
EXCERPT = f"outputs/demo/excerpts/{ARTEFACT}.safetensors"
ONE_RUN = ("--config", f"demo=[{ARTEFACT}]", "only={method: lap, n_corrupt: 3, seed: 2}")


@pytest.fixture(scope="module")
def hearts(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The figure of one run and the report; all stages but training and the excerpt did without PyTorch."""
    project = new_demo(tmp_path_factory.mktemp("hearts"))
    without_torch = Changed(project.folder)
    (project.folder / ELSEWHERE).mkdir()
    (project.folder / ELSEWHERE / "torch.py").write_text("raise ModuleNotFoundError('there is no torch')")
    without_torch.run("--until", "corrupt", *ONE_RUN)
    project.run("--until", "train", *ONE_RUN)
    without_torch.run("--until", "aggregate", *ONE_RUN)
    project.run("--until", "excerpt", *ONE_RUN)
    without_torch.run(*ONE_RUN)
    return project


def test_a_record_is_shown_without_pytorch(hearts: Project) -> None:
    for name in (EXCERPT, f"outputs/demo/figures/{ARTEFACT}.png", "outputs/demo/report.html"):
        assert (hearts.folder / name).stat().st_size > 400
    assert hearts.planned(*ONE_RUN).total() == 0


def test_another_title_takes_no_other_records(hearts: Project) -> None:
    study = hearts.folder / "studies" / "figure_3a.yaml"
    before = study.read_text()
    study.write_text(before.replace("Figure 3a: a record", "Figure 3a: one record"))
    planned = hearts.planned(*ONE_RUN)
    study.write_text(before)
    assert (planned["present_figure"], planned["report"]) == (1, 1)
    assert not planned["excerpt"]


def test_a_new_seed_may_give_other_records(hearts: Project) -> None:
    planned = hearts.planned(*ONE_RUN[:-1], "only={method: lap, n_corrupt: 3, seed: [2, 4]}")
    assert (planned["corrupt"], planned["excerpt"], planned["present_figure"]) == (1, 1, 1)


def test_records_of_another_figure_are_refused(hearts: Project) -> None:
    """What was put in the place of the file is named, not drawn."""
    path = hearts.folder / EXCERPT
    before = path.read_bytes()
    path.write_bytes(Path(hearts.folder, "outputs/demo/data/beats.safetensors").read_bytes())
    said = hearts.run("--rerun-triggers", "mtime", *ONE_RUN, ok=False)
    path.write_bytes(before)
    assert f"{EXCERPT} holds something else than the records of {ARTEFACT}" in said
    assert f"rm {EXCERPT}" in said


def test_a_cluster_s_group_of_results_holds_the_excerpt(hearts: Project) -> None:
    """Snakemake refuses a group that is left and entered again."""
    planned = hearts.planned("--profile", "profiles/slurm", "--forceall", *ONE_RUN)
    assert planned["excerpt"] == 1
