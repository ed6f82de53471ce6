"""Layers that run for one network and, with a leading replica axis, for K of them at once.

A network of these layers alone needs no `vmap`: it offers `forward_stacked`, which costs a few
operations per layer whatever K is. Each layer gives the same numbers either way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from lapwing.training.distributed import Shard
from lapwing.training.randomness import random_bits

Tensors = Mapping[str, Tensor]

AHEAD = 2**19
"""Elements of dropout masks that are made at once, so that what each operation costs by itself is shared."""


@runtime_checkable
class Stackable(Protocol):
    """A layer that offers a stacked forward pass."""

    def forward_stacked(self, inputs: Tensor, tensors: Tensors, name: str) -> Tensor:
        """[K, B, ...] to [K, B, ...] with the tensors [K, ...] named `<name>.<parameter or buffer>`."""
        ...


class Linear(nn.Linear):
    """An affine map of the last axis."""

    def forward_stacked(self, inputs: Tensor, tensors: Tensors, name: str) -> Tensor:
        """[K, B, in] to [K, B, out], one batched product."""
        bias, weight = tensors[f"{name}.bias"], tensors[f"{name}.weight"]
        return torch.baddbmm(bias.unsqueeze(1), inputs, weight.transpose(1, 2))


class ReLU(nn.ReLU):
    """The rectifier."""

    def forward_stacked(self, inputs: Tensor, tensors: Tensors, name: str) -> Tensor:
        """Elementwise."""
        return inputs.relu()


class Flatten(nn.Flatten):
    """All axes behind the batch become one."""

    def forward_stacked(self, inputs: Tensor, tensors: Tensors, name: str) -> Tensor:
        """[K, B, ...] to [K, B, D]."""
        return inputs.flatten(2)


class Softmax(nn.Module):
    """Softmax over the last axis, computed classes first.

    On a CPU a softmax over a short last axis takes ten times as long as one over the first.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., C] to [..., C]; the classes lie first in memory, as the loss wants them."""
        return inputs.movedim(-1, 0).contiguous().softmax(0).movedim(0, -1)

    def forward_stacked(self, inputs: Tensor, tensors: Tensors, name: str) -> Tensor:
        """[K, B, C] to [K, B, C]."""
        return cast(Tensor, self(inputs))


class Dropout(nn.Module):
    """Dropout whose mask is a hash of (key of the replica and the layer, call, position).

    `nn.Dropout` cannot be used: under `vmap` the draw of one replica depends on how many others
    there are. The stack sets `key` once and `call` before every training pass. With `channels` whole
    feature maps are dropped, not single values. Of a batch that processes share the mask is that of the whole
    batch, cut as the batch is: `shard`, which the stack sets too.
    """

    key: Tensor

    def __init__(self, probability: float, *, channels: bool = False) -> None:
        super().__init__()
        self.probability = probability
        self.channels = channels
        self.call = 0
        self.shard: Shard | None = None
        self._ahead = _Masks()
        self.register_buffer("key", torch.zeros((), dtype=torch.int32))

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, ...] to [B, ...]; the identity in evaluation."""
        if not self.training or self.probability == 0:
            return inputs
        call = torch.full((), self.call, dtype=torch.int32, device=inputs.device)
        shape = self._mask_shape(inputs.shape)
        masks = self._masks(self.key, call, prod(shape), inputs.dtype).view(1, *shape)
        return inputs * self._own(masks)[0]

    def forward_stacked(self, inputs: Tensor, tensors: Tensors, name: str) -> Tensor:
        """[K, B, ...] to [K, B, ...], each replica with its own mask; many calls' masks are made at once."""
        if not self.training or self.probability == 0:
            return inputs
        keys, shape = tensors[f"{name}.key"], self._mask_shape(inputs.shape[1:])
        number = prod(shape)
        ahead = self._ahead
        if not ahead.fit(keys, self.call, number, inputs.dtype):
            length = max(1, AHEAD // (len(inputs) * number))
            calls = torch.arange(self.call, self.call + length, dtype=torch.int32, device=inputs.device)
            masks = self._masks(keys, calls.unsqueeze(1), number, inputs.dtype)
            ahead = self._ahead = _Masks(keys, self.call, masks)
        return inputs * self._own(ahead.masks[self.call - ahead.start].view(len(inputs), *shape))

    def _mask_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Of one network's mask for inputs [B, C, ...] of the whole batch: theirs, or [B, C, 1, ...]."""
        batch = shape[0] if self.shard is None else self.shard.whole
        return (batch, shape[1], *[1] * len(shape[2:])) if self.channels else (batch, *shape[1:])

    def _own(self, masks: Tensor) -> Tensor:
        """Of masks [K, B, ...] of the whole batch those of the samples that are here."""
        return masks if self.shard is None else self.shard.of(masks)

    def _masks(self, keys: Tensor, calls: Tensor, number: int, dtype: torch.dtype) -> Tensor:
        """0 or 1 / (1 - probability) for each of `number` positions."""
        kept = random_bits(keys, calls, number) >= round(self.probability * 2**16) - 2**15
        return kept.to(dtype).div_(1 - self.probability)


@dataclass(frozen=True)
class _Masks:
    """Masks [calls, K, positions] made ahead: they are functions of key and call, so this is only speed."""

    keys: Tensor | None = None
    start: int = 0
    masks: Tensor = field(default_factory=lambda: torch.empty(0, 0, 0))

    def fit(self, keys: Tensor, call: int, number: int, dtype: torch.dtype) -> bool:
        """Whether they hold what this call needs."""
        within = 0 <= call - self.start < len(self.masks)
        return within and self.keys is keys and self.masks.shape[2] == number and self.masks.dtype == dtype


class Layers(nn.Sequential):
    """Stackable layers one after another, with names."""

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward_stacked(self, inputs: Tensor, tensors: Tensors) -> Tensor:
        """[K, B, ...] to [K, B, ...] with the tensors [K, ...] of K replicas."""
        for name, layer in self.named_children():
            inputs = cast(Stackable, layer).forward_stacked(inputs, tensors, name)
        return inputs
