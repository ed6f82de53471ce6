"""Corrupt sources give the labels of human annotators, at rising levels (lap-core 6.7, CIFAR-10N).

A source with level p has p samples whose human label is wrong; all its others have the true one.
"""

from collections.abc import Mapping

import numpy as np

from lapwing.corruption._levels import RisingLevels
from lapwing.corruption.base import Corruption, CorruptionSettings, Dealt, Decision, Pool, Samples
from lapwing.corruption.sources import Assignment, Sources
from lapwing.errors import UserError
from lapwing.schema import Name


class Options(RisingLevels):
    """Whose labels, and how many of them."""

    labels: Name = "worse"
    """The dataset's further labels."""


def _deal(options: Options, settings: CorruptionSettings, pool: Pool, seed: int) -> Dealt:
    """Wrong human labels go to the corrupt sources, the other samples fill all sources in their order."""
    sources = settings.sources
    corrupt = np.random.default_rng(seed).choice(sources.number, size=sources.corrupt, replace=False)
    sizes = np.full(sources.number, len(pool.rows) // sources.number)
    sizes[: len(pool.rows) % sources.number] += 1
    wanted = np.zeros(sources.number, dtype=np.int64)
    wanted[corrupt] = sizes[corrupt] * options.levels(sources.corrupt)
    wrong = np.random.default_rng(seed).permutation(
        np.flatnonzero(pool.labels[options.labels] != pool.targets)
    )
    if wanted.sum() > len(wrong):
        raise UserError(
            f"human_labels: the corrupt sources need {wanted.sum()} wrong labels, and {options.labels} "
            f"holds {len(wrong)}; fewer sources.corrupt or a lower options.highest would do."
        )
    given = np.repeat(np.arange(sources.number), wanted)
    rest = np.setdiff1d(np.arange(len(pool.rows)), wrong[: len(given)])
    order = np.concatenate([wrong[: len(given)], rest])
    source = np.concatenate([given, np.repeat(np.arange(sources.number), sizes - wanted)])
    return Dealt(Assignment(order, source, corrupt.tolist(), seed), np.arange(len(order)) < len(given))


def _check_sources(options: Options, sources: Sources, further: Mapping[str, str]) -> None:
    if further.get(options.labels) != "labels":
        there = ", ".join(name for name, kind in further.items() if kind == "labels") or "none"
        raise UserError(f"human_labels: options.labels: the dataset has no {options.labels}; it has {there}.")


def _decide(options: Options, samples: Samples) -> Decision:
    return Decision(np.where(samples.is_corrupted, samples.labels[options.labels], samples.targets))


CORRUPTION = Corruption(
    title="Human Labels",
    version=1,
    Options=Options,
    decide=_decide,
    check_sources=_check_sources,
    deal=_deal,
)
