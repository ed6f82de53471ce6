"""The transformer encoder of the study on GoEmotions, trained from scratch (spec lap-experiments 6.11).

No position is masked, what fills a text up included; the mean over all positions is classified.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from lapwing.models._texts import check_inputs
from lapwing.models.base import Model
from lapwing.schema import Closed

if TYPE_CHECKING:
    from torch import nn


class Options(Closed):
    """What the network looks like."""

    features: int = Field(256, ge=2)
    """Size of the vector of a word, and of everything up to the classifier."""
    heads: int = Field(4, ge=1)
    """Of the attention; they share the features evenly."""
    feed_forward: int = Field(2048, ge=1)
    """Units inside each layer, behind the attention."""
    layers: int = Field(2, ge=1)
    """Encoder layers, one after another."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Probability of every dropout: of the words with their positions, and inside the layers."""
    longest: int | None = Field(None, ge=1)
    """How many words of a text are read, the first ones; none: all."""

    @model_validator(mode="after")
    def _features_fit(self) -> Options:
        if self.features % 2 or self.features % self.heads:
            raise ValueError(
                f"features must be even and a multiple of the {self.heads} heads (they are {self.features})"
            )
        return self


def build(options: Options, input_shape: tuple[int, ...], outputs: int, vocabulary: int) -> nn.Sequential:
    """The network for texts [L]; layers are made in order, the classifier last.

    Raises:
        UserError: the inputs are no texts.
    """
    from torch import nn

    from lapwing.training.layers import Dropout
    from lapwing.training.sequences import Average, EncoderLayer, Positions, Words

    check_inputs(options, input_shape)
    features, dropout = options.features, options.dropout
    network = nn.Sequential()
    network.add_module("words", Words(vocabulary, features, options.longest))
    network.add_module("positions", Positions(input_shape[0], features))
    network.add_module("dropout", Dropout(dropout))
    for layer in range(1, options.layers + 1):
        network.add_module(
            f"encoder_{layer}", EncoderLayer(features, options.heads, options.feed_forward, dropout)
        )
    network.add_module("average", Average())
    network.add_module("classifier", nn.Linear(features, outputs))
    return network


MODEL = Model(
    "Transformer encoder", version=1, Options=Options, build=build, check_inputs=check_inputs, tokens=True
)
