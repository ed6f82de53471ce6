"""Normal noise that is a function of seed and training position."""

from pydantic import Field

from lapwing.corruption.base import Decision, Samples
from lapwing.files import Array
from lapwing.schema import Closed


class NoiseOptions(Closed):
    """The normal distribution of each value, in units of the scaled inputs."""

    mean: float = 0.0
    std: float = Field(default=1.0, ge=0)


def decide_noise(options: NoiseOptions, samples: Samples) -> Decision:
    """Labels stay; the noise is drawn when inputs are."""
    return Decision(samples.targets, {"input_rule": samples.rule()})


def normal_noise(options: NoiseOptions, seed: int, shape: tuple[int, ...], positions: Array) -> Array:
    """Noise [n, …] float32 for samples at `positions` [n], not clipped.

    Source: lap-core 4.4: PyTorch's CPU generator, seeded with position + seed, fills one sample.
    """
    import torch

    noise = torch.empty(shape, dtype=torch.float32)
    generator = torch.Generator()
    for sample, position in zip(noise, positions.tolist(), strict=True):
        sample.normal_(options.mean, options.std, generator=generator.manual_seed(position + seed))
    return noise.numpy()
