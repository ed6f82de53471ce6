"""Standard training: every sample counts the same, wherever it comes from."""

from typing import Any

from lapwing.methods.base import Method


class Standard(Method):
    """The mean loss of the batch; overrides nothing."""

    title = "Standard"
    version = 1

    @classmethod
    def shardable(cls, hyperparameters: Any) -> bool:
        """Each sample stands for itself."""
        return True


METHOD = Standard
