"""Normal noise is added to every value of the input, without clipping (lap-core 4.4)."""

from lapwing.corruption._noise import NoiseOptions, decide_noise, normal_noise
from lapwing.corruption.base import Corruption
from lapwing.files import Array


def _alter(options: NoiseOptions, seed: int, inputs: Array, positions: Array) -> Array:
    return inputs + normal_noise(options, seed, inputs.shape, positions)


CORRUPTION = Corruption("Added Noise", version=1, Options=NoiseOptions, decide=decide_noise, alter=_alter)
