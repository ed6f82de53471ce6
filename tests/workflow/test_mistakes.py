"""What a user is told, by Snakemake and before any job, about a mistake."""

from pathlib import Path

import pytest
import yaml

from lapwing.study import merged
from tests.workflow.conftest import STUDY, Project

pytestmark = pytest.mark.workflow


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["tinny"], "There is no target tinny; did you mean tiny?"),
        (["train"], "There is no target train; did you mean tiny?"),
        (["tiny", "--config", "scale=subset"], "tiny takes no part at scale subset; use scale=demo or"),
        (["--config", "finished_runs=Snakefile"], "config: finished_runs: Snakefile is no folder"),
        (["--config", "scal=demo"], "config: unknown key scal; did you mean scale?"),
        (
            ["--config", "scale=papr"],
            "config: scale: must be 'demo', 'subset' or 'paper' (it is 'papr').",
        ),
        (["--config", "data={mirorr: x}"], "config: unknown key data.mirorr; did you mean mirror?"),
        (["--config", "data={mirror: nowhere}"], "config: data.mirror: There is no folder nowhere"),
        (["--config", "data={accept: [imagenet]}"], "unknown dataset imagenet"),
        (["--config", "only={method: lapp}"], "only: no run has method lapp; near: lap."),
        (["--config", "only={metod: lap}"], "only: unknown axis metod; did you mean method?"),
        (["--config", "studies=nowhere"], "There is no folder nowhere"),
        (["--config", "gpu=2"], "tiny: method lap cannot train one run on 2 GPUs, because"),
        (["report", "--config", "gpu=2"], "tiny: method lap cannot train one run on 2 GPUs, because"),
        (
            ["--config", "gpu=1", "device=cpu"],
            "config: device: gpu grants every training job 1; set gpu to 0, or device to auto (it is 'cpu').",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistake_on_the_command_line(project: Project, words: list[str], sentence: str) -> None:
    text = project.run(*words, ok=False)
    assert f"lapwing: {sentence}" in text or sentence in text.split("lapwing: ", 1)[1]
    assert "Traceback" not in text
    assert not (project.folder / "outputs").exists()


def test_a_job_is_asked_nothing_about_what_others_train(project: Project) -> None:
    """Snakemake starts it, on a cluster's node or in a pod, with a target of its own."""
    stacked = merged(STUDY, {"conditions": {"methods": {"lap": {"form": "loss"}}}})
    project.write_study(stacked)
    alone = {"base": "tiny", "artefacts": {"other": STUDY["artefacts"]["tiny"]}, "grid": {"method": ["idpa"]}}
    project.write_study(alone, "other")
    assert "other: method idpa cannot train one run on 2 GPUs" in project.run("--config", "gpu=2", ok=False)

    job = ["--mode", "remote", "--target-jobs", "train:study=tiny,part=digits-original"]
    text = project.run("--dry-run", *job, "--allowed-rules", "train", "--config", "gpu=2")
    assert "rule train:" in text
    assert "lapwing:" not in text


def test_mistake_in_a_study(project: Project) -> None:
    project.write_study(merged(STUDY, {"conditions": {"epoch": 3}}))
    text = project.run(ok=False)
    assert "did you mean epochs?" in text
    assert "Traceback" not in text


def test_artefact_that_is_called_as_a_rule(project: Project) -> None:
    project.write_study({**STUDY, "artefacts": {"train": STUDY["artefacts"]["tiny"]}})
    text = project.run(ok=False)
    assert "lapwing: artefacts: train is the name of a rule; call it otherwise." in text
    assert "Traceback" not in text


def test_data_that_are_not_there_are_named_before_any_job(project: Project) -> None:
    project.write_study(merged(STUDY, {"grid": {"dataset": ["fashion_mnist"]}}))
    text = project.run("tiny", ok=False)
    assert "train-images-idx3-ubyte.gz" in text
    assert "data.mirror" in text
    assert "Traceback" not in text
    assert not (project.folder / "outputs").exists()


def test_all_leaves_out_what_has_no_data_and_says_so(project: Project) -> None:
    (project.folder / "studies" / "other.yaml").write_text(
        yaml.safe_dump(
            {
                "base": "tiny",
                "artefacts": {"other": STUDY["artefacts"]["tiny"]},
                "grid": {"dataset": ["fashion_mnist"]},
            }
        )
    )
    assert "other is left out" in project.run("report", "--dry-run")
    text = project.run()
    assert "other is left out" in text
    report = (project.folder / "outputs" / "paper" / "report.html").read_text()
    assert "train-images-idx3-ubyte.gz" in report


def test_wrong_checksum_is_one_sentence_and_nothing_is_written(project: Project, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror" / "california-housing" / "CaliforniaHousing"
    mirror.mkdir(parents=True)
    (mirror / "cal_housing.data").write_text("1,2,3\n")
    project.write_study(
        merged(
            STUDY,
            {
                "grid": {"dataset": ["california_housing"], "corruption": ["original"]},
                "conditions": {
                    "split": {"kind": "random_rows", "train": 0.8},
                    "sources": {"assignment": "random", "size": None},
                    "layout": "mixed",
                    "model": {"name": "regression_mlp"},
                    "methods": {"lap": {"form": "loss"}},
                    "metric": {"name": "loss", "better": "lower", "unit": "mse"},
                },
            },
        )
    )
    words = ["--config", f"data={{mirror: {tmp_path / 'mirror'}, offline: true}}"]
    text = project.run("tiny", *words, ok=False)
    assert "cal_housing.data" in text
    assert "SHA-256" in text
    assert "Traceback" not in text
    assert not (project.folder / "resources" / "raw" / "california_housing").exists()
