"""The published datasets: one file each that says which files, from where, and how they become arrays.

No PyTorch here: fetching and preparing start in a moment.
"""

from lapwing.registry import Registry

datasets = Registry(
    "lapwing.datasets",
    "dataset",
    "DATASET",
    support=frozenset(
        {"base", "download", "mirror", "remote", "archive", "raw", "prepare", "pickles", "idx"}
    ),
)
