"""`lapwing records`, and what the guide shows of one's own electrocardiograms."""

import re
from pathlib import Path

import numpy as np
import pytest
import wfdb

from lapwing.cli import main
from lapwing.corruption.base import write_corruption
from lapwing.files import read_arrays

GUIDE = Path(__file__).parent.parent / "docs" / "adding.md"


def example(language: str, number: int) -> str:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)[number]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The guide's table, and the records that it names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text(example("csv", 0))
    for row in example("csv", 0).splitlines()[1:]:
        path = tmp_path / row.split(",")[0]
        path.parent.mkdir(exist_ok=True)
        signals = np.random.default_rng(len(row)).normal(size=(256, 1))
        wfdb.wrsamp(
            path.name,
            fs=100,
            units=["mV"],
            sig_name=["II"],
            p_signal=signals,
            fmt=["16"],
            write_dir=str(path.parent),
        )
    return tmp_path


def test_the_guide_s_records_are_prepared_and_trained_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["records", "table.csv", "--out", "records.safetensors"])
    assert capsys.readouterr().err == (
        "wrote records.safetensors: 2 records to train on, 1 to test on, 2 sources, 2 classes\n"
    )
    exec(example("python", 1).replace("epochs=40", "epochs=1"))  # noqa: S102 - the guide's own code
    assert re.search(r"Anna +0.*\nBen +0", capsys.readouterr().out)


def test_own_records_can_be_corrupted(folder: Path) -> None:
    main(["records", "table.csv", "--out", "records.safetensors"])
    settings = {
        "dataset": "records",
        "dataset_version": 1,
        "sources": {"number": 2, "corrupt": 1, "assignment": "given"},
        "name": "noise_and_label_flip",
        "version": 1,
    }
    write_corruption(folder / "records.safetensors", settings, 1, folder / "out.safetensors")
    arrays, about = read_arrays(folder / "out.safetensors")
    assert arrays["source"].tolist() == [0, 1]
    assert len(about["corrupt_sources"]) == 1


def test_a_missing_record_is_one_sentence(folder: Path) -> None:
    (folder / "clinic_a" / "0002.dat").unlink()
    with pytest.raises(SystemExit, match=r"^lapwing: The record clinic_a/0002 has no file 0002.dat\.$"):
        main(["records", "table.csv", "--out", "records.safetensors"])
    assert not (folder / "records.safetensors").exists()
