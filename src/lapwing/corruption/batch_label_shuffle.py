"""The labels of each block of a corrupt source are shuffled among its samples (lap-core 4.4, block form)."""

import numpy as np

from lapwing.corruption._blocks import relabel_blocks
from lapwing.corruption.base import Corruption, Decision, NoOptions, Samples
from lapwing.files import Array


def _decide(options: NoOptions, samples: Samples) -> Decision:
    return relabel_blocks(samples, _shuffled)


def _shuffled(generator: np.random.Generator, labels: Array) -> Array:
    drawn = labels.copy()
    generator.shuffle(drawn)
    return drawn


CORRUPTION = Corruption(title="Batch Label Shuffle", version=1, decide=_decide, in_blocks=True)
