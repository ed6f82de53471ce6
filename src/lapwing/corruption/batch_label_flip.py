"""The corrupted samples of a block, or of a batch, get the label of one of its samples (lap-core 4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lapwing.corruption._blocks import relabelling
from lapwing.files import Array

if TYPE_CHECKING:
    from torch import Tensor


def _one_for_all(generator: np.random.Generator, labels: Array) -> Array:
    return np.full_like(labels, generator.choice(labels))


def _redraw(labels: Tensor, uniform: Tensor) -> Tensor:
    """One of the labels [K, B] of each batch, for all of it."""
    place = (uniform[:, :1] * labels.shape[1]).long()
    return labels.gather(1, place).expand_as(labels)


CORRUPTION = relabelling("Batch Label Flip", version=2, draw=_one_for_all, redraw=_redraw)
