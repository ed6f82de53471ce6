"""What a model is: a title, a version, options, and how the network is built.

Importing a model imports no torch (a study is read without it); building one does.
A network of `lapwing.training.layers` alone trains its seeds stacked without further ado.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lapwing.schema import Closed

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Model:
    """One architecture: what `lapwing.models.<key>.MODEL` is."""

    title: str
    version: int
    """Raised when its numbers change."""
    Options: type[Closed]
    build: Callable[[Any, tuple[int, ...], int], nn.Module]
    """(options, shape of one input, number of outputs) → network; draws from torch's global generator."""
    batch_norm: bool = False
    """Some methods cannot train a network with batch norm."""
