"""Who supplied each sample, and what is done to the samples of corrupt sources.

One file of this package is one corruption; nothing here imports torch until noise is drawn.
"""

from lapwing.registry import Registry

corruptions = Registry(
    "lapwing.corruption",
    "corruption",
    "CORRUPTION",
    support=frozenset({"base", "seeds", "sources", "split"}),
)
