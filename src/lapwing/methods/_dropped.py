"""How much a method drops, epoch by epoch: what co-teaching and CDR share."""

from __future__ import annotations

SLACK = 1e-9
"""Without it (1 − 0.8) · 10, which is 1.9999… in binary, would keep one sample less than it says."""


def drop_rate(rate: float, ramp_epochs: int, epoch: int, exponent: float = 1.0) -> float:
    """The share that is dropped in an epoch (0-based).

    It rises from 0 to `rate` ** `exponent` in equal steps over the first `ramp_epochs` epochs, and is
    `rate` after them (spec other-methods 1.6, kernel 2).
    """
    if epoch >= ramp_epochs:
        return rate
    return float(rate**exponent * epoch / max(ramp_epochs - 1, 1))


def number_kept(dropped: float, number: int) -> int:
    """How many of `number` stay when this share of them is dropped; at least one."""
    return max(1, int((1 - dropped) * number + SLACK))
