"""What a model is: a title, a version, options, and how the network is built.

Importing a model imports no torch (a study is read without it); building one does.
A network of `lapwing.training.layers` alone trains its seeds stacked without further ado. Dropout is always
`lapwing.training.layers.Dropout`; torch's own is refused: its masks depend on which seeds train together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lapwing.errors import UserError
from lapwing.schema import Closed

if TYPE_CHECKING:
    from torch import nn


def fits_all(options: Any, input_shape: tuple[int, ...]) -> None:
    """Nothing is asked of the inputs."""


@dataclass(frozen=True)
class Model:
    """One architecture: what `lapwing.models.<key>.MODEL` is."""

    title: str
    version: int
    """Raised when its numbers change."""
    Options: type[Closed]
    build: Callable[..., nn.Module]
    """(options, shape of one input, number of outputs) → network, for tokens (…, size of the vocabulary);
    draws from torch's global generator."""
    task: Literal["classification", "regression"] = "classification"
    """What its outputs are for."""
    check_inputs: Callable[[Any, tuple[int, ...]], None] = fits_all
    """(options, shape of one input): a `UserError` where the inputs do not fit."""
    batch_norm: bool = False
    """Some methods cannot train a network with batch norm."""
    tokens: bool = False
    """Whether its inputs are numbers of words."""

    def check(self, options: Any, input_shape: tuple[int, ...], task: str, *, tokens: bool = False) -> None:
        """Refuse data that the architecture is not for; called before any job.

        Raises:
            UserError: names what it is for, or what inputs it needs.
        """
        if task != self.task:
            raise UserError(f"model.name: {self.title} is for {self.task}, and the dataset for {task}.")
        if tokens != self.tokens:
            kinds = {True: "words", False: "numbers"}
            raise UserError(
                f"model.name: {self.title} reads {kinds[self.tokens]}, and the dataset has {kinds[tokens]}."
            )
        self.check_inputs(options, input_shape)
