"""The three-layer convolutional network of the CIFAR studies (spec lap-core 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from lapwing.errors import UserError
from lapwing.models.base import Model
from lapwing.schema import Closed

if TYPE_CHECKING:
    from torch import nn

KERNEL, POOL = 3, 2


class Options(Closed):
    """What the network looks like."""

    channels: tuple[int, ...] = Field((32, 64, 64), min_length=1)
    """Feature maps of each convolution; all but the last are followed by max pooling."""
    hidden: int = Field(64, ge=1)
    """Units of the layer in front of the classifier."""


def check_inputs(options: Options, input_shape: tuple[int, ...]) -> None:
    """Refuse what is no square image [C, H, H] of at least 3 × 3 pixels."""
    if len(input_shape) != 3 or input_shape[1] != input_shape[2] or input_shape[1] < KERNEL:
        raise UserError(
            f"model conv3net needs square images of at least {KERNEL} × {KERNEL} pixels, not {input_shape}."
        )


def build(options: Options, input_shape: tuple[int, ...], outputs: int) -> nn.Sequential:
    """The network for square images [C, H, H]; layers are made in order, the classifier last.

    An image that is too small for a further convolution (under 3 pixels) or pooling (under 2) goes
    without it: 32 × 32 and 28 × 28 get all three convolutions, 8 × 8 gets two.

    Raises:
        UserError: the inputs are no square images of at least 3 × 3 pixels.
    """
    from torch import nn

    check_inputs(options, input_shape)
    channels, side = input_shape[0], input_shape[1]
    network = nn.Sequential()
    for number, features in enumerate(options.channels, start=1):
        if side < KERNEL:
            break
        network.add_module(f"convolution_{number}", nn.Conv2d(channels, features, KERNEL))
        network.add_module(f"relu_{number}", nn.ReLU())
        channels, side = features, side - KERNEL + 1
        if number < len(options.channels) and side >= POOL:
            network.add_module(f"pool_{number}", nn.MaxPool2d(POOL))
            side //= POOL
    network.add_module("flatten", nn.Flatten())
    network.add_module("hidden", nn.Linear(channels * side * side, options.hidden))
    network.add_module("relu", nn.ReLU())
    network.add_module("classifier", nn.Linear(options.hidden, outputs))
    return network


MODEL = Model("Conv3Net", version=1, Options=Options, build=build, check_inputs=check_inputs)
