"""Each block of a corrupt source gets one label, that of one of its samples (lap-core 4.4, block form)."""

import numpy as np

from lapwing.corruption._blocks import relabel_blocks
from lapwing.corruption.base import Corruption, Decision, NoOptions, Samples
from lapwing.files import Array


def _decide(options: NoOptions, samples: Samples) -> Decision:
    return relabel_blocks(samples, _one_for_all)


def _one_for_all(generator: np.random.Generator, labels: Array) -> Array:
    return np.full_like(labels, generator.choice(labels))


CORRUPTION = Corruption(title="Batch Label Flip", version=1, decide=_decide, in_blocks=True)
