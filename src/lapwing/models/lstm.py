"""The recurrent network of the study on IMDB (spec lap-experiments 6.6).

It reads a text to its end, what fills it up included, and decides by the output at the last position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from lapwing.models._texts import check_inputs
from lapwing.models.base import Model
from lapwing.schema import Closed

if TYPE_CHECKING:
    from torch import nn


class Options(Closed):
    """What the network looks like."""

    embedding: int = Field(256, ge=1)
    """Size of the vector of a word."""
    hidden: int = Field(512, ge=1)
    """Units of each LSTM layer."""
    layers: int = Field(2, ge=1)
    """LSTM layers, one after another."""
    dropout: float = Field(0.25, ge=0, lt=1)
    """Probability with which a value is dropped, between layers and in front of the classifier."""
    longest: int | None = Field(None, ge=1)
    """How many words of a text are read, the first ones; none: all."""


def build(options: Options, input_shape: tuple[int, ...], outputs: int, vocabulary: int) -> nn.Sequential:
    """The network for texts [L]; layers are made in order, the classifier last.

    Raises:
        UserError: the inputs are no texts.
    """
    from torch import nn

    from lapwing.training.layers import Dropout
    from lapwing.training.sequences import Last, Recurrent, Words

    check_inputs(options, input_shape)
    network = nn.Sequential()
    network.add_module("words", Words(vocabulary, options.embedding, options.longest))
    features = options.embedding
    for layer in range(1, options.layers + 1):
        network.add_module(f"recurrent_{layer}", Recurrent(features, options.hidden))
        if layer < options.layers:
            network.add_module(f"dropout_{layer}", Dropout(options.dropout))
        features = options.hidden
    network.add_module("last", Last())
    network.add_module("dropout", Dropout(options.dropout))
    network.add_module("classifier", nn.Linear(features, outputs))
    return network


MODEL = Model("LSTM", version=1, Options=Options, build=build, check_inputs=check_inputs, tokens=True)
