"""The command line, and the generated pages."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from lapwing.cli import main
from lapwing.reference import pages
from lapwing.study_files import read_studies

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("datasets", {"digits", "fashion_mnist", "cifar_10", "cifar_100", "california_housing"}),
        (
            "corruptions",
            {
                "original",
                "chunk_shuffle",
                "random_label",
                "batch_label_shuffle",
                "batch_label_flip",
                "added_noise",
                "replaced_noise",
            },
        ),
        ("models", {"mlp", "conv3net", "regression_mlp"}),
        ("methods", {"standard", "lap"}),
    ],
)
def test_list_names_what_there_is(
    command: str, expected: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([command])
    lines = capsys.readouterr().out.splitlines()
    assert expected <= {line.split()[0] for line in lines}
    assert all(len(line.split()) > 1 for line in lines)


def test_studies_are_listed_with_their_runs(capsys: pytest.CaptureFixture[str]) -> None:
    main(["studies", "--folder", str(ROOT / "studies")])
    text = capsys.readouterr().out
    [line] = [line for line in text.splitlines() if line.startswith("table_1 ")]
    assert line.endswith("demo 20 runs, paper 1050 runs)")


def test_module_is_the_same_command() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "lapwing", "methods"], capture_output=True, text=True, check=True
    )
    assert "lap" in run.stdout


def test_mistake_is_one_sentence_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["studies", "--folder", "nowhere"])
    assert stopped.value.code == "lapwing: studies: There is no folder nowhere."


def test_published_command_line_is_converted(capsys: pytest.CaptureFixture[str]) -> None:
    words = "1_test_synthetic.py --model-name MLP-c_cs-drstd --dataset-name fmnist --seed 2 4 -v"
    main(["convert", "--folder", str(ROOT / "studies"), "lap", *words.split()])
    assert capsys.readouterr().out == (
        "snakemake table_1 --cores all --config scale=paper "
        "only='{dataset: fashion_mnist, corruption: chunk_shuffle, method: lap, seed: [2, 4]}'\n"
    )


def test_study_file_is_written_into_the_folder_that_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    out = tmp_path / "studies" / "my_table_1.yaml"
    words = "1_test_synthetic.py --model-name MLP-c_cs-drstd --dataset-name fmnist --seed 3"
    main(["convert", "--folder", str(out.parent), "--out", str(out), "lap", *words.split()])
    assert read_studies(out.parent, "paper")["my_table_1"].cells[0].seeds == [3]
    assert capsys.readouterr().err == f"wrote {out}\n"


def test_command_is_not_written_as_a_study_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "my_table_1.yaml"
    words = "1_test_synthetic.py --model-name MLP-c_cs-drstd --dataset-name fmnist --seed 2 4"
    with pytest.raises(SystemExit, match=r"my_table_1.yaml is not written: no study file is needed"):
        main(["convert", "--folder", str(ROOT / "studies"), "--out", str(out), "lap", *words.split()])
    assert capsys.readouterr().out.startswith("snakemake table_1 --cores all ")
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["prl", "main.py", "--seed", "1"], "convert: unknown system prl; known: lap."),
        (
            ["lap", "2_test_presnet.py", "--folder", "x"],
            "2_test_presnet.py: unknown option --folder; known: ",
        ),
    ],
)
def test_command_line_that_cannot_be_converted(words: list[str], sentence: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["convert", "--folder", str(ROOT / "studies"), *words])
    assert str(stopped.value.code).startswith(f"lapwing: {sentence}")


@pytest.mark.parametrize(
    "name", ["study.schema.json", "reference.md", "artefacts.md", "coming-from-the-published-scripts.md"]
)
def test_generated_pages_are_those_that_are_committed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    committed = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert committed == pages(Path("studies"))[name], "renew them: lapwing reference docs"


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_studies_satisfy_the_schema_for_editors(path: Path) -> None:
    schema = json.loads((ROOT / "docs" / "study.schema.json").read_text())
    jsonschema.validate(yaml.safe_load(path.read_text()), schema)
