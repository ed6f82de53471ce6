"""The large residual networks are those of torchvision: the same weights give the same numbers."""

import pytest
import torch
import torchvision
from torch import nn

from lapwing.errors import UserError
from lapwing.models import models

RESNET = models.get("resnet")


def built(shape=(3, 64, 64), outputs=1000, **options):
    return RESNET.build(RESNET.Options(**options), shape, outputs)


@pytest.mark.parametrize(("depth", "parameters"), [(18, 11_689_512), (50, 25_557_032)])
def test_network_is_the_one_that_torchvision_builds_from_the_same_seed(depth, parameters):
    torch.manual_seed(3)
    network = built(depth=depth)
    torch.manual_seed(3)
    theirs = getattr(torchvision.models, f"resnet{depth}")()
    assert sum(tensor.numel() for tensor in network.parameters()) == parameters
    ours = list(network.state_dict().values())
    assert all(map(torch.equal, ours, theirs.state_dict().values()))
    inputs = torch.rand(2, 3, 64, 64)
    for mode in (True, False):
        outputs, expected = network.train(mode)(inputs), theirs.train(mode)(inputs)
        torch.testing.assert_close(outputs, expected)


@pytest.mark.parametrize("stem", ["imagenet", "small"])
@pytest.mark.parametrize("depth", [18, 50])
def test_every_parameter_learns_on_small_images(depth, stem):
    network = built((1, 16, 16), 12, depth=depth, width=4, stem=stem)
    outputs = network(torch.rand(8, 1, 16, 16))
    assert outputs.shape == (8, 12)
    nn.functional.cross_entropy(outputs, torch.arange(8)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize(("stem", "side"), [("imagenet", 8), ("small", 32)])
def test_stem_decides_the_resolution_of_the_first_stage(stem, side):
    network = built((3, 32, 32), 10, depth=18, width=4, stem=stem).eval()
    seen = []
    network.get_submodule("stage_1_block_1").register_forward_hook(
        lambda *args: seen.append(args[1][0].shape)
    )
    network(torch.rand(1, 3, 32, 32))
    assert seen[0][-2:] == (side, side)


def test_other_inputs_than_images_are_refused():
    with pytest.raises(UserError, match=r"model resnet needs images .* not \(784,\)"):
        built((784,))
