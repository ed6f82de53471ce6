"""Benchmarks run, and what they say about the studies comes from the studies."""

import pytest
import torch

from benchmarks import devices, resnet
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
