"""The words of a text stand in another order, those that fill it up among them (lap-experiments 6.6)."""

import numpy as np

from lapwing.corruption.base import Corruption, Decision, NoOptions, Samples
from lapwing.files import Array


def _decide(options: NoOptions, samples: Samples) -> Decision:
    rule = {"name": samples.settings.name, "seed": samples.corruption_seed}
    return Decision(samples.targets, {"input_rule": rule})


def _alter(options: NoOptions, seed: int, inputs: Array, positions: Array) -> Array:
    altered = np.empty_like(inputs)
    for place, position in enumerate(positions.tolist()):
        altered[place] = np.random.default_rng(seed + position).permutation(inputs[place])
    return altered


CORRUPTION = Corruption(
    title="Random Permute", version=1, decide=_decide, alter=_alter, tokens=True, seed_first=True
)
