"""ResNet-20 for small images (spec lap-core 5; He et al. 2016): three stages of three residual blocks.

A shortcut that must get smaller and wider takes every second pixel and pads the channels with zeros,
half of them on each side: it has no weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from lapwing.errors import UserError
from lapwing.models.base import Model
from lapwing.schema import Closed

if TYPE_CHECKING:
    from torch import nn

STAGES = 3


class Options(Closed):
    """What the network looks like."""

    width: int = Field(16, ge=1)
    """Feature maps of the first stage; each further stage has twice as many, at half the resolution."""
    blocks: int = Field(3, ge=1)
    """Residual blocks of each stage."""


def check_inputs(options: Options, input_shape: tuple[int, ...]) -> None:
    """Refuse what is no image [C, H, W]."""
    if len(input_shape) != 3:
        raise UserError(f"model resnet20 needs images (channels, height, width), not {input_shape}.")


def build(options: Options, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """The network for images [C, H, W]; weights are Kaiming-normal (fan-in, ReLU).

    Raises:
        UserError: the inputs are no images.
    """
    from torch import nn

    from lapwing.training.residual import Block, GlobalAverage

    check_inputs(options, input_shape)
    network = nn.Sequential()
    network.add_module("convolution", nn.Conv2d(input_shape[0], options.width, 3, padding=1, bias=False))
    network.add_module("norm", nn.BatchNorm2d(options.width))
    network.add_module("relu", nn.ReLU())
    features = options.width
    for stage in range(STAGES):
        for block in range(options.blocks):
            wide, stride = options.width * 2**stage, 2 if stage and not block else 1
            network.add_module(f"stage_{stage + 1}_block_{block + 1}", Block(features, wide, stride))
            features = wide
    network.add_module("average", GlobalAverage())
    network.add_module("classifier", nn.Linear(features, outputs))
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return network


MODEL = Model(
    "ResNet-20", version=1, Options=Options, build=build, check_inputs=check_inputs, batch_norm=True
)
