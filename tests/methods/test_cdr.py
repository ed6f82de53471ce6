"""CDR: which gradients stay, and how large."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lapwing.errors import UserError
from lapwing.methods._dropped import number_kept
from lapwing.methods.cdr import Cdr
from lapwing.schema import validate
from tests.methods.conftest import method_of, quick

SHAPES = {
    "convolution": (2, 3, 1, 2, 2),
    "linear": (2, 4, 5),
    "bias": (2, 4),
    "sequence": (2, 3, 2, 2),  # the weights of a convolution along one axis have 3 axes, with replicas 4
}
WEIGHTS, OTHERS = ("convolution", "linear"), ("bias", "sequence")
VALUES = st.floats(-3, 3).filter(lambda x: abs(x) > 1e-3)


def parameters_of(seed=0):
    """Two replicas' parameters of every shape, with gradients."""
    draw = torch.Generator().manual_seed(seed)
    made = {}
    for name, shape in SHAPES.items():
        made[name] = torch.randn(shape, dtype=torch.float64, generator=draw).requires_grad_()
        made[name].grad = torch.randn(shape, dtype=torch.float64, generator=draw)
    return made


def edited(parameters, epoch=0, **hyperparameters):
    """The gradients after the hook, and those before."""
    before = {name: parameter.grad.clone() for name, parameter in parameters.items()}
    method, network = method_of(Cdr, **hyperparameters), SimpleNamespace(parameters=parameters)
    method.edit_gradients(SimpleNamespace(epoch=epoch), None, network, None)
    return {name: parameter.grad for name, parameter in parameters.items()}, before


def flat(tensors, row):
    """What is ranked together of a replica."""
    return torch.cat([tensors[name][row].flatten() for name in WEIGHTS])


@pytest.mark.parametrize("rate", [0.2, 0.4, 0.6, 0.99])
def test_the_weights_that_matter_most_keep_a_scaled_gradient(rate):
    parameters = parameters_of()
    after, before = edited(parameters, noise_rate=rate)
    for row in range(2):
        gradient = flat(before, row)
        matters = (flat(parameters, row).detach() * gradient).abs()
        number = number_kept(rate, len(matters))
        best = matters.topk(number).indices
        expected = torch.zeros_like(gradient)
        expected[best] = gradient[best] * (1 - rate)
        torch.testing.assert_close(flat(after, row), expected)


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_weight_follows_its_gradient(name):
    after, before = edited(parameters_of(), noise_rate=0.9)
    assert torch.equal(after[name], before[name])


def test_without_noise_gradients_stay_as_they_are():
    after, before = edited(parameters_of(), noise_rate=0.0)
    assert all(torch.equal(after[name], before[name]) for name in SHAPES)


@quick
@given(arrays.arrays(np.float64, (2, 2, 10), elements=VALUES), st.floats(0.01, 0.95))
def test_no_weight_that_stops_matters_more_than_one_that_moves(values, rate):
    weight, gradient = torch.from_numpy(values)
    weight = weight.unsqueeze(1).requires_grad_()
    weight.grad = gradient.unsqueeze(1).clone()
    after, before = edited({"weight": weight}, noise_rate=rate)
    moved, matters = after["weight"] != 0, (weight.detach() * before["weight"]).abs()
    for row in range(2):
        assert moved[row].sum() >= number_kept(rate, 10)
        stopped = matters[row][~moved[row]]
        assert not len(stopped) or matters[row][moved[row]].min() > stopped.max()


def test_the_share_that_stays_falls_over_the_ramp():
    shares = []
    for epoch in range(6):
        after, _ = edited(parameters_of(), epoch, noise_rate=0.5, ramp_epochs=5)
        shares.append(float((flat(after, 0) != 0).double().mean()))
    assert shares == pytest.approx([1, 0.875, 0.75, 0.625, 0.5, 0.5], abs=0.04)


def test_a_parameter_without_a_gradient_is_left_alone():
    parameters = parameters_of()
    parameters["frozen"] = torch.ones(2, 3, 3)
    method, network = method_of(Cdr), SimpleNamespace(parameters=parameters)
    method.edit_gradients(SimpleNamespace(epoch=0), None, network, None)
    assert parameters["frozen"].grad is None


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_noise_rate_that_is_no_share_is_refused(rate):
    with pytest.raises(UserError, match="noise_rate"):
        validate(Cdr.Hyperparameters, {"noise_rate": rate}, "methods.cdr")
