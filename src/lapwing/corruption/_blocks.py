"""Label corruptions that look at a whole block of one source at a time."""

from collections.abc import Callable

import numpy as np

from lapwing.corruption.base import Decision, Samples
from lapwing.errors import UserError
from lapwing.files import Array


def relabel_blocks(samples: Samples, draw: Callable[[np.random.Generator, Array], Array]) -> Decision:
    """Give the corrupted samples of each block the labels that `draw` makes of all labels of the block.

    The generator is seeded with the block's first position plus the run's seed, so that labels are a
    function of seed and block. Source: lap-core 4.4, block form, for all positions at once (quirk Q8).
    """
    size = samples.settings.sources.size
    if size is None:
        raise UserError(
            f"sources.assignment: {samples.settings.name} corrupts blocks of one source, so the assignment "
            f"must be blocks (it is {samples.settings.sources.assignment})."
        )
    targets = samples.targets.copy()
    for start in range(0, len(targets), size):
        block = slice(start, start + size)
        chosen = samples.is_corrupted[block]
        if chosen.any():
            drawn = draw(np.random.default_rng(start + samples.seed), samples.targets[block])
            targets[block][chosen] = drawn[chosen]
    return Decision(targets)
