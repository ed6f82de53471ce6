"""CDR: only the parameters that matter follow their gradients (spec lap-core 7.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from lapwing.methods._dropped import drop_rate, number_kept
from lapwing.methods.base import Batch, Method, Need
from lapwing.schema import Closed

if TYPE_CHECKING:
    from torch import Tensor

    from lapwing.training.engine import Training
    from lapwing.training.stack import Stack


class CdrHyperparameters(Closed):
    """CDR's hyperparameters. Its weight decay belongs to the optimiser of the study."""

    noise_rate: float = Field(0.4, ge=0, lt=1)
    """The share of wrong labels, which must be known or guessed: a study sets it. 0 is standard training."""
    ramp_epochs: int = Field(0, ge=0)
    """Epochs in which the share of gradients that stay falls from 1 to 1 − noise_rate; 0: at once."""


class Cdr(Method):
    """Rank all weights by |weight · gradient|; the share 1 − noise_rate on top moves, scaled by that share.

    Weights are tensors with 2 or 4 axes: biases and batch norm follow their gradients as they are.
    """

    title = "CDR"
    version = 1
    needs = frozenset({Need.CLASSIFICATION})
    Hyperparameters = CdrHyperparameters
    hyperparameters: CdrHyperparameters

    @classmethod
    def shardable(cls, hyperparameters: CdrHyperparameters) -> bool:
        """Gradients are those of the whole batch when they are edited."""
        return True

    def edit_gradients(self, training: Training, batch: Batch, network: Stack, losses: Tensor) -> None:
        """Scale the gradients of the weights that matter, and set those of the others to zero."""
        chosen = self.hyperparameters
        dropped = drop_rate(chosen.noise_rate, chosen.ramp_epochs, training.epoch)
        weights = [p for p in network.parameters.values() if p.ndim in (3, 5) and p.grad is not None]
        if dropped and weights:
            keep_what_matters(weights, dropped)


def keep_what_matters(weights: Sequence[Tensor], dropped: float) -> None:
    """Change the gradients of weights [K, …] in place; each replica ranks its own, all tensors together.

    Args:
        weights: with gradients.
        dropped: the share whose gradients become 0.
    """
    import torch

    from lapwing.training.stack import per_replica

    gradients = [weight.grad for weight in weights if weight.grad is not None]
    pairs = zip(weights, gradients, strict=True)
    matters = [(weight.detach() * gradient).abs_() for weight, gradient in pairs]
    everything = torch.cat([part.flatten(1) for part in matters], 1)
    number = everything.shape[1]
    rank = number - number_kept(dropped, number) + 1
    threshold = everything.kthvalue(rank, dim=1).values
    for gradient, part in zip(gradients, matters, strict=True):
        kept = part >= per_replica(threshold, part)
        gradient.mul_(kept.to(part.dtype).mul_(1 - dropped))


METHOD = Cdr
