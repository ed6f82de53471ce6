"""The input is replaced by normal noise; the label stays (lap-core 4.4)."""

from lapwing.corruption._noise import NoiseOptions, decide_noise, normal_noise
from lapwing.corruption.base import Corruption
from lapwing.files import Array


def _alter(options: NoiseOptions, seed: int, inputs: Array, positions: Array) -> Array:
    return normal_noise(options, seed, inputs.shape, positions).astype(inputs.dtype, copy=False)


CORRUPTION = Corruption(
    "Replace With Noise", version=1, Options=NoiseOptions, decide=decide_noise, alter=_alter
)
