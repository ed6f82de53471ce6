"""What is done to the inputs of training batches, on the device: a function of seed, epoch and position."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lapwing.training.randomness import derive, random_words


class HorizontalFlip:
    """Mirrors half of the images, drawn anew in every epoch; each of K replicas has draws of its own."""

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        keys = [derive(seed, "horizontal flip") & 0x7FFFFFFF for seed in seeds]
        self._keys = torch.tensor(keys, dtype=torch.int32, device=device)

    def __call__(self, inputs: Tensor, epoch: int, index: Tensor) -> Tensor:
        """Images [K, B, C, H, W] of the positions `index` [K, B]; waits for nothing."""
        call = torch.full((), epoch, dtype=torch.int32, device=index.device)
        flips = random_words(self._keys, call, index.int()) < 0
        return torch.where(flips[..., None, None, None], inputs.flip(-1), inputs)
