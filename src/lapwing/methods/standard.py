"""Standard training: every sample counts the same, wherever it comes from."""

from lapwing.methods.base import Method


class Standard(Method):
    """The mean loss of the batch; overrides nothing."""

    title = "Standard"
    version = 1


METHOD = Standard
