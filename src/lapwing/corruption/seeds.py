"""The chain of experiment seeds that the published studies drew from one base seed."""

import numpy as np


def seed_chain(base: int, count: int) -> list[int]:
    """The first `count` experiment seeds that follow `base`, one per experiment in the order of the loops.

    Source: lap-experiments, section 0: each seed is drawn by a generator seeded with the one before.
    """
    seeds = [base]
    for _ in range(count):
        seeds.append(int(np.random.default_rng(seeds[-1]).integers(0, 1_000_000_000)))
    return seeds[1:]
