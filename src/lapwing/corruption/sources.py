"""Which source supplied each training sample, and which sources are corrupt."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from lapwing.files import Array
from lapwing.schema import Closed

SEED_LIMIT = 1_000_000_000
"""The published generators are seeded with integers from 1 up to, not including, this one."""


class Sources(Closed):
    """How many sources there are, how many of them are corrupt, and how samples are dealt to them."""

    number: int = Field(ge=1)
    corrupt: int = Field(ge=0)
    assignment: Literal["blocks", "random"] = "blocks"
    """`blocks`: the samples are shuffled and cut into blocks that the sources take in turn;
    `random`: each sample draws its source."""
    size: int | None = Field(default=None, ge=1, validate_default=True)
    """Samples in a block; `blocks` only."""

    @field_validator("corrupt")
    @classmethod
    def _not_more_than_there_are(cls, corrupt: int, info: ValidationInfo) -> int:
        number = info.data.get("number", corrupt)
        if corrupt > number:
            raise ValueError(f"no more than the {number} sources that there are can be corrupt")
        return corrupt

    @field_validator("size")
    @classmethod
    def _with_blocks_only(cls, size: int | None, info: ValidationInfo) -> int | None:
        assignment = info.data.get("assignment")
        if assignment == "blocks" and size is None:
            raise ValueError("the assignment blocks needs the number of samples in a block")
        if assignment == "random" and size is not None:
            raise ValueError("the assignment random has no blocks, so leave their size out")
        return size


@dataclass(frozen=True)
class Assignment:
    """What one seed decides about the sources of N training samples."""

    order: Array
    """[N] which training row stands at each position."""
    source: Array
    """[N] the source of each position."""
    corrupt: list[int]
    """The corrupt sources in the order in which they were drawn."""
    corruption_seed: int
    """Seeds whatever the corruption itself draws."""


def assign_sources(sources: Sources, count: int, seed: int) -> Assignment:
    """Deal `count` training rows to the sources and draw the corrupt ones.

    Source: lap-core 4.2 (`blocks`), lap-experiments 6.10 (`random`).
    """
    return (
        _in_blocks(sources, count, seed)
        if sources.assignment == "blocks"
        else _at_random(sources, count, seed)
    )


def _in_blocks(sources: Sources, count: int, seed: int) -> Assignment:
    generator = np.random.default_rng(seed)
    generator = np.random.default_rng(generator.integers(1, SEED_LIMIT, size=5))
    # The order of these three draws is part of the recipe: another number of corrupt
    # sources shuffles the samples differently.
    corruption_seed = int(generator.integers(1, SEED_LIMIT))
    corrupt = generator.choice(sources.number, size=sources.corrupt, replace=False)
    order = generator.permutation(count)
    block = np.arange(count, dtype=np.int64) // (sources.size or 1)
    return Assignment(order, block % sources.number, corrupt.tolist(), corruption_seed)


def _at_random(sources: Sources, count: int, seed: int) -> Assignment:
    source = np.random.default_rng(seed).choice(sources.number, size=count)
    corrupt = np.random.default_rng(seed).choice(sources.number, size=sources.corrupt, replace=False)
    # A child stream: the stream of the seed itself has already decided the sources.
    [child] = np.random.default_rng(seed).spawn(1)
    order = np.arange(count, dtype=np.int64)
    return Assignment(order, source, corrupt.tolist(), int(child.integers(1, SEED_LIMIT)))
