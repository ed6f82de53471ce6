"""The parts of networks that read texts [B, L] as numbers of words."""

import math

import torch
from torch import Tensor, nn

from lapwing.training.layers import Dropout


class Words(nn.Module):
    """A vector for each word."""

    def __init__(self, vocabulary: int, features: int, longest: int | None = None) -> None:
        """How many words there are, the size of their vectors, and how many words of a text are read."""
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, features)
        self.longest = longest

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, L] to [B, L', D]."""
        vectors: Tensor = self.embedding(tokens[:, : self.longest])
        return vectors


class Recurrent(nn.Module):
    """One LSTM layer, from a state of zeros; gives its output at every position."""

    def __init__(self, features: int, hidden: int) -> None:
        """Sizes of its inputs and outputs."""
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, batch_first=True)

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, L, D] to [B, L, H]."""
        outputs: Tensor = self.lstm(inputs)[0]
        return outputs


class Last(nn.Module):
    """What stands at the last position."""

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, L, D] to [B, D]."""
        return inputs[:, -1]


class Average(nn.Module):
    """The mean over all positions."""

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, L, D] to [B, D]."""
        return inputs.mean(1)


class Positions(nn.Module):
    """Adds a pattern of sines and cosines that tells the position (Vaswani et al. 2017, 3.5)."""

    pattern: Tensor

    def __init__(self, length: int, features: int) -> None:
        """L at most, and D, which is even."""
        super().__init__()
        rates = torch.exp(torch.arange(0, features, 2) * (-math.log(10_000) / features))
        angles = torch.arange(length).unsqueeze(1) * rates
        pattern = torch.stack((angles.sin(), angles.cos()), -1).flatten(1)
        self.register_buffer("pattern", pattern, persistent=False)  # it is computed, not learnt

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]."""
        return inputs + self.pattern[: inputs.shape[1]]


class Attention(nn.Module):
    """Every position looks at every other, with several heads (Vaswani et al. 2017, 3.2).

    Torch's own draws its dropout masks from the global generator. Initialised as torch's is.
    """

    def __init__(self, features: int, heads: int, dropout: float) -> None:
        """D, which the heads share evenly, and the probability with which a weight is dropped."""
        super().__init__()
        self.heads = heads
        self.into = nn.Linear(features, 3 * features)
        self.out = nn.Linear(features, features)
        self.dropout = Dropout(dropout)
        nn.init.xavier_uniform_(self.into.weight)
        nn.init.zeros_(self.into.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]."""
        batch, length, features = inputs.shape
        split = self.into(inputs).view(batch, length, 3, self.heads, features // self.heads)
        queries, keys, values = split.permute(2, 0, 3, 1, 4).unbind(0)
        weights = (queries @ keys.mT / math.sqrt(queries.shape[-1])).softmax(-1)
        seen = self.dropout(weights) @ values
        mixed: Tensor = self.out(seen.transpose(1, 2).reshape(batch, length, features))
        return mixed


class EncoderLayer(nn.Module):
    """Attention, then two affine maps with a ReLU between; after each of the two a sum and a layer norm.

    Dropout is where `nn.TransformerEncoderLayer` has it.
    """

    def __init__(self, features: int, heads: int, feed_forward: int, dropout: float) -> None:
        """D, heads, units between the two maps, and the probability of every dropout."""
        super().__init__()
        self.attention = Attention(features, heads, dropout)
        self.dropout_attention = Dropout(dropout)
        self.norm_1 = nn.LayerNorm(features)
        self.wide = nn.Linear(features, feed_forward)
        self.dropout_wide = Dropout(dropout)
        self.narrow = nn.Linear(feed_forward, features)
        self.dropout_narrow = Dropout(dropout)
        self.norm_2 = nn.LayerNorm(features)

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]."""
        hidden = self.norm_1(inputs + self.dropout_attention(self.attention(inputs)))
        wide = self.dropout_wide(self.wide(hidden).relu())
        outputs: Tensor = self.norm_2(hidden + self.dropout_narrow(self.narrow(wide)))
        return outputs
