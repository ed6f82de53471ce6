"""Architectures: sizes, initialisation, and that the stacked form gives the same numbers."""

import pydantic
import pytest
import torch
from torch import nn

from lapwing.errors import UserError
from lapwing.models import models
from lapwing.training.layers import Layers
from lapwing.training.stack import Stack, build_replica

SIZES = [
    ("mlp", (1, 28, 28), 10, 13_002),
    ("conv3net", (3, 32, 32), 10, 122_570),
    ("conv3net", (3, 32, 32), 100, 128_420),
    ("regression_mlp", (8,), 1, 9 * 32 + 2 * 33 * 32 + 33),
]


def built(name, shape, outputs, **options):
    model = models.get(name)
    return model.build(model.Options(**options), shape, outputs)


@pytest.mark.parametrize(("name", "shape", "outputs", "parameters"), SIZES)
def test_a_network_has_as_many_parameters_as_published(name, shape, outputs, parameters):
    assert sum(p.numel() for p in built(name, shape, outputs).parameters()) == parameters


@pytest.mark.parametrize("side", [8, 28, 32])
def test_conv3net_works_on_small_and_large_images(side):
    network = built("conv3net", (1, side, side), 10)
    assert network(torch.rand(2, 1, side, side)).shape == (2, 10)


def test_conv3net_leaves_out_what_does_not_fit():
    convolutions = [m for m in built("conv3net", (1, 8, 8), 10).modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 2


@pytest.mark.parametrize("shape", [(784,), (1, 28, 20), (1, 2, 2)])
def test_conv3net_refuses_what_is_no_square_image(shape):
    with pytest.raises(UserError, match="square images"):
        built("conv3net", shape, 10)


def test_the_mlp_ends_in_a_softmax_unless_logits_are_asked_for():
    inputs = torch.rand(5, 1, 8, 8)
    torch.testing.assert_close(built("mlp", (1, 8, 8), 10)(inputs).sum(-1), torch.ones(5))
    assert float(built("mlp", (1, 8, 8), 10, logits=True)(inputs).min().detach()) < 0


@pytest.mark.parametrize(("name", "shape", "outputs", "parameters"), SIZES)
def test_networks_start_as_the_seed_itself_makes_them(name, shape, outputs, parameters):
    torch.manual_seed(17)
    expected = built(name, shape, outputs).state_dict()
    torch.manual_seed(99)
    before = torch.get_rng_state()
    found = build_replica(lambda: built(name, shape, outputs), 17, 0).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    for tensor in expected:
        if not tensor.endswith(".key"):
            assert torch.equal(found[tensor], expected[tensor])


def test_the_first_layer_of_the_mlp_draws_first():
    torch.manual_seed(2)
    first = nn.Linear(784, 16)
    network = build_replica(lambda: built("mlp", (1, 28, 28), 10), 2, 0)
    assert torch.equal(network.get_submodule("hidden_1").weight, first.weight)


@pytest.mark.parametrize("name", ["mlp", "regression_mlp"])
@pytest.mark.parametrize("mode", [True, False])
def test_the_stacked_form_gives_the_numbers_of_each_network_alone(name, mode):
    seeds, inputs = [1, 2, 3], torch.rand(3, 7, 1, 8, 8, dtype=torch.float64)
    outputs = {}
    for backend in ("native", "vmap", "loop"):
        stack = Stack(lambda: built(name, (1, 8, 8), 4), seeds, backend=backend, dtype=torch.float64)
        stack.train(mode)
        outputs[backend] = [stack(inputs) for _ in range(3)][-1]
    assert isinstance(built(name, (1, 8, 8), 4), Layers)
    torch.testing.assert_close(outputs["native"], outputs["loop"], rtol=0, atol=1e-14)
    torch.testing.assert_close(outputs["vmap"], outputs["loop"], rtol=0, atol=1e-14)


def test_unknown_options_are_refused():
    with pytest.raises(pydantic.ValidationError):
        models.get("mlp").Options(depth=3)
