"""Labels are replaced by random ones.

The published "random label" is no noise per sample but a fixed map of classes, one for each corrupt source
(lap-core 4.4, quirk Q21). `draw: uniform` draws for each sample: of the classes, or for regression
between the smallest and the largest training target (lap-experiments 6.10).
"""

from typing import Literal

import numpy as np

from lapwing.corruption.base import Corruption, Decision, Samples
from lapwing.corruption.sources import SEED_LIMIT
from lapwing.errors import UserError
from lapwing.files import Array
from lapwing.schema import Closed


class Options(Closed):
    """How a new label is drawn."""

    draw: Literal["class_map", "uniform"] = "class_map"


def _check(options: Options, input_shape: tuple[int, ...], classes: int | None) -> None:
    if options.draw == "class_map" and classes is None:
        raise UserError(
            "random_label: options.draw: class_map maps classes, and the dataset has none; use uniform."
        )


def _decide(options: Options, samples: Samples) -> Decision:
    if samples.classes is None or options.draw == "uniform":
        return Decision(np.where(samples.is_corrupted, _uniform(samples), samples.targets))
    return Decision(_mapped(samples, samples.classes))


def _uniform(samples: Samples) -> Array:
    """A new target for every position, [N]."""
    generator = np.random.default_rng(samples.corruption_seed)
    targets, count = samples.targets, len(samples.targets)
    if samples.classes is None:
        return generator.uniform(targets.min(), targets.max(), count).astype(targets.dtype)
    return generator.integers(samples.classes, size=count, dtype=targets.dtype)


def _mapped(samples: Samples, classes: int) -> Array:
    """The targets after each corrupt source's own map of classes, [N].

    Source: lap-core, the exact recipe at the end of section 4. The generator is replaced at every corrupted
    sample, so the maps are those of a pass through all positions in their order.
    """
    generator = np.random.default_rng(np.random.default_rng(samples.corruption_seed).integers(1, SEED_LIMIT))
    generator = np.random.default_rng(generator.integers(1, 10_000))
    new_label: dict[tuple[int, int], int] = {}
    targets = samples.targets.copy()
    for position in np.flatnonzero(samples.is_corrupted):
        generator = np.random.default_rng(generator.integers(1, 10_000))
        pair = (int(samples.source[position]), int(targets[position]))
        if pair not in new_label:
            new_label[pair] = int(generator.choice(classes))
        targets[position] = new_label[pair]
    return targets


CORRUPTION = Corruption(title="Random Label", version=1, Options=Options, check_data=_check, decide=_decide)
