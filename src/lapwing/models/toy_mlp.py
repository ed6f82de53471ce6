"""The perceptron of the study on two moons (spec lap-core 5): 200-200, no dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lapwing.models._perceptron import perceptron
from lapwing.models.base import Model
from lapwing.schema import Closed

if TYPE_CHECKING:
    from lapwing.training.layers import Layers


class Options(Closed):
    """What the perceptron looks like."""

    hidden: tuple[int, ...] = (200, 200)
    """Units of each hidden layer."""


def build(options: Options, input_shape: tuple[int, ...], outputs: int) -> Layers:
    """The network for inputs of a shape; its outputs are logits."""
    return perceptron(options.hidden, input_shape, outputs)


MODEL = Model("Toy MLP", version=1, Options=Options, build=build)
