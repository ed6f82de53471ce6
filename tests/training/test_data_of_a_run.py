"""What a run trains on and is judged by: labels of every step, validation rows, clean sources, records."""

import numpy as np
import pandas as pd
import pytest
import torch

from lapwing.corruption.base import CorruptionSettings, decide
from lapwing.errors import UserError
from lapwing.methods import methods
from lapwing.models import models
from lapwing.training.data import Replica, Rows, TestData, TrainingData
from lapwing.training.engine import Training
from lapwing.training.metrics import MOST_ROWS, sources_table
from lapwing.training.optimisers import StackedOptimiser, maker
from lapwing.training.settings import Optimiser, Schedule
from tests.training.conftest import digits_rows, settings_of
from tests.training.parts import cell_of, train
from tests.training.test_numbers import prepared

LAP = {"form": "loss", "history_length": 3, "warmup_iters": 0, "depression_strength": 30.0}


def with_corruption(cell: dict, **changes) -> dict:
    """A cell with other settings of its corruption."""
    cell["settings"]["corruption"] = {**cell["settings"]["corruption"], **changes}
    return cell


# -- labels that are drawn anew in every step ---------------------------------------------------------


def redrawn(
    name: str, seeds: list[int], layout: str = "mixed", size: int = 32
) -> tuple[Training, np.ndarray]:
    """A training whose corrupt sources have their labels drawn in every step; the true labels [rows]."""
    arrays, about = prepared("digits")
    settings = CorruptionSettings.model_validate(
        {
            "dataset": "digits",
            "dataset_version": 1,
            "sources": {"number": 5, "corrupt": 2, "size": 16},
            "name": name,
            "version": 2,
            "options": {"form": "batch"},
        }
    )
    replicas = [Replica.from_artefact(*decide(settings, arrays, about, seed)) for seed in seeds]
    data = TrainingData(Rows(arrays["train/inputs"], 1 / 16), replicas, layout=layout)
    network = models.get("mlp")
    training = Training(
        settings_of(batch_size=size, precision="float32", layout=layout),
        methods.get("standard")(),
        lambda: network.build(network.Options(), (1, 8, 8), 10),
        seeds,
        data,
        classes=10,
        backend="native",
    )
    return training, arrays["train/targets"]


def epoch_of(
    training: Training, truth: np.ndarray, row: int = 0
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Given and true labels and sources of each batch of one replica."""
    rows = training.data.index[row].numpy()
    return [
        (b.targets[row].numpy(), truth[rows[b.index[row].numpy()]], b.source[row].numpy())
        for b in training.batches()
    ]


def corrupt_sources(training: Training, truth: np.ndarray) -> set[int]:
    return {int(s) for given, true, source in epoch_of(training, truth) for s in source[given != true]}


@pytest.mark.parametrize("layout", ["mixed", "blocks"])
def test_a_flipped_batch_gives_its_corrupt_samples_one_of_its_labels(layout):
    training, truth = redrawn("batch_label_flip", [2], layout)
    corrupt = corrupt_sources(training, truth)
    assert len(corrupt) == 2
    drawn = []
    for epoch in range(20):
        training.epoch = epoch
        for given, true, source in epoch_of(training, truth):
            noisy = np.isin(source, list(corrupt))
            np.testing.assert_array_equal(given[~noisy], true[~noisy])
            assert len(set(given[noisy])) <= 1
            assert set(given[noisy]) <= set(true)
            drawn += given[noisy][:1].tolist()
    assert set(drawn) == set(range(10))  # 200 draws


def test_a_shuffled_batch_takes_its_labels_from_a_permutation_of_all_of_them():
    training, truth = redrawn("batch_label_shuffle", [2], size=320)
    corrupt = corrupt_sources(training, truth)
    [(given, true, source)] = epoch_of(training, truth)
    noisy = np.isin(source, list(corrupt))
    np.testing.assert_array_equal(given[~noisy], true[~noisy])
    counts = np.bincount(given[noisy], minlength=10)
    assert (counts <= np.bincount(true, minlength=10)).all()
    assert 0.7 < (given != true)[noisy].mean() <= 1


@pytest.mark.parametrize("name", ["batch_label_flip", "batch_label_shuffle"])
def test_redrawn_labels_are_a_function_of_seed_and_epoch_alone(name):
    alone, truth = redrawn(name, [4])
    company, _ = redrawn(name, [2, 4, 8])
    seen = []
    for epoch in (0, 1):
        alone.epoch = company.epoch = epoch
        one, three = epoch_of(alone, truth), epoch_of(company, truth, row=1)
        for ours, theirs in zip(one, three, strict=True):
            np.testing.assert_array_equal(ours[0], theirs[0])
        seen.append(np.concatenate([given != true for given, true, _ in one]))
    alone.epoch = 0
    assert all(
        (a[0] == b[0]).all() for a, b in zip(epoch_of(alone, truth), epoch_of(alone, truth), strict=True)
    )
    assert (seen[0] != seen[1]).any()


# -- validation rows ---------------------------------------------------------------------------------


@pytest.mark.parametrize("corruption", ["random_label", "added_noise"])
def test_what_is_left_aside_is_measured_in_every_epoch(tmp_path, corruption):
    quick = {"optimiser": {"learning_rate": 0.03}, "epochs": 10}
    split = {"kind": "fraction", "train": 0.75}
    cell = with_corruption(cell_of(corruption, seeds=[2, 4], **quick), split=split)
    metrics, _, _ = train(tmp_path, [cell])
    aside = metrics[metrics["split"] == "validation"]
    assert set(aside["metric"]) == {"loss", "top_1", "top_2", "top_5"}
    assert aside.groupby(["seed", "metric"])["epoch"].apply(list).map(len).eq(10).all()
    test = metrics[metrics["split"] == "test"]
    accuracy = [part.query("metric == 'top_1' and epoch == 10")["value"].mean() for part in (aside, test)]
    assert accuracy[0] < accuracy[1] - 0.05  # it is corrupted, the test rows are not


def test_validation_changes_nothing_else(make):
    plain, test = make([3])
    watched, same = make([3])
    rows = Replica(3, np.arange(1000, 1100), np.zeros(100, np.int64))
    aside = TrainingData(digits_rows(), [rows], layout="mixed", dtype=torch.float64)
    for _ in range(2):
        first, second = plain.train_epoch(test), watched.train_epoch(same, aside)
        assert {name for name in second if name not in first} == {
            f"validation/{name}" for name in ("loss", "top_1", "top_2", "top_5")
        }
        assert all(torch.equal(first[name], second[name]) for name in first)


# -- the corruption oracle ----------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["blocks", "mixed"])
def test_clean_sources_alone_are_trained_on(tmp_path, layout):
    everything, oracle = (
        cell_of("batch_label_flip", layout=layout, train_on=which)
        for which in ("all_sources", "clean_sources")
    )
    for cell in (everything, oracle):
        cell["settings"]["corruption"]["version"] = 2
        cell["axes"]["train_on"] = cell["settings"]["train_on"]
    metrics, sources, runs = train(tmp_path, [everything, oracle])
    of_oracle = sources[sources["train_on"] == "clean_sources"]
    assert of_oracle["mean_loss"].isna().eq(of_oracle["is_corrupt"]).all()
    assert runs[0]["key"] != runs[-1]["key"]
    ends = metrics.query("split == 'test' and metric == 'loss' and epoch == 4").groupby("train_on")["value"]
    assert ends.mean()["clean_sources"] < ends.mean()["all_sources"]


def test_the_oracle_of_original_data_is_standard_training(tmp_path):
    cells = [cell_of("original", train_on=which) for which in ("all_sources", "clean_sources")]
    for cell in cells:
        cell["axes"]["train_on"] = cell["settings"]["train_on"]
    metrics, _, _ = train(tmp_path, cells)
    one, other = (rows["value"].to_numpy() for _, rows in metrics.groupby("train_on"))
    np.testing.assert_array_equal(one, other)


def test_without_clean_sources_there_is_no_oracle(tmp_path):
    sources = {"number": 5, "corrupt": 5, "size": 16}
    cell = with_corruption(cell_of(train_on="clean_sources", seeds=[2]), sources=sources)
    with pytest.raises(UserError, match="train_on: there are no clean sources to train on"):
        train(tmp_path, [cell])


# -- records of single steps --------------------------------------------------------------------------


def test_records_within_an_epoch_agree_with_those_at_its_end(tmp_path):
    cells = [cell_of(method="lap", options=LAP, seeds=[2, 4], record_every=every) for every in (0, 1, 7)]
    tables = {}
    for every, cell in zip((0, 1, 7), cells, strict=True):
        cell["axes"]["every"] = every
    _, sources, _ = train(tmp_path, cells)
    for every, table in sources.groupby("every"):
        tables[every] = table.drop(columns="every").reset_index(drop=True)
        assert not table.duplicated(["seed", "step", "source"]).any()
    steps = 320 // 16
    assert set(tables[0]["step"]) == {steps, 2 * steps, 3 * steps, 4 * steps}
    assert set(tables[1]["step"]) == set(range(1, 4 * steps + 1))
    assert set(tables[7]["step"]) == set(tables[0]["step"]) | set(range(7, 4 * steps + 1, 7))
    for every in (1, 7):
        ends = tables[every].dropna(subset=["mean_loss"]).reset_index(drop=True)
        pd.testing.assert_frame_equal(ends, tables[0])
        inside = tables[every][tables[every]["mean_loss"].isna()]
        same = inside.merge(tables[1], on=["seed", "step", "source"], suffixes=("", "_each"))
        assert len(same) == len(inside)
        assert (same["unreliability"] == same["unreliability_each"]).all()
        assert (inside["epoch"] == (inside["step"] - 1) // steps + 1).all()


def test_of_very_many_sources_some_epochs_are_kept_the_last_among_them():
    sources, epochs = 30_000, 25
    history = {"source/mean_loss": np.ones((1, epochs, sources))}
    table = sources_table(history, 0, epochs, None, steps_per_epoch=10)
    assert len(table) <= MOST_ROWS
    assert table["epoch"].max() == epochs
    assert table["step"].max() == epochs * 10


# -- groups of classes ---------------------------------------------------------------------------------


def test_accuracy_of_a_group_is_that_of_its_samples(make):
    training, _ = make([3, 14])
    digits = prepared("digits")[0]
    test = TestData(Rows(digits["test/inputs"], 1 / 16), [digits["test/targets"]], dtype=torch.float64)
    training._groups = {"difficult": torch.tensor([1, 8])}
    found = training.evaluate(test)["test/top_1_of_difficult"]
    chosen = np.isin(digits["test/targets"], (1, 8))
    alone = TestData(
        Rows(digits["test/inputs"][chosen], 1 / 16), [digits["test/targets"][chosen]], dtype=torch.float64
    )
    training._groups = {}
    torch.testing.assert_close(found, training.evaluate(alone)["test/top_1"])


# -- the schedule of Co-teaching ------------------------------------------------------------------------


def test_a_linear_schedule_changes_rate_and_beta_from_its_start(make):
    schedule = {"name": "linear", "start": 1, "late_beta": 0.1}
    training, test = make([3], schedule=schedule, epochs=4, optimiser={"learning_rate": 0.02})
    seen = []
    for _ in range(4):
        training.train_epoch(test)
        [group] = training.optimisers[0].inner.param_groups
        seen.append((round(group["lr"], 6), group["betas"]))
    assert seen == [
        (0.02, (0.9, 0.999)),
        (0.02, (0.1, 0.999)),
        (0.013333, (0.1, 0.999)),
        (0.006667, (0.1, 0.999)),
    ]


def test_options_survive_an_optimiser_that_forgets():
    optimiser = StackedOptimiser([torch.zeros(1, 2, requires_grad=True)], maker(Optimiser()))
    optimiser.set_options({"lr": 0.5, "betas": (0.1, 0.999)})
    optimiser.restart()
    [group] = optimiser.inner.param_groups
    assert (group["lr"], group["betas"]) == (0.5, (0.1, 0.999))


@pytest.mark.parametrize("argument", [{"start": 3}, {"late_beta": 0.1}])
def test_arguments_of_the_linear_schedule_belong_to_it(argument):
    with pytest.raises(ValueError, match="belongs to linear, the schedule is constant"):
        Schedule(**argument)
