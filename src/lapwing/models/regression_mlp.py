"""The perceptron of the California Housing study (spec lap-experiments 6.10): 32-32-32, no dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lapwing.models._perceptron import perceptron
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
    return perceptron(options.hidden, input_shape, outputs)


MODEL = Model("MLP for regression", version=1, Options=Options, build=build, task="regression")
