"""The perceptron of the Fashion-MNIST studies (spec lap-core 5): it ends in a softmax, as published."""

from __future__ import annotations

import itertools
from math import prod
from typing import TYPE_CHECKING

from pydantic import Field

from lapwing.models.base import Model
from lapwing.schema import Closed

if TYPE_CHECKING:
    from lapwing.training.layers import Layers


class Options(Closed):
    """What the perceptron looks like."""

    hidden: tuple[int, ...] = (16, 16)
    """Units of each hidden layer."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Probability with which a hidden unit is dropped, before its ReLU."""
    logits: bool = False
    """Leave the softmax at the end out. The published network has it, and cross-entropy applies another."""


def build(options: Options, input_shape: tuple[int, ...], outputs: int) -> Layers:
    """The network for inputs of a shape; layers are made in order, hidden ones first (spec lap-core 6.1)."""
    from torch import nn

    from lapwing.training.layers import Dropout, Flatten, Layers, Linear, ReLU, Softmax

    sizes = (prod(input_shape), *options.hidden)
    layers: dict[str, nn.Module] = {"flatten": Flatten()}
    for number, (wide, narrow) in enumerate(itertools.pairwise(sizes), start=1):
        layers[f"hidden_{number}"] = Linear(wide, narrow)
        layers[f"dropout_{number}"] = Dropout(options.dropout)
        layers[f"relu_{number}"] = ReLU()
    layers["output"] = Linear(sizes[-1], outputs)
    if not options.logits:
        layers["softmax"] = Softmax()
    return Layers(layers)


MODEL = Model("MLP", version=1, Options=Options, build=build)
