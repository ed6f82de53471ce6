"""Co-teaching: who learns from what, and how much is dropped when."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lapwing.methods._dropped import drop_rate, number_kept
from lapwing.methods.coteaching import Coteaching, smallest, taught
from tests.methods.conftest import method_of, quick
from tests.training.conftest import SEEDS, run

LOSSES = arrays.arrays(np.float64, (2, 3, 12), elements=st.floats(0, 10), unique=True)


def objectives(losses, epoch=0, **hyperparameters):
    """The objectives [K] of both networks."""
    method = method_of(Coteaching, **hyperparameters)
    return [term.value for term in method.objectives(SimpleNamespace(epoch=epoch), None, [], losses)]


@quick
@given(LOSSES)
def test_each_network_learns_what_the_other_one_keeps(losses):
    first, second = torch.from_numpy(losses)
    found = objectives([first, second], forget_rate=0.5, ramp_epochs=0)
    for ours, theirs, value in ((first, second, found[0]), (second, first, found[1])):
        for k in range(3):
            easy = theirs[k] <= theirs[k].median()  # the lower one of the two in the middle
            assert float(value[k]) == pytest.approx(float(ours[k][easy].mean()))


@quick
@given(LOSSES, st.permutations(range(12)), st.integers(1, 12))
def test_what_is_kept_moves_with_the_samples(losses, order, number):
    before, order = torch.from_numpy(losses[0]), torch.tensor(order)
    kept, kept_after = smallest(before, number), smallest(before[:, order], number)
    assert torch.equal(order[kept_after].sort(1).values, kept.sort(1).values)


def test_of_equal_losses_the_first_are_kept_and_nan_is_kept_last():
    losses = torch.tensor([[1.0, 1.0, float("nan"), 1.0, 0.0]])
    assert smallest(losses, 3).tolist() == [[4, 0, 1]]
    assert smallest(losses, 5).tolist() == [[4, 0, 1, 3, 2]]


@quick
@given(LOSSES)
def test_with_nothing_to_forget_both_objectives_are_mean_losses(losses):
    first, second = torch.from_numpy(losses)
    for mean, own in zip(objectives([first, second], 99, forget_rate=0.0), (first, second), strict=True):
        torch.testing.assert_close(mean, own.mean(1))


def test_equal_networks_learn_from_their_own_easiest_samples():
    losses = torch.tensor([[3.0, 1.0, 2.0, 9.0]])
    assert [value.tolist() for value in taught(losses, losses, 2)] == [[1.5], [1.5]]


def test_no_gradient_flows_through_the_choice_or_to_what_is_dropped():
    first = torch.tensor([[3.0, 1.0, 2.0, 9.0]], requires_grad=True)
    second = torch.tensor([[1.0, 9.0, 2.0, 3.0]], requires_grad=True)
    taught(first, second, 2)[0].sum().backward()
    assert first.grad.tolist() == [[0.5, 0.0, 0.5, 0.0]]
    assert second.grad is None


def test_the_first_published_code_divides_by_the_number_kept_twice():
    losses = [torch.rand(2, 10), torch.rand(2, 10)]
    once = objectives(losses, forget_rate=0.2, ramp_epochs=0)
    twice = objectives(losses, forget_rate=0.2, ramp_epochs=0, divided_twice=True)
    for one, other in zip(once, twice, strict=True):
        torch.testing.assert_close(other, one / 8)


@pytest.mark.parametrize(("rate", "ramp", "exponent"), [(0.2, 10, 1.0), (0.5, 4, 2.0), (0.3, 1, 1.0)])
def test_the_share_that_is_dropped_rises_as_published(rate, ramp, exponent):
    expected = [*np.linspace(0, rate**exponent, ramp), rate, rate]
    found = [drop_rate(rate, ramp, epoch, exponent) for epoch in range(ramp + 2)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert drop_rate(rate, 0, 0) == rate


def test_the_number_that_is_kept_is_what_the_share_says():
    assert number_kept(0.8, 10) == 2  # not 1, which int((1 - 0.8) * 10) gives
    assert [number_kept(rate, 33) for rate in (0.0, 0.1, 0.2)] == [33, 29, 26]
    assert number_kept(0.99, 5) == 1


def test_the_first_network_is_tested_and_both_learn(make):
    training, test = make(SEEDS[:2], method="coteaching")
    starts = [network.parameters["output.weight"].detach().clone() for network in training.networks]
    assert not torch.equal(*starts)
    measured = run(training, test, 1)[0]
    for network, start in zip(training.networks, starts, strict=True):
        assert not torch.equal(network.parameters["output.weight"], start)
    with torch.no_grad():
        for parameter in training.networks[1].parameters.values():
            parameter.zero_()
    assert torch.equal(training.evaluate(test)["test/loss"].double(), measured["test/loss"])


@quick
@given(LOSSES)
def test_samples_that_both_networks_drop_have_no_influence(losses):
    first, second = torch.from_numpy(losses)
    kept = torch.cat([smallest(first, 6), smallest(second, 6)], 1)
    dropped = torch.ones_like(first).scatter(1, kept, 0.0)
    before = objectives([first, second], forget_rate=0.5, ramp_epochs=0)
    after = objectives([first + dropped, second + 7 * dropped], forget_rate=0.5, ramp_epochs=0)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_a_sample_that_is_not_a_number_is_dropped_but_stops_its_run_with_the_next_step(make):
    training, test = make(SEEDS[:2], method="coteaching", options={"ramp_epochs": 0})
    clean = training.batches

    def poisoned():
        for number, batch in enumerate(clean()):
            if number == 0:
                batch.inputs[0, 0] = float("nan")
            yield batch

    training.batches = poisoned
    training.train_epoch(test)
    assert training.diverged == [(1, 2), None]
