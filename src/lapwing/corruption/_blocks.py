"""Label corruptions that look at many labels at a time: at a block of one source, or at a mixed batch."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from lapwing.corruption.base import Corruption, Decision, Samples
from lapwing.errors import UserError
from lapwing.files import Array
from lapwing.schema import Closed

Draw = Callable[[np.random.Generator, Array], Array]
"""(generator, labels of a block) → labels that its corrupted samples get."""


class FormOptions(Closed):
    """Which labels it looks at, and for how long they stay."""

    form: Literal["block", "batch"] = "block"
    """`block`: the labels of a block of one source, once for the whole training; `batch`: those of a batch of
    many sources, drawn anew in every step (lap-core 4.4)."""


def relabelling(title: str, version: int, draw: Draw, redraw: Callable[[Any, Any], Any]) -> Corruption:
    """A corruption of labels: `draw` makes those of a block, `redraw` those of a batch."""

    def decide(options: FormOptions, samples: Samples) -> Decision:
        if options.form == "batch":  # labels stay: they are drawn during training, by a rule
            return Decision(samples.targets, {"label_rule": samples.rule()})
        return _relabelled(samples, draw)

    return Corruption(
        title=title,
        version=version,
        Options=FormOptions,
        decide=decide,
        check_data=_check_classes,
        redraw=redraw,
        in_blocks=_in_blocks,
    )


def _in_blocks(options: FormOptions) -> bool:
    return options.form == "block"


def _check_classes(options: FormOptions, input_shape: tuple[int, ...], classes: int | None) -> None:
    if classes is None:
        raise UserError("labels of a batch are flipped or shuffled among classes, and the dataset has none.")


def _relabelled(samples: Samples, draw: Draw) -> Decision:
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
