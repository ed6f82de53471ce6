"""ResNet-18 and ResNet-50 (He et al. 2016), as they are used for ImageNet today.

As published, but for the place of the stride: a block of three convolutions has it in the second one. Where a
block gets smaller or wider, its shortcut is a convolution of single pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from lapwing.errors import UserError
from lapwing.models.base import Model
from lapwing.schema import Closed

if TYPE_CHECKING:
    from torch import nn

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
"""Residual blocks of each stage."""


class Options(Closed):
    """What the network looks like."""

    depth: Literal[18, 50] = 50
    """Layers with weights: blocks of 18 have two convolutions 3 x 3, those of 50 a narrow one between two of
    1 x 1."""
    width: int = Field(64, ge=1)
    """Feature maps of the first stage; each further stage has twice as many, at half the resolution."""
    stem: Literal["imagenet", "small"] = "imagenet"
    """`imagenet`: a convolution 7 x 7 and a pooling, which divide each side by four; `small`: a convolution
    3 x 3, which leaves images of few pixels as large as they are."""


def check_inputs(options: Options, input_shape: tuple[int, ...]) -> None:
    """Refuse what is no image [C, H, W]."""
    if len(input_shape) != 3:
        raise UserError(f"model resnet needs images (channels, height, width), not {input_shape}.")


def build(options: Options, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """The network for images [C, H, W]; convolutions are Kaiming-normal (fan-out, ReLU).

    Raises:
        UserError: the inputs are no images.
    """
    from torch import nn

    from lapwing.training.residual import BasicBlock, Bottleneck, GlobalAverage

    check_inputs(options, input_shape)
    network = nn.Sequential()
    if options.stem == "imagenet":
        network.add_module("convolution", nn.Conv2d(input_shape[0], options.width, 7, 2, 3, bias=False))
    else:
        network.add_module("convolution", nn.Conv2d(input_shape[0], options.width, 3, 1, 1, bias=False))
    network.add_module("norm", nn.BatchNorm2d(options.width))
    network.add_module("relu", nn.ReLU())
    if options.stem == "imagenet":
        network.add_module("pool", nn.MaxPool2d(3, 2, padding=1))
    block_class = BasicBlock if options.depth == 18 else Bottleneck
    features = options.width
    for stage, blocks in enumerate(BLOCKS[options.depth]):
        for number in range(blocks):
            block = block_class(features, options.width * 2**stage, stride=2 if stage and not number else 1)
            network.add_module(f"stage_{stage + 1}_block_{number + 1}", block)
            features = block.features
    network.add_module("average", GlobalAverage())
    network.add_module("classifier", nn.Linear(features, outputs))
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return network


MODEL = Model("ResNet", version=1, Options=Options, build=build, check_inputs=check_inputs, batch_norm=True)
