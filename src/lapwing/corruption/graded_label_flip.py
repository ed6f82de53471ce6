"""Each corrupt source flips labels at a level of its own: a class becomes the next one (lap-core 6.6)."""

import numpy as np

from lapwing.corruption.base import Corruption, Decision, Samples
from lapwing.errors import UserError
from lapwing.schema import Closed

FIRST_STREAM = 2
"""Published labels are drawn by the generators 50, 51, …, the corrupt sources by generator 48: the seed."""


class Options(Closed):
    """How much each corrupt source flips."""

    levels: tuple[float, ...] = (0.025, 0.05, 0.25, 1.0)
    """Share of flipped labels of each corrupt source, in the order in which the sources are drawn."""


def _check(options: Options, input_shape: tuple[int, ...], classes: int | None) -> None:
    if classes is None:
        raise UserError("graded_label_flip flips classes, and here are none.")
    if not all(0 <= level <= 1 for level in options.levels):
        raise UserError(f"graded_label_flip: options.levels lie between 0 and 1 (they are {options.levels}).")


def _decide(options: Options, samples: Samples) -> Decision:
    if len(options.levels) != len(samples.corrupt_sources):
        raise UserError(
            f"graded_label_flip: options.levels: one for each of the {len(samples.corrupt_sources)} corrupt "
            f"sources (there are {len(options.levels)})."
        )
    flipped = np.zeros(len(samples.targets), dtype=bool)
    for number, (source, level) in enumerate(zip(samples.corrupt_sources, options.levels, strict=True)):
        own = np.flatnonzero(samples.source == source)
        generator = np.random.default_rng(samples.seed + FIRST_STREAM + number)
        flipped[generator.choice(own, size=int(level * len(own)), replace=False)] = True
    targets = np.where(flipped, (samples.targets + 1) % (samples.classes or 1), samples.targets)
    return Decision(targets, is_corrupted=flipped)


CORRUPTION = Corruption(
    title="Label Flip at Rising Levels", version=1, Options=Options, check=_check, decide=_decide
)
