"""Each corrupt source flips labels at a level of its own: a class becomes the next one (lap-core 6.6)."""

from collections.abc import Mapping

import numpy as np

from lapwing.corruption.base import Corruption, CorruptionSettings, Dealt, Decision, Pool, Samples
from lapwing.corruption.sources import Sources, assign_sources
from lapwing.errors import UserError
from lapwing.schema import Closed

FIRST_STREAM = 2
"""Published labels are drawn by the generators 50, 51, …, the corrupt sources by generator 48: the seed."""


class Options(Closed):
    """How much each corrupt source flips."""

    levels: tuple[float, ...] = (0.025, 0.05, 0.25, 1.0)
    """Share of flipped labels of each corrupt source, in the order in which the sources are drawn."""
    seed: int | None = None
    """Draws sources and labels in place of the run's, so that all runs have the same data."""


def _check(options: Options, input_shape: tuple[int, ...], classes: int | None) -> None:
    if classes is None:
        raise UserError("graded_label_flip flips classes, and the dataset has none.")
    if not all(0 <= level <= 1 for level in options.levels):
        raise UserError(f"graded_label_flip: options.levels lie between 0 and 1 (they are {options.levels}).")


def _check_sources(options: Options, sources: Sources, further: Mapping[str, str]) -> None:
    if len(options.levels) != sources.corrupt:
        raise UserError(
            f"graded_label_flip: options.levels: one for each of the {sources.corrupt} corrupt "
            f"sources (there are {len(options.levels)})."
        )


def _deal(options: Options, settings: CorruptionSettings, pool: Pool, seed: int) -> Dealt:
    """Samples stay with the sources that the data name, or draw theirs."""
    how = "random" if pool.source is None else "given"
    sources = settings.sources.model_copy(update={"assignment": how})
    own = seed if options.seed is None else options.seed
    assignment = assign_sources(sources, len(pool.rows), own, pool.source)
    return Dealt(assignment, np.isin(assignment.source, assignment.corrupt))


def _decide(options: Options, samples: Samples) -> Decision:
    flipped = np.zeros(len(samples.targets), dtype=bool)
    first = FIRST_STREAM + (samples.seed if options.seed is None else options.seed)
    for number, (source, level) in enumerate(zip(samples.corrupt_sources, options.levels, strict=True)):
        own = np.flatnonzero(samples.source == source)
        chosen = np.random.default_rng(first + number).choice(own, size=int(level * len(own)), replace=False)
        flipped[chosen] = True
    targets = np.where(flipped, (samples.targets + 1) % (samples.classes or 1), samples.targets)
    return Decision(targets, is_corrupted=flipped)


CORRUPTION = Corruption(
    title="Label Flip at Rising Levels",
    version=2,
    Options=Options,
    check_data=_check,
    check_sources=_check_sources,
    decide=_decide,
    deal=_deal,
)
