"""Architectures: sizes, initialisation, and that the stacked form gives the same numbers."""

import pydantic
import pytest
import torch
from torch import nn

from lapwing.errors import UserError
from lapwing.models import models
from lapwing.training.layers import Dropout, Flatten, Layers, Linear
from lapwing.training.stack import Stack, build_replica

SIZES = [
    ("mlp", (1, 28, 28), 10, 13_002),
    ("conv3net", (3, 32, 32), 10, 122_570),
    ("conv3net", (3, 32, 32), 100, 128_420),
    ("regression_mlp", (8,), 1, 9 * 32 + 2 * 33 * 32 + 33),
    ("toy_mlp", (2,), 2, 41_202),
    # Convolutions 432 + 13,824 + 50,688 + 202,752, batch norm 1,376, classifier 650.
    ("resnet20", (3, 32, 32), 10, 269_722),
    ("resnet20", (3, 32, 32), 100, 275_572),
    ("difficult_cnn", (1, 28, 28), 12, 320 + 18_496 + 9217 * 128 + 129 * 12),
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
    torch.manual_seed(0)
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


SMALL_RESNET = {"width": 4, "blocks": 1}
CONVOLUTIONAL = [("resnet20", SMALL_RESNET), ("difficult_cnn", {})]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet20", (3, 32, 32)),
        ("resnet20", (1, 8, 8)),
        ("toy_mlp", (2,)),
        ("difficult_cnn", (1, 28, 28)),
        ("difficult_cnn", (1, 8, 8)),
    ],
)
def test_every_parameter_learns(name, shape):
    network = built(name, shape, 12)
    outputs = network(torch.rand(8, *shape))
    assert outputs.shape == (8, 12)
    nn.functional.cross_entropy(outputs, torch.arange(8)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize(("name", "options"), CONVOLUTIONAL)
@pytest.mark.parametrize("mode", [True, False])
def test_convolutional_networks_give_the_same_numbers_alone_and_together(name, options, mode):
    inputs, found = torch.rand(3, 7, 1, 8, 8, dtype=torch.float64), {}
    for backend in ("vmap", "loop"):
        stack = Stack(
            lambda: built(name, (1, 8, 8), 4, **options), [1, 2, 3], backend=backend, dtype=torch.float64
        )
        stack.train(mode)
        outputs = [stack(inputs) for _ in range(3)][-1]
        outputs.square().sum().backward()
        found[backend] = {**stack.buffers, "outputs": outputs}
        found[backend] |= {f"gradient of {key}": p.grad for key, p in stack.parameters.items()}
    for part, expected in found["loop"].items():
        torch.testing.assert_close(found["vmap"][part], expected, rtol=0, atol=1e-12)


def test_batch_norm_of_the_resnet_remembers_each_replica_for_itself():
    stack = Stack(lambda: built("resnet20", (1, 8, 8), 4, **SMALL_RESNET), [1, 2], backend="vmap")
    stack.train()
    before = {name: buffer.clone() for name, buffer in stack.buffers.items()}
    stack(torch.stack([torch.zeros(5, 1, 8, 8), torch.rand(5, 1, 8, 8)]))
    assert torch.equal(stack.buffers["norm.running_mean"][0], before["norm.running_mean"][0])
    assert not torch.equal(stack.buffers["norm.running_mean"][1], before["norm.running_mean"][1])
    assert stack.buffers["norm.num_batches_tracked"].tolist() == [1, 1]


def test_weights_of_the_resnet_are_kaiming_normal():
    torch.manual_seed(0)
    for name, weight in built("resnet20", (3, 32, 32), 100).named_parameters():
        if weight.ndim > 1:
            deviation = (2 / weight[0].numel()) ** 0.5
            assert float(weight.detach().std()) == pytest.approx(deviation, rel=0.15), name


def test_a_shortcut_of_the_resnet_takes_every_second_pixel_and_pads_channels_on_both_sides():
    block = built("resnet20", (3, 32, 32), 10).get_submodule("stage_2_block_1").eval()
    nn.init.zeros_(block.norm_2.weight)
    inputs = torch.rand(2, 16, 8, 8)
    outputs = block(inputs)
    assert outputs.shape == (2, 32, 4, 4)
    assert torch.equal(outputs[:, 8:24], inputs[:, :, ::2, ::2])
    assert float(outputs[:, :8].abs().max().detach()) == float(outputs[:, 24:].abs().max().detach()) == 0


def test_a_narrow_resnet_is_a_small_one():
    network = built("resnet20", (1, 8, 8), 10, width=5, blocks=2)
    assert sum(isinstance(m, nn.Conv2d) for m in network.modules()) == 1 + 3 * 2 * 2
    assert network.get_submodule("classifier").in_features == 20


@pytest.mark.parametrize(("name", "shape"), [("resnet20", (784,)), ("difficult_cnn", (784,))])
def test_convolutional_networks_refuse_what_is_no_image(name, shape):
    with pytest.raises(UserError, match=f"model {name} needs .*images"):
        models.get(name).check(models.get(name).Options(), shape, "classification")


@pytest.mark.parametrize("shape", [(1, 5, 5), (1, 8, 9)])
def test_the_network_of_the_difficult_data_refuses_small_or_oblong_images(shape):
    with pytest.raises(UserError, match="at least 6 × 6"):
        built("difficult_cnn", shape, 12)


def test_the_network_of_the_difficult_data_drops_whole_feature_maps():
    network = built("difficult_cnn", (1, 28, 28), 12)
    dropout = network.get_submodule("channel_dropout")
    dropout.call = 1
    maps = dropout(torch.ones(100, 64, 12, 12)).flatten(2)
    assert torch.equal(maps, maps[:, :, :1].expand_as(maps))
    assert float((maps == 0).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert float(maps.max()) == pytest.approx(1 / 0.75)


def test_dropout_of_feature_maps_has_a_stacked_form():
    layers = {
        "dropout": lambda: Dropout(0.3, channels=True),
        "flatten": Flatten,
        "output": lambda: Linear(3 * 16, 2),
    }
    inputs, outputs = torch.rand(3, 7, 3, 4, 4, dtype=torch.float64), {}
    for backend in ("native", "vmap", "loop"):
        stack = Stack(
            lambda: Layers({name: make() for name, make in layers.items()}),
            [1, 2, 3],
            backend=backend,
            dtype=torch.float64,
        )
        stack.train()
        outputs[backend] = [stack(inputs) for _ in range(3)][-1]
    torch.testing.assert_close(outputs["native"], outputs["loop"], rtol=0, atol=1e-14)
    torch.testing.assert_close(outputs["vmap"], outputs["loop"], rtol=0, atol=1e-14)


def test_unknown_options_are_refused():
    with pytest.raises(pydantic.ValidationError):
        models.get("mlp").Options(depth=3)
