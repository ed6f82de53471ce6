"""Benchmarks run, and what they say about the studies comes from the studies."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks import devices, resnet
from benchmarks.same import compare, different
from lapwing import files
from lapwing.study_files import read_studies


def test_the_large_studies_are_timed_as_they_train(capsys):
    resnet.main(torch.device("cpu"), resnet.Size(2, 4, 1), 2, ["float32"])
    printed = capsys.readouterr().out
    for study in resnet.MEASURED:
        assert f"{study}: " in printed
    assert printed.count("/ standard") == len(resnet.MEASURED)


@pytest.mark.parametrize("study", resnet.MEASURED)
def test_a_timed_training_has_the_settings_and_the_data_of_its_study(study):
    cell = read_studies(resnet.STUDIES, "paper")[study].cells[-1]
    training, _ = resnet.make(cell, "bf16", resnet.Size(2, 4, 2), torch.device("cpu"))
    expected = {**cell.settings.training.model_dump(), "precision": "bf16", "batch_size": 4}
    found = training.settings.model_dump()
    assert expected.pop("model")["name"] == found.pop("model")["name"]
    assert found == expected
    batch = next(training.batches())
    if study == "imagenet64":  # noise on all images, then normalised and perhaps mirrored
        assert batch.inputs.min() < 0
    assert (batch.inputs.dtype == torch.int32) == (study == "table_3")


def test_hours_are_those_of_all_runs_and_epochs_of_a_study():
    cells = read_studies(resnet.STUDIES, "paper")["table_7"].cells
    epochs = 2 * 2 * 5 * 90
    assert resnet.hours(cells, 1000, 4000) == pytest.approx(epochs * (90_000 / 1000 + 20_000 / 4000) / 3600)


def test_precisions_and_orders_of_channels_take_turns(capsys):
    device = torch.device("cpu")
    devices.compare("Conv3Net", devices.cases("conv3net", (1, 8, 8), device), 2, device)
    printed = capsys.readouterr().out
    assert printed.count(" times as fast") == 8
    assert not torch.are_deterministic_algorithms_enabled()


def test_what_bfloat16_loses_is_printed_from_accuracies_better_than_chance(capsys):
    devices.compare_accuracy(*devices.images(None, None), 1, 3)
    printed = capsys.readouterr().out.splitlines()
    assert "on 1400 images" in printed[0]
    assert all(float(line.split()[1]) > 30 for line in printed[1:3])


# -- whether two folders hold the same numbers -----------------------------------------------------------


def outputs(folder: Path, value: float, cost: float, made_by: str) -> Path:
    """A table of results with a time beside it, and one to look at."""
    files.write_table(folder / "results" / "x.parquet", pd.DataFrame({"value": [value]}), {"by": made_by})
    files.write_table(folder / "results" / "x_runs.parquet", pd.DataFrame({"seconds": [cost]}), {})
    (folder / "tables").mkdir()
    (folder / "tables" / "x.csv").write_text(f"ours,top_1,{value}\nours,lap,cost_of_run,{cost}\n")
    return folder


def test_measured_times_and_what_a_file_says_of_its_making_are_no_numbers(tmp_path):
    one, other = outputs(tmp_path / "one", 0.5, 1, "one"), outputs(tmp_path / "other", 0.5, 2, "other")
    assert different(one, other) == []
    found = compare(one, other)
    assert found["results"] == {"results/x.parquet": "equal in content"}
    assert found["tables"] == {"tables/x.csv": "equal in content"}
    assert compare(one, one)["results"] == {"results/x.parquet": "equal"}


def test_another_number_and_a_file_that_one_has_differ(tmp_path):
    one, other = outputs(tmp_path / "one", 0.5, 1, ""), outputs(tmp_path / "other", 0.6, 1, "")
    (other / "figures").mkdir()
    (other / "figures" / "x.png").touch()
    assert different(one, other) == ["results/x.parquet", "tables/x.csv", "figures/x.png"]


def test_nothing_is_not_the_same_as_nothing(tmp_path):
    assert different(tmp_path, tmp_path) == ["nothing was made"]
