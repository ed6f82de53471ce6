"""The convolutional network of the study on difficult data (spec lap-core 6.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from lapwing.errors import UserError
from lapwing.models.base import Model
from lapwing.schema import Closed

if TYPE_CHECKING:
    from torch import nn

KERNEL, POOL = 3, 2
SMALLEST = 2 * (KERNEL - 1) + POOL


class Options(Closed):
    """What the network looks like."""

    channels: tuple[int, int] = (32, 64)
    """Feature maps of the two convolutions."""
    hidden: int = Field(128, ge=1)
    """Units of the layer in front of the classifier."""
    channel_dropout: float = Field(0.25, ge=0, lt=1)
    """Probability with which a whole feature map is dropped, after the pooling."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Probability with which a hidden unit is dropped."""


def check_inputs(options: Options, input_shape: tuple[int, ...]) -> None:
    """Refuse what is no square image [C, H, H] of at least 6 × 6 pixels."""
    if len(input_shape) != 3 or input_shape[1] != input_shape[2] or input_shape[1] < SMALLEST:
        raise UserError(
            f"model difficult_cnn needs square images of at least {SMALLEST} × {SMALLEST} pixels, "
            f"not {input_shape}."
        )


def build(options: Options, input_shape: tuple[int, ...], outputs: int) -> nn.Sequential:
    """The network for square images [C, H, H]; layers are made in order, the classifier last.

    Raises:
        UserError: the inputs are no square images of at least 6 × 6 pixels.
    """
    from torch import nn

    from lapwing.training.layers import Dropout

    check_inputs(options, input_shape)
    first, second = options.channels
    side = (input_shape[1] - 2 * (KERNEL - 1)) // POOL
    network = nn.Sequential()
    network.add_module("convolution_1", nn.Conv2d(input_shape[0], first, KERNEL))
    network.add_module("relu_1", nn.ReLU())
    network.add_module("convolution_2", nn.Conv2d(first, second, KERNEL))
    network.add_module("relu_2", nn.ReLU())
    network.add_module("pool", nn.MaxPool2d(POOL))
    network.add_module("channel_dropout", Dropout(options.channel_dropout, channels=True))
    network.add_module("flatten", nn.Flatten())
    network.add_module("hidden", nn.Linear(second * side * side, options.hidden))
    network.add_module("relu", nn.ReLU())
    network.add_module("dropout", Dropout(options.dropout))
    network.add_module("classifier", nn.Linear(options.hidden, outputs))
    return network


MODEL = Model("CNN of the difficult data", version=1, Options=Options, build=build, check_inputs=check_inputs)
