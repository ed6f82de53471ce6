"""Batch norm where processes share a batch: by the moments of the whole batch, as in one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lapwing.training.distributed import Processes, Shard


class WholeBatchNorm(TorchFunctionMode):
    """In its block `F.batch_norm`, which every batch norm of torch calls, sees the batch of all processes.

    What it returns, its gradients and the running statistics are those of the whole batch. torch's own
    `SyncBatchNorm` needs a GPU, a module of its own in the network, and does not run under `vmap`.
    """

    def __init__(self, processes: Processes, shard: Shard) -> None:
        """The processes, and which samples of the batch the inputs of this one are."""
        super().__init__()
        self._processes, self._shard = processes, shard

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Any other function does what it does."""
        return (self._batch_norm if func is F.batch_norm else func)(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        inputs: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        """[own, C, …] to the same shape and type; arguments are those of `F.batch_norm`."""
        if not training:
            return F.batch_norm(inputs, running_mean, running_var, weight, bias, training, momentum, eps)
        values = inputs.to(torch.promote_types(inputs.dtype, torch.float32))
        mean, variance = self._moments(values)
        if running_mean is not None and running_var is not None:
            number = inputs.numel() // inputs.shape[1] // self._shard.own * self._shard.whole
            with torch.no_grad():
                running_mean.lerp_(mean, momentum)
                running_var.lerp_(variance * (number / (number - 1)), momentum)
        channels = (1, -1, *[1] * (inputs.ndim - 2))
        scale = (variance + eps).rsqrt() if weight is None else (variance + eps).rsqrt() * weight
        normalised = (values - mean.view(channels)) * scale.view(channels)
        return (normalised if bias is None else normalised + bias.view(channels)).to(inputs.dtype)

    def _moments(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance [C] of the whole batch.

        One exchange, of means and mean squares; in float64, where their difference loses nothing.
        """
        axes = [0, *range(2, values.ndim)]
        variance, mean = (moment.double() for moment in torch.var_mean(values, axes, correction=0))
        own = torch.stack((mean, variance + mean.square()))
        mean, square = self._processes.mean(own, self._shard).unbind()
        variance = (square - mean.square()).clamp(min=0)
        return mean.to(values.dtype), variance.to(values.dtype)
