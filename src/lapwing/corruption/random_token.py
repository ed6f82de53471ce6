"""Some words of a text are replaced by any word of the vocabulary (lap-experiments 6.6)."""

import numpy as np
from pydantic import Field

from lapwing.corruption.base import Corruption, Decision, Samples
from lapwing.files import Array
from lapwing.schema import Closed


class Options(Closed):
    """How many words are replaced, and by which."""

    probability: float = Field(default=0.5, ge=0, le=1)
    """With which each word is replaced."""
    vocabulary: int | None = Field(default=None, ge=1)
    """The new words are drawn from the first so many; none: from all."""


def _decide(options: Options, samples: Samples) -> Decision:
    known = samples.vocabulary or 1
    words = min(options.vocabulary or known, known)
    drawn = options.model_copy(update={"vocabulary": words}).model_dump(mode="json")
    rule = {"name": samples.settings.name, "seed": samples.corruption_seed, **drawn}
    return Decision(samples.targets, {"input_rule": rule})


def _alter(options: Options, seed: int, inputs: Array, positions: Array) -> Array:
    altered = inputs.copy()
    for place, position in enumerate(positions.tolist()):
        generator = np.random.default_rng(seed + position)
        replaced = generator.random(inputs.shape[1]) < options.probability
        words = generator.integers(0, options.vocabulary or 1, size=inputs.shape[1:])
        altered[place] = np.where(replaced, words, inputs[place])
    return altered


CORRUPTION = Corruption(
    title="Random Token",
    version=1,
    Options=Options,
    decide=_decide,
    alter=_alter,
    tokens=True,
    seed_first=True,
)
