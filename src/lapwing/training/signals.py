"""The parts of the residual network for signals (spec lap-experiments 6.2; after Ribeiro et al. 2020)."""

from math import ceil

from torch import Tensor, nn
from torch.nn.functional import pad, relu

from lapwing.training.layers import Dropout


class SignalBlock(nn.Module):
    """Two convolutions, of which the second shortens the signal, and a shortcut that is pooled.

    Batch norms have no weights. What the next block's shortcut starts from is the main branch before the sum.
    """

    def __init__(
        self, features: int, wide: int, length: int, shorter: int, *, kernel: int, dropout: float
    ) -> None:
        """Channels in and out, samples in and out."""
        super().__init__()
        stride = length // shorter
        self.padding = _padding(length, shorter, kernel)
        self.pool_padding = _padding(length, shorter, stride)
        self.convolution_1 = nn.Conv1d(features, wide, kernel, padding="same", bias=False)
        self.norm_1 = nn.BatchNorm1d(wide, affine=False)
        self.dropout_1 = Dropout(dropout)
        self.convolution_2 = nn.Conv1d(wide, wide, kernel, stride, bias=False)
        self.pool = nn.MaxPool1d(stride, stride)
        self.shortcut = nn.Conv1d(features, wide, kernel, padding="same", bias=False)
        self.norm_2 = nn.BatchNorm1d(wide, affine=False)
        self.dropout_2 = Dropout(dropout)

    def forward(self, inputs: Tensor, skipped: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, T] twice to [B, C', T'] twice."""
        hidden = self.dropout_1(relu(self.norm_1(self.convolution_1(inputs))))
        main = self.convolution_2(pad(hidden, (self.padding, self.padding)))
        pooled = self.pool(pad(skipped, (self.pool_padding, self.pool_padding)))
        both = main + self.shortcut(pooled)
        return self.dropout_2(relu(self.norm_2(both))), main


def _padding(length: int, shorter: int, kernel: int) -> int:
    """Zeros on each side with which a kernel that moves by length // shorter fits `shorter` times."""
    return max(0, ceil(((length // shorter) * (shorter - 1) - length + kernel) / 2))


class SignalNetwork(nn.Module):
    """A stem, blocks and a linear classifier."""

    def __init__(self, stem: nn.Module, blocks: list[SignalBlock], classifier: nn.Linear) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = nn.ModuleList(blocks)
        self.classifier = classifier

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, C, T] to [B, outputs]."""
        main = skipped = self.stem(inputs)
        for block in self.blocks:
            main, skipped = block(main, skipped)
        outputs: Tensor = self.classifier(main.flatten(1))
        return outputs
