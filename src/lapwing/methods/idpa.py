"""IDPA: what a network that was trained normally makes of each label corrects it (spec lap-core 7.2).

It trains in two phases, with one network and one optimiser. After the first, standard one, each sample keeps
the probability that the network gave to its label; in the second, each has a rate `eta` of confusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from lapwing.errors import UserError
from lapwing.methods.base import Batch, Method, Need, Term
from lapwing.schema import Closed

if TYPE_CHECKING:
    from torch import Tensor

    from lapwing.training.engine import Training

SMALLEST = 1e-5
"""No prior probability, and no divisor, is smaller."""


class IdpaHyperparameters(Closed):
    """IDPA's hyperparameters."""

    warmup_epochs: int | None = Field(None, ge=0)
    """Epochs of the first phase; by default half of the epochs of the study, which count both phases."""
    eta_initial: float = Field(0.01, ge=0, le=1)
    """Every sample's rate of confusion at the beginning."""
    eta_learning_rate: float = Field(0.05, ge=0)
    """How fast the rates change, from the second epoch of the second phase on."""


class Idpa(Method):
    """Standard training, then cross-entropy against what is believed about the true label of each sample."""

    title = "IDPA"
    version = 1
    needs = frozenset({Need.CLASSIFICATION, Need.SAMPLE_INDEX, Need.DISTINCT_SAMPLES})
    Hyperparameters = IdpaHyperparameters
    hyperparameters: IdpaHyperparameters
    state_names = ("eta", "pnl")
    eta: Tensor
    """[K, N] rates of confusion."""
    pnl: Tensor
    """[K, N] probabilities of the given labels after the first phase; 0 before."""

    def setup(self, training: Training) -> None:
        """Make the rates of K × N samples.

        Raises:
            UserError: a sample may stand twice in a batch, where its rate would move twice, in any order.
        """
        import torch

        if training.settings.layout == "balanced":
            raise UserError(f"method idpa needs {Need.DISTINCT_SAMPLES.value}.")
        self.pnl = torch.zeros(
            training.replicas, training.samples, dtype=training.dtype, device=training.device
        )
        self.eta = torch.full_like(self.pnl, self.hyperparameters.eta_initial)
        asked = self.hyperparameters.warmup_epochs
        self._switch = training.settings.epochs // 2 if asked is None else asked

    def on_epoch_start(self, training: Training) -> None:
        """At the switch: what the network, in evaluation, thinks of each label."""
        import torch

        if training.epoch == self._switch:
            losses = [training.sample_losses(outputs, b.targets) for b, outputs in training.full_pass()]
            self.pnl.copy_(torch.cat(losses, 1).neg().exp())

    def objectives(
        self, training: Training, batch: Batch, outputs: Sequence[Any], losses: Sequence[Tensor]
    ) -> list[Term]:
        """The standard one, later cross-entropy against the beliefs of before the step."""
        if training.epoch < self._switch:
            return super().objectives(training, batch, outputs, losses)
        logs = outputs[0].movedim(-1, 0).contiguous().log_softmax(0)  # classes first: far faster on a CPU
        eta, pnl = (known.gather(1, batch.index) for known in (self.eta, self.pnl))
        belief = beliefs(logs.detach(), batch.targets, eta, pnl)
        self._in_given = belief.gather(0, batch.targets.unsqueeze(0)).squeeze(0)
        return [Term(-(belief * logs).sum(0).mean(1))]

    def after_step(
        self, training: Training, batch: Batch, outputs: Sequence[Any], losses: Sequence[Tensor]
    ) -> None:
        """Move the rates of confusion of the batch."""
        if training.epoch <= self._switch:
            return
        eta, pnl = (known.gather(1, batch.index) for known in (self.eta, self.pnl))
        moved = moved_rates(eta, pnl, self._in_given, self.hyperparameters.eta_learning_rate)
        self.eta.scatter_(1, batch.index, moved)


def beliefs(logs: Tensor, targets: Tensor, eta: Tensor, pnl: Tensor) -> Tensor:
    """The probability of each class to be the true one, [C, K, B].

    The prior is (1 − eta + eta · pnl) for the given label and eta · pnl for every other class; only their
    ratio counts.

    Args:
        logs: [C, K, B] logarithms of the network's probabilities, detached.
        targets: [K, B] given labels.
        eta: [K, B] rates of confusion.
        pnl: [K, B] probabilities of the given labels after the first phase.
    """
    other = eta * pnl
    given = 1 - eta + other
    ahead = given.clamp(min=SMALLEST).log() - other.clamp(min=SMALLEST).log()
    return logs.scatter_add(0, targets.unsqueeze(0), ahead.unsqueeze(0)).softmax(0)


def moved_rates(eta: Tensor, pnl: Tensor, in_given: Tensor, speed: float) -> Tensor:
    """Rates of confusion [K, B] after a step, from the belief in the given label before it."""
    disparity = 1 + in_given * (pnl * eta - eta - 1)
    return (eta + speed * disparity / eta.clamp(min=SMALLEST)).clamp(0, 1)


METHOD = Idpa
