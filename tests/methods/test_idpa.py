"""IDPA: the two phases, the beliefs, and the rates of confusion."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lapwing.errors import UserError
from lapwing.methods.idpa import beliefs, moved_rates
from tests.methods.conftest import quick
from tests.training.conftest import SEEDS, replica, run

SHARES = arrays.arrays(np.float64, (2, 6), elements=st.floats(0, 1))
LOGITS = arrays.arrays(np.float64, (4, 2, 6), elements=st.floats(-5, 5))
TARGETS = torch.arange(12).view(2, 6) % 4


@quick
@given(LOGITS, SHARES, SHARES)
def test_beliefs_are_what_the_specification_says(logits, eta, pnl):
    logs, eta, pnl = torch.from_numpy(logits).log_softmax(0), torch.from_numpy(eta), torch.from_numpy(pnl)
    found = beliefs(logs, TARGETS, eta, pnl)
    one_hot = F.one_hot(TARGETS, 4).movedim(-1, 0)
    prior = ((1 - eta) * one_hot + eta * pnl).clamp(min=1e-5)
    expected = prior * logs.exp()
    torch.testing.assert_close(found, expected / expected.sum(0), rtol=1e-8, atol=1e-12)


def test_a_label_in_which_nobody_trusts_leaves_the_belief_to_the_network():
    logs = torch.randn(4, 2, 6, dtype=torch.float64).log_softmax(0)
    everything = torch.ones(2, 6, dtype=torch.float64)
    torch.testing.assert_close(beliefs(logs, TARGETS, everything, 0.3 * everything), logs.exp())


@quick
@given(SHARES, SHARES, SHARES, st.floats(0, 10))
def test_rates_of_confusion_stay_shares(eta, pnl, in_given, speed):
    moved = moved_rates(torch.from_numpy(eta), torch.from_numpy(pnl), torch.from_numpy(in_given), speed)
    assert ((moved >= 0) & (moved <= 1)).all()


def test_a_doubted_label_raises_its_rate_and_a_certain_one_lowers_it():
    eta, pnl = torch.full((1, 2), 0.2), torch.full((1, 2), 0.1)
    doubted, certain = moved_rates(eta, pnl, torch.tensor([[0.0, 1.0]]), 0.05)[0]
    assert certain < 0.2 < doubted


def test_before_the_switch_it_trains_as_standard_and_knows_nothing(make):
    training, test = make(SEEDS[:2], method="idpa", options={"warmup_epochs": 2})
    standard, _ = make(SEEDS[:2])
    for one in (training, standard):
        run(one, test, 2)
    assert not training.method.pnl.any()
    assert (training.method.eta == 0.01).all()
    ours, theirs = (one.networks[0].parameters["output.weight"] for one in (training, standard))
    assert torch.equal(ours, theirs)


def test_a_sample_that_may_stand_twice_in_a_batch_is_refused_without_a_study_too(make):
    with pytest.raises(UserError, match="method idpa needs batches in which no sample stands twice"):
        make(SEEDS[:1], method="idpa", layout="balanced")


@pytest.mark.parametrize(("epochs", "switch"), [(2, 1), (6, 3), (7, 3), (1, 0)])
def test_the_first_phase_is_half_of_the_training_by_default(make, epochs, switch):
    training, test = make(SEEDS[:1], method="idpa", epochs=epochs)
    known = []
    for _ in range(switch + 1):
        run(training, test, 1)
        known.append(bool(training.method.pnl.any()))
    assert known == [False] * switch + [True]


def test_at_the_switch_it_asks_the_network_in_evaluation_about_every_given_label(make):
    training, test = make(SEEDS[:2], method="idpa", options={"warmup_epochs": 1}, network="norm")
    run(training, test, 1)
    expected = [
        outputs.softmax(-1).gather(-1, batch.targets[..., None]).squeeze(-1)
        for batch, outputs in training.full_pass()
    ]
    training.method.on_epoch_start(training)
    torch.testing.assert_close(training.method.pnl, torch.cat(expected, 1))


def test_rates_move_from_the_second_epoch_of_the_second_phase_on_and_only_those_of_the_batch(make):
    training, test = make(SEEDS[:2], method="idpa", options={"warmup_epochs": 0})
    run(training, test, 1)
    assert (training.method.eta == 0.01).all()
    batch = next(training.batches())
    training.method.on_epoch_start(training)
    training.step(batch)
    moved = training.method.eta != 0.01
    expected = torch.zeros_like(moved).scatter(1, batch.index, True)
    assert torch.equal(moved, expected)


def test_the_second_phase_doubts_wrong_labels_more(make):
    options = {"warmup_epochs": 5}
    training, test = make(
        SEEDS[:3], method="idpa", options=options, network="norm", backend="vmap", epochs=10
    )
    run(training, test, 10)
    eta = training.method.eta
    assert ((eta >= 0) & (eta <= 1)).all()
    for row, seed in enumerate(SEEDS[:3]):
        decided = replica(seed)
        is_corrupt = torch.from_numpy(decided.is_corrupt_source[decided.source])
        assert eta[row][is_corrupt].mean() > 2 * eta[row][~is_corrupt].mean()
