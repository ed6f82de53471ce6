"""What the perceptrons without dropout share."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lapwing.training.layers import Layers


def perceptron(hidden: Sequence[int], input_shape: tuple[int, ...], outputs: int) -> Layers:
    """Linear layers with a ReLU after each hidden one; layers are made in order."""
    from torch import nn

    from lapwing.training.layers import Flatten, Layers, Linear, ReLU

    sizes = (prod(input_shape), *hidden)
    layers: dict[str, nn.Module] = {"flatten": Flatten()}
    for number, (wide, narrow) in enumerate(itertools.pairwise(sizes), start=1):
        layers[f"hidden_{number}"] = Linear(wide, narrow)
        layers[f"relu_{number}"] = ReLU()
    layers["output"] = Linear(sizes[-1], outputs)
    return Layers(layers)
