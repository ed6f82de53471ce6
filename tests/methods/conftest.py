"""What tests of methods share: the small trainings of `tests/training`, and hooks called by hand."""

import torch
from hypothesis import settings

from lapwing.methods.base import Batch
from tests.training.conftest import make

__all__ = ["make"]

quick = settings(max_examples=40, deadline=None)
"""Of a property: few examples, however long each takes."""


def method_of(kind, **hyperparameters):
    """A method with some hyperparameters."""
    return kind(kind.Hyperparameters.model_validate(hyperparameters))


def batch_of(targets: torch.Tensor) -> Batch:
    """One replica's batch that holds targets [B] only."""
    targets = targets.unsqueeze(0)
    return Batch(torch.zeros(*targets.shape, 1), targets, torch.arange(targets.shape[1]).unsqueeze(0))
