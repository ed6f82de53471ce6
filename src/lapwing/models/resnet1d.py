"""ResNet-1D for signals of many channels (spec lap-experiments 6.2): four blocks, each four times shorter.

Every convolution has the same kernel and no bias.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from lapwing.errors import UserError
from lapwing.models.base import Model
from lapwing.schema import Closed

if TYPE_CHECKING:
    from torch import nn

SHORTER = 4
"""By what each block divides the number of samples."""


class Options(Closed):
    """What the network looks like."""

    channels: tuple[int, int, int, int] = (24, 36, 48, 60)
    """Feature maps of the four blocks."""
    kernel: int = Field(15, ge=7)
    """Samples that a convolution looks at, an odd number, and no fewer than the widest stride (7)."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Probability with which a value is dropped, twice in each block."""

    @field_validator("kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError("a kernel has a sample in its middle: an odd number")
        return kernel


def lengths(options: Options, samples: int) -> list[int]:
    """Samples of the stem's output, and of each block's."""
    return [samples // SHORTER**number for number in range(len(options.channels) + 1)]


def check_inputs(options: Options, input_shape: tuple[int, ...]) -> None:
    """Refuse what is no signal [C, T] of at least 256 samples."""
    shortest = SHORTER ** len(options.channels)
    if len(input_shape) != 2 or input_shape[1] < shortest:
        raise UserError(
            f"model resnet1d needs signals (channels, samples) of at least {shortest} samples, "
            f"not {input_shape}."
        )


def build(options: Options, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """The network for signals [C, T]; layers are made in order, the classifier last.

    Raises:
        UserError: the inputs are no signals of at least 256 samples.
    """
    from torch import nn

    from lapwing.training.signals import SignalBlock, SignalNetwork

    check_inputs(options, input_shape)
    features, samples = input_shape
    stem = nn.Sequential(
        nn.Conv1d(features, features, options.kernel, padding="same", bias=False),
        nn.BatchNorm1d(features, affine=False),
        nn.ReLU(),
    )
    wide, long = (features, *options.channels), lengths(options, samples)
    blocks = [
        SignalBlock(*channels, *length, kernel=options.kernel, dropout=options.dropout)
        for channels, length in zip(pairwise(wide), pairwise(long), strict=True)
    ]
    return SignalNetwork(stem, blocks, nn.Linear(wide[-1] * long[-1], outputs))


MODEL = Model(
    "ResNet-1D", version=1, Options=Options, build=build, check_inputs=check_inputs, batch_norm=True
)
