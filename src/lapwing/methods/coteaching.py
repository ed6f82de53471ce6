"""Co-teaching: two networks, each learns from the samples that the other finds easy (spec lap-core 7.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from lapwing.methods._dropped import drop_rate, number_kept
from lapwing.methods.base import Batch, Method, Need, Term
from lapwing.schema import Closed

if TYPE_CHECKING:
    from torch import Tensor

    from lapwing.training.engine import Training


class CoteachingHyperparameters(Closed):
    """Co-teaching's hyperparameters."""

    forget_rate: float = Field(0.2, ge=0, lt=1)
    """The share of each batch that is dropped in the end; 0: both networks are trained as in standard."""
    ramp_epochs: int = Field(10, ge=0)
    """Epochs in which the share rises from 0."""
    exponent: float = Field(1.0, gt=0)
    """The share rises up to `forget_rate` to this power."""
    divided_twice: bool = False
    """Divide the mean loss by the number of kept samples once more, as the first published code does."""


class Coteaching(Method):
    """Each network minimises its mean loss over the samples on which the other one's loss is smallest.

    The first network is the one that is tested.
    """

    title = "Co-teaching"
    version = 1
    needs = frozenset({Need.CLASSIFICATION})
    Hyperparameters = CoteachingHyperparameters
    hyperparameters: CoteachingHyperparameters
    networks = 2

    def objectives(
        self, training: Training, batch: Batch, outputs: Sequence[Any], losses: Sequence[Tensor]
    ) -> list[Term]:
        """The mean loss of each network over what the other keeps."""
        chosen = self.hyperparameters
        dropped = drop_rate(chosen.forget_rate, chosen.ramp_epochs, training.epoch, chosen.exponent)
        first, second = losses
        means = taught(first, second, number_kept(dropped, first.shape[1]), twice=chosen.divided_twice)
        return [Term(mean) for mean in means]


def taught(first: Tensor, second: Tensor, number: int, *, twice: bool = False) -> tuple[Tensor, Tensor]:
    """The mean losses [K] of two networks, each over the samples that the other keeps.

    Args:
        first: [K, B] losses of the first network.
        second: [K, B] losses of the second one.
        number: how many samples each keeps, at least 1.
        twice: divide by that number once more.
    """
    pairs = ((first, smallest(second, number)), (second, smallest(first, number)))
    one, other = (losses.gather(1, kept).mean(1) for losses, kept in pairs)
    return (one / number, other / number) if twice else (one, other)


def smallest(losses: Tensor, number: int) -> Tensor:
    """Places [K, number] of the smallest losses [K, B]; of equal ones the first, NaN comes last."""
    return losses.detach().argsort(dim=1, stable=True)[:, :number]


METHOD = Coteaching
