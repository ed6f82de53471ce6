"""The perceptron of the California Housing study (spec lap-experiments 6.10): 32-32-32, no dropout."""

from __future__ import annotations

import itertools
from math import prod
from typing import TYPE_CHECKING

from lapwing.models.base import Model
from lapwing.schema import Closed

if TYPE_CHECKING:
    from lapwing.training.layers import Layers


class Options(Closed):
    """What the perceptron looks like."""

    hidden: tuple[int, ...] = (32, 32, 32)
    """Units of each hidden layer."""


def build(options: Options, input_shape: tuple[int, ...], outputs: int) -> Layers:
    """The network for inputs of a shape; one output per predicted number."""
    from torch import nn

    from lapwing.training.layers import Flatten, Layers, Linear, ReLU

    sizes = (prod(input_shape), *options.hidden)
    layers: dict[str, nn.Module] = {"flatten": Flatten()}
    for number, (wide, narrow) in enumerate(itertools.pairwise(sizes), start=1):
        layers[f"hidden_{number}"] = Linear(wide, narrow)
        layers[f"relu_{number}"] = ReLU()
    layers["output"] = Linear(sizes[-1], outputs)
    return Layers(layers)


MODEL = Model("MLP for regression", version=1, Options=Options, build=build, task="regression")
