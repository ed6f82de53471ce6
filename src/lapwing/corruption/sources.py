"""Which source supplied each training sample, and which sources are corrupt."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from lapwing.errors import UserError
from lapwing.files import Array
from lapwing.schema import Closed

SEED_LIMIT = 1_000_000_000
"""The published generators are seeded with integers from 1 up to, not including, this one."""


class Sources(Closed):
    """How many sources there are, how many of them are corrupt, and how samples are dealt to them."""

    number: int = Field(ge=1)
    corrupt: int = Field(ge=0)
    assignment: Literal["blocks", "random", "random_in_turn", "given", "dealt"] = "blocks"
    """`blocks`: the samples are shuffled and cut into blocks that the sources take in turn, with a size of 1
    sample by sample; `random`: each sample draws its source; `random_in_turn`: so too, and the same generator
    then draws the corrupt sources, for which `random` has another; `given`: the dataset says who supplied
    each sample; `dealt`: the corruption says it."""
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
        if assignment != "blocks" and size is not None:
            raise ValueError(f"the assignment {assignment} has no blocks, so leave their size out")
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


def assign_sources(
    sources: Sources, count: int, seed: int, given: Array | None = None, *, seed_first: bool = False
) -> Assignment:
    """Deal `count` training rows to the sources and draw the corrupt ones.

    Args:
        sources: how.
        count: N.
        seed: the run's.
        given: [N] who supplied each row, as far as the dataset says it. Negative: not known, to be dealt
            `random`; a dataset with such rows counts the others from the end of the dealt ones.
        seed_first: whether the corruption's seed is drawn in front of everything (`random_in_turn`, `given`).

    Source: lap-core 4.2 (`blocks`), 6.6 (`given`) and 6.8 (some given), lap-experiments 6.10 (`random`),
    6.6 and 6.8 (`random_in_turn`), 6.11 (`given` with the seed in front).

    Raises:
        UserError: the dataset does not say what the assignment needs.
    """
    some_known = given is not None and bool((given < 0).any())
    if sources.assignment == "blocks" and not some_known:
        return _in_blocks(sources, count, seed)
    if sources.assignment == "random_in_turn" and not some_known:
        return _in_turn(sources, count, seed, seed_first)
    if sources.assignment == "random":
        return _at_random(sources, count, seed, given if some_known else None)
    if sources.assignment == "given" and given is not None and not some_known:
        return _as_given(sources, given, seed, seed_first)
    rows = "every row" if sources.assignment == "given" else "no row"
    raise UserError(
        f"sources.assignment: {sources.assignment} needs a dataset that says of {rows} who supplied it; "
        "use random."
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


def _at_random(sources: Sources, count: int, seed: int, given: Array | None) -> Assignment:
    """Every row draws its source; those that are known (0 …) follow the dealt ones and are never corrupt."""
    fixed = np.full(count, -1) if given is None else given
    dealt = sources.number - (int(fixed.max()) + 1)
    if sources.corrupt > dealt or dealt < 1:
        raise UserError(
            f"sources: {sources.number - dealt} of the {sources.number} sources are the dataset's own, "
            f"so at most {max(dealt, 0)} can be corrupt."
        )
    source = fixed + dealt
    unknown = fixed < 0
    source[unknown] = np.random.default_rng(seed).choice(dealt, size=int(unknown.sum()))
    return _drawn_apart(source, dealt, sources.corrupt, seed)


def _in_turn(sources: Sources, count: int, seed: int, seed_first: bool) -> Assignment:
    """Every row draws its source; the same generator goes on to draw the corrupt ones."""
    generator = np.random.default_rng(seed)
    first = int(generator.integers(SEED_LIMIT)) if seed_first else None  # from 0 on, as published
    source = generator.choice(sources.number, size=count)
    corrupt = generator.choice(sources.number, size=sources.corrupt, replace=False).tolist()
    corruption_seed = int(generator.integers(1, SEED_LIMIT)) if first is None else first
    return Assignment(np.arange(count, dtype=np.int64), source, corrupt, corruption_seed)


def _as_given(sources: Sources, given: Array, seed: int, seed_first: bool) -> Assignment:
    if int(given.max()) >= sources.number:
        raise UserError(
            f"sources.number: the dataset names {int(given.max()) + 1} sources (it is {sources.number})."
        )
    return _drawn_apart(given.copy(), sources.number, sources.corrupt, seed, seed_first)


def _drawn_apart(source: Array, among: int, corrupt: int, seed: int, seed_first: bool = False) -> Assignment:
    """Rows in their order; corrupt sources drawn by a generator of their own."""
    generator = np.random.default_rng(seed)
    first = int(generator.integers(SEED_LIMIT)) if seed_first else None  # from 0 on, as published
    drawn = generator.choice(among, size=corrupt, replace=False).tolist()
    # A child stream: the stream of the seed itself has already decided the sources.
    [child] = np.random.default_rng(seed).spawn(1)
    corruption_seed = int(child.integers(1, SEED_LIMIT)) if first is None else first
    return Assignment(np.arange(len(source), dtype=np.int64), source, drawn, corruption_seed)
