"""Lapwing: train on data from sources of unknown reliability, and compare the methods that do so.

`from lapwing import SourceLossWeighting, SourceGradientWeighting` gives LAP for anybody's training loop.
PyTorch is imported when one of them is asked for, not before.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lapwing.weighting import SourceGradientWeighting, SourceLossWeighting

__version__ = "0.1.0"
__all__ = ["SourceGradientWeighting", "SourceLossWeighting", "__version__"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("lapwing.weighting"), name)
    raise AttributeError(f"module 'lapwing' has no attribute {name!r}")
