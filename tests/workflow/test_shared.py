"""Checkouts that share a cache and a folder of finished runs, and artefacts that share studies."""

import re
from pathlib import Path

import pytest

from benchmarks.two_checkouts import start_together
from lapwing.study_files import read_studies
from tests.datasets.conftest import tar_of
from tests.workflow.conftest import Elsewhere, Project, new_demo, new_project

pytestmark = pytest.mark.workflow


def test_two_checkouts_started_together_train_no_run_twice_and_damage_nothing(tmp_path: Path) -> None:
    """What the cache may do twice, because it has no lock, is the same both times."""
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
        new_project(folder)
    together = start_together(folders, tmp_path / "shared", "paper")
    assert not together.failed
    assert together.differing() == []
    assert together.damaged() == []
    assert len(together.trained) == 8
    assert set(together.trained.values()) == {1}
    jobs = {name.partition("/")[0] for name in together.done}
    assert jobs == {"download", "prepare", "corrupt"}
    assert len(together.done) == 6
    again = start_together(folders, tmp_path / "shared", "paper", ["--dry-run"])
    for folder in folders:  # nothing looks out of date to either because of what the other wrote
        assert "Nothing to be done" in again.said(folder)


@pytest.mark.parametrize("artefact", ["figure_4", "table_1_ranking"])
def test_one_artefact_trains_the_runs_of_its_studies_and_no_other(tmp_path: Path, artefact: str) -> None:
    project = new_demo(tmp_path)
    text = project.run(artefact, "--dry-run", "--config", "scale=demo")
    trained = set(re.findall(r"^rule train:.*?wildcards: study=(\w+),", text, re.MULTILINE | re.DOTALL))
    studies = read_studies(project.folder / "studies", "demo").values()
    own = next(study for study in studies if artefact in study.artefacts)
    assert trained
    assert trained <= {own.name, *own.artefacts[artefact].studies}


def test_a_part_of_a_collection_is_the_part_that_the_mirror_holds_now(tmp_path: Path) -> None:
    """Also where a cache is shared with somebody whose mirror holds another part."""
    parts = [tar_of({f"tiny-imagenet-200/{name}": b"" for name in names}) for names in ("a", "ab")]
    shared = {"SNAKEMAKE_OUTPUT_CACHE": str(tmp_path / "cache")}
    (tmp_path / "cache").mkdir()
    one, other = (Elsewhere(new_demo(tmp_path / name).folder, shared) for name in ("one", "other"))
    held = tmp_path / "mirror/tiny-imagenet-subset/tiny-imagenet-200-subset.tar"
    held.parent.mkdir(parents=True)

    def words(mirror: str) -> list[str]:
        data = f"data={{mirror: [{mirror}], offline: true, accept: [tiny_imagenet]}}"
        return ["table_7", "--until", "download", "--cache", "--config", "scale=subset", data]

    def taken(project: Project) -> bytes:
        project.run(*words(str(tmp_path / "mirror")))
        return (project.folder / "resources/part/tiny_imagenet/tiny-imagenet-200.zip").read_bytes()

    held.write_bytes(parts[0])
    assert taken(one) == parts[0]
    held.write_bytes(parts[1])
    assert taken(other) == parts[1]
    assert taken(one) == parts[1]
    for mirror in (str(tmp_path / "mirror"), ""):  # away
        assert one.planned(*words(mirror))["download"] == 0
