"""Optimisers of torch over stacked parameters, and learning rates as functions of the epoch."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lapwing.training.settings import Optimiser, Schedule
from lapwing.training.stack import per_replica

Make = Callable[[list[Tensor]], torch.optim.Optimizer]


def maker(settings: Optimiser) -> Make:
    """What makes the optimiser of these settings; fused, because that measures fastest for all K."""
    common = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay, "fused": True}
    if settings.name == "adam":
        return lambda parameters: torch.optim.Adam(parameters, betas=settings.betas, **common)  # type: ignore[arg-type]
    return lambda parameters: torch.optim.SGD(parameters, momentum=settings.momentum, **common)  # type: ignore[arg-type]


def learning_rate(optimiser: Optimiser, schedule: Schedule, epoch: int, epochs: int) -> float:
    """The learning rate of an epoch (0-based) of `epochs`."""
    start = optimiser.learning_rate
    if schedule.name == "cosine":
        return schedule.minimum + (start - schedule.minimum) * (1 + math.cos(math.pi * epoch / epochs)) / 2
    if schedule.name == "step":
        return start * float(schedule.factor ** (epoch // schedule.every))
    if schedule.name == "linear" and epoch >= schedule.start:
        return start * (epochs - epoch) / (epochs - schedule.start)
    return start


def options_of(optimiser: Optimiser, schedule: Schedule, epoch: int, epochs: int) -> dict[str, Any]:
    """What an epoch (0-based) of `epochs` changes in the optimiser: the learning rate, and betas."""
    options: dict[str, Any] = {"lr": learning_rate(optimiser, schedule, epoch, epochs)}
    if schedule.late_beta is not None and epoch >= schedule.start:
        options["betas"] = (schedule.late_beta, optimiser.betas[1])
    return options


class StackedOptimiser:
    """An optimiser over tensors [K, ...]; single replicas can sit a step out.

    A gradient of zero would still move momentum, moments and decayed weights, so a replica that
    sits out gets all its rows back. Only the count of steps in Adam's bias correction is shared and goes on.
    """

    def __init__(self, parameters: Iterable[Tensor], make: Make) -> None:
        self.parameters = list(parameters)
        self._dense = [_dense(parameter) for parameter in self.parameters]
        self._make = make
        self._options: dict[str, Any] = {}
        self.restart()

    def restart(self) -> None:
        """Forget all moments."""
        self.inner = self._make(self._dense)
        self.set_options(self._options)

    def set_options(self, options: Mapping[str, Any]) -> None:
        """Set options of all parameters, `lr` for instance; they stay when moments are forgotten."""
        self._options = dict(options)
        for group in self.inner.param_groups:
            group.update(options)

    def clear_gradients(self) -> None:
        """Drop the gradients of the step before."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, active: Tensor | None = None) -> None:
        """One step; rows where `active` [K] is false neither move nor learn."""
        for parameter, dense in zip(self.parameters, self._dense, strict=True):
            if dense is not parameter:
                dense.grad = None if parameter.grad is None else parameter.grad.transpose(1, 2)
        if active is None:
            self.inner.step()
            return
        self._create_state()
        rows = [*self._dense, *(t for kept in self._kept() for t in kept.values() if t.ndim)]
        before = [row.detach().clone() for row in rows]
        self.inner.step()
        for row, old in zip(rows, before, strict=True):
            row.copy_(torch.where(per_replica(active, row), row, old))

    def states(self) -> list[dict[str, Tensor]]:
        """What the optimiser keeps for each parameter, [K, ...]; what they share is repeated for each."""
        replicas = len(self.parameters[0])
        return [
            {name: _like(parameter, t) if t.ndim else t.repeat(replicas) for name, t in kept.items()}
            for parameter, kept in zip(self.parameters, self._kept(), strict=True)
        ]

    @torch.no_grad()
    def load(self, states: Sequence[Mapping[str, Tensor]]) -> None:
        """Take over what `states` gave."""
        if not any(states):
            return
        self._create_state()
        for parameter, ours, theirs in zip(self.parameters, self._kept(), states, strict=True):
            for name, tensor in ours.items():
                tensor.copy_(_like(parameter, theirs[name]) if tensor.ndim else theirs[name][0])

    def _kept(self) -> list[dict[str, Tensor]]:
        """The tensors of the optimiser for each parameter, [K, ...] or 0-d."""
        kept = (self.inner.state[dense] for dense in self._dense)
        return [{name: t for name, t in state.items() if isinstance(t, Tensor)} for state in kept]

    @torch.no_grad()
    def _create_state(self) -> None:
        """Let the optimiser make its tensors, at zero, before they are needed as what was before."""
        if self.inner.state and any(self.inner.state.values()):
            return
        saved = [(dense, dense.detach().clone(), dense.grad) for dense in self._dense]
        for dense in self._dense:
            dense.grad = torch.zeros_like(dense)
        self.inner.step()
        for dense, value, gradient in saved:
            dense.copy_(value)
            dense.grad = gradient
        for tensor in (t for kept in self._kept() for t in kept.values()):
            tensor.zero_()


def _dense(parameter: Tensor) -> Tensor:
    """The parameter as it lies in memory: fused optimisers copy what is not contiguous, back and forth."""
    return parameter if parameter.is_contiguous() else parameter.detach().transpose(1, 2)


def _like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """A tensor that lies as the parameter does in memory, with its axes; or the other way round."""
    return tensor if parameter.is_contiguous() else tensor.transpose(1, 2)
