"""The labels of a block, or of a batch, are shuffled among its corrupted samples (lap-core 4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lapwing.corruption._blocks import FormOptions, check_classes, decide, in_blocks
from lapwing.corruption.base import Corruption, Decision, Samples
from lapwing.files import Array

if TYPE_CHECKING:
    from torch import Tensor


def _decide(options: FormOptions, samples: Samples) -> Decision:
    return decide(options, samples, _shuffled)


def _shuffled(generator: np.random.Generator, labels: Array) -> Array:
    drawn = labels.copy()
    generator.shuffle(drawn)
    return drawn


def _redraw(labels: Tensor, uniform: Tensor) -> Tensor:
    """A permutation of the labels [K, B] of each batch, in the order of its uniform numbers."""
    return labels.gather(1, uniform.argsort(1))


CORRUPTION = Corruption(
    title="Batch Label Shuffle",
    version=2,
    Options=FormOptions,
    decide=_decide,
    check=check_classes,
    redraw=_redraw,
    in_blocks=in_blocks,
)
