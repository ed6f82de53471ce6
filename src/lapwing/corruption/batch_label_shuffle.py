"""The labels of a block, or of a batch, are shuffled among its corrupted samples (lap-core 4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lapwing.corruption._blocks import relabelling
from lapwing.files import Array

if TYPE_CHECKING:
    from torch import Tensor


def _shuffled(generator: np.random.Generator, labels: Array) -> Array:
    drawn = labels.copy()
    generator.shuffle(drawn)
    return drawn


def _redraw(labels: Tensor, uniform: Tensor) -> Tensor:
    """A permutation of the labels [K, B] of each batch, in the order of its uniform numbers."""
    return labels.gather(1, uniform.argsort(1))


CORRUPTION = relabelling("Batch Label Shuffle", version=2, draw=_shuffled, redraw=_redraw)
