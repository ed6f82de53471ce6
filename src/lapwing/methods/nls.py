"""Label smoothing: some of each label belongs to all classes (spec lap-core 7.6).

With a negative rate it is negative label smoothing, which makes the network surer of the given label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lapwing.methods.base import Batch, Method, Need
from lapwing.schema import Closed

if TYPE_CHECKING:
    from torch import Tensor

    from lapwing.training.engine import Training


class NlsHyperparameters(Closed):
    """Label smoothing's hyperparameters."""

    rate: float = 0.1
    """What every label gives to all classes in equal parts; may be negative, 0 is standard training."""
    wa: float = 0.0
    """Weight of the cross-entropy itself, beside the smoothed one."""
    wb: float = 1.0
    """Weight of the smoothed cross-entropy."""


class Nls(Method):
    """Cross-entropy against (1 − rate) · label + rate · uniform."""

    title = "Label Smoothing"
    version = 1
    needs = frozenset({Need.CLASSIFICATION})
    Hyperparameters = NlsHyperparameters
    hyperparameters: NlsHyperparameters

    @classmethod
    def shardable(cls, hyperparameters: NlsHyperparameters) -> bool:
        """Each sample stands for itself."""
        return True

    def sample_losses(self, training: Training, outputs: Any, batch: Batch) -> Tensor:
        """Smoothed losses [K, B] of outputs [K, B, C]."""
        chosen = self.hyperparameters
        given, uniform = chosen.wa + chosen.wb * (1 - chosen.rate), chosen.wb * chosen.rate
        return smoothed_losses(outputs, batch.targets, given, uniform)


def smoothed_losses(outputs: Tensor, targets: Tensor, given: float, uniform: float) -> Tensor:
    """Losses [K, B]: given · (− log p of the target) + uniform · (mean of − log p over the classes).

    Args:
        outputs: [K, B, C], whatever they are.
        targets: [K, B] classes.
        given: weight of the given label.
        uniform: weight of all classes together.
    """
    logs = outputs.movedim(-1, 0).contiguous().log_softmax(0)  # classes first: far faster on a CPU
    of_target = logs.gather(0, targets.unsqueeze(0)).squeeze(0)
    return -given * of_target - uniform * logs.mean(0)


METHOD = Nls
