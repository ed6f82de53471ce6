"""Corrupt sources give noisy signals and wrong labels, at rising levels (spec lap-experiments 6.2).

Two coins decide about each sample of a source with level p: with probability p its input gets noise, and with
probability p, whatever became of the input, its label flips.
"""

import numpy as np
from pydantic import Field

from lapwing.corruption._levels import RisingLevels
from lapwing.corruption._noise import NoiseOptions, normal_noise
from lapwing.corruption.base import Corruption, Decision, Samples
from lapwing.errors import UserError
from lapwing.files import Array


class Options(RisingLevels, NoiseOptions):
    """The noise, and how often there is some."""

    std: float = Field(default=0.2, ge=0)


def _check(options: Options, input_shape: tuple[int, ...], classes: int | None) -> None:
    if classes != 2:
        number = "none" if classes is None else classes
        raise UserError(f"noise_and_label_flip flips labels of two classes, and the dataset has {number}.")


def _decide(options: Options, samples: Samples) -> Decision:
    levels = np.zeros(samples.settings.sources.number)
    levels[samples.corrupt_sources] = options.levels(len(samples.corrupt_sources))
    rule = samples.rule()
    # A row of coins for each position: no sample's depend on the order in which samples are visited.
    coins = np.random.default_rng(rule["seed"]).random((len(samples.targets), 2))
    falls = samples.is_corrupted[:, None] & (coins < levels[samples.source, None])
    is_noisy, is_flipped = falls.T
    return Decision(
        targets=np.where(is_flipped, 1 - samples.targets, samples.targets),
        rules={"input_rule": rule},
        is_corrupted=is_noisy | is_flipped,
        is_altered=is_noisy,
    )


def _alter(options: Options, seed: int, inputs: Array, positions: Array) -> Array:
    return inputs + normal_noise(options, seed, inputs.shape, positions)


CORRUPTION = Corruption(
    title="Added Noise and Label Flip",
    version=1,
    Options=Options,
    check_data=_check,
    decide=_decide,
    alter=_alter,
)
