"""Label smoothing against cross-entropy with the smoothed labels written out."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from lapwing.methods.nls import Nls
from tests.methods.conftest import method_of, quick
from tests.training.conftest import SEEDS

LOGITS = torch.randn(3, 8, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
TARGETS = torch.randint(0, 10, (3, 8), generator=torch.Generator().manual_seed(1))


class Holds:
    """As much of a batch as the loss looks at."""

    targets = TARGETS


def losses_of(logits=LOGITS, **hyperparameters):
    return method_of(Nls, **hyperparameters).sample_losses(None, logits, Holds)


@quick
@given(st.floats(-3, 1))
def test_it_is_cross_entropy_with_smoothed_labels_for_any_rate(rate):
    labels = (1 - rate) * F.one_hot(TARGETS, 10).double() + rate / 10
    expected = -(labels * LOGITS.log_softmax(-1)).sum(-1)
    torch.testing.assert_close(losses_of(rate=rate), expected)


@quick
@given(st.floats(-1, 1), st.floats(-2, 2), st.floats(-2, 2))
def test_the_weights_mix_it_with_plain_cross_entropy(rate, wa, wb):
    expected = wa * losses_of(rate=0.0) + wb * losses_of(rate=rate)
    torch.testing.assert_close(losses_of(rate=rate, wa=wa, wb=wb), expected)


def test_it_has_the_gradient_of_torch():
    ours, theirs = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    losses_of(ours, rate=0.3).sum().backward()
    F.cross_entropy(theirs.flatten(0, 1), TARGETS.flatten(), label_smoothing=0.3, reduction="sum").backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_a_negative_rate_makes_the_network_surer_of_its_label():
    logits = torch.tensor([[[5.0, 0.0]]], requires_grad=True)
    gradients = []
    for rate in (0.3, 0.0, -0.3):
        holds = type("Holds", (), {"targets": torch.tensor([[0]])})
        (loss,) = method_of(Nls, rate=rate).sample_losses(None, logits, holds)
        gradients.append(float(torch.autograd.grad(loss.sum(), logits)[0][0, 0, 0]))
    smoothed, plain, negative = gradients
    assert smoothed > 0 > plain > negative


def test_smoothed_losses_are_those_that_training_reports_and_plain_ones_those_of_the_test(make):
    training, test = make(SEEDS[:1], method="nls", options={"rate": 0.0, "wb": 2.0}, layout="blocks")
    standard, _ = make(SEEDS[:1], layout="blocks")
    assert torch.equal(training.evaluate(test)["test/loss"], standard.evaluate(test)["test/loss"])
    only_one = {"epochs": 1, "optimiser": {"learning_rate": 1e-12}}
    still, test = make(SEEDS[:1], method="nls", options={"rate": 0.0, "wb": 2.0}, **only_one)
    plain, _ = make(SEEDS[:1], **only_one)
    doubled = float(still.train_epoch(test)["train/loss"] / plain.train_epoch(test)["train/loss"])
    assert doubled == pytest.approx(2)
