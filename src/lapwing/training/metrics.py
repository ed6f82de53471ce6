"""What is measured, as sums on the device; and the measurements of a run as tables."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lapwing.files import Array

History = dict[str, Array]
"""What every epoch measured: name → [K, epochs], or [K, epochs, S] for `source/…`."""


def train_metrics(
    losses: Tensor, correct: Tensor | None, source: Tensor | None, sources: int
) -> dict[str, Tensor]:
    """Mean loss, accuracy, and mean loss of each source.

    Args:
        losses: [K, N] in any order.
        correct: [K, N] bool; None for regression.
        source: [K, N] in the order of the losses; None where there are none.
        sources: S.

    Returns:
        `train/loss` and `train/top_1` [K], `source/mean_loss` [K, S] (NaN for a source that gave nothing).
    """
    found = {"train/loss": losses.double().mean(1)}
    if correct is not None:
        found["train/top_1"] = correct.double().mean(1)
    if source is not None:
        zeros = torch.zeros(len(losses), sources, dtype=torch.float64, device=losses.device)
        count = zeros.scatter_add(1, source, torch.ones_like(losses, dtype=torch.float64))
        found["source/mean_loss"] = zeros.scatter_add(1, source, losses.double()) / count
    return found


def test_metrics(losses: Tensor, outputs: Tensor, targets: Tensor, classes: int | None) -> dict[str, Tensor]:
    """Sums over samples: losses [K, B], outputs [K, B, C], targets [K, B] → metric → [K].

    Of classes with equal outputs the first ranks first, so that a network without an opinion gets no credit;
    nor does one get any for a sample with an output that is not finite.
    """
    found = {"test/loss": losses.double().sum(1)}
    if classes is None:
        return found
    mine = outputs.gather(-1, targets.unsqueeze(-1))
    before = torch.arange(classes, device=outputs.device) < targets.unsqueeze(-1)
    rank = ((outputs > mine) | ((outputs == mine) & before)).sum(-1)
    rank = rank.where(outputs.isfinite().all(-1), classes)
    tops = (1, 2, 5) if classes > 5 else (1, 2)
    return found | {f"test/top_{k}": (rank < k).double().sum(1) for k in tops}


test_metrics.__test__ = False  # type: ignore[attr-defined]


def extended(history: History, epoch: Mapping[str, Tensor]) -> History:
    """The history with one more epoch."""
    new = {name: values.numpy()[:, None] for name, values in epoch.items()}
    return {
        name: np.concatenate([history[name], values], 1) if name in history else values
        for name, values in new.items()
    }


def metrics_table(history: History, row: int, epochs: int) -> pd.DataFrame:
    """Columns epoch (1-based), split, metric, value of one replica's first `epochs` epochs."""
    parts = [
        pd.DataFrame(
            {
                "epoch": np.arange(1, epochs + 1),
                "split": name.partition("/")[0],
                "metric": name.partition("/")[2],
                "value": values[row, :epochs],
            }
        )
        for name, values in history.items()
        if not name.startswith("source/")
    ]
    return (
        pd.concat(parts, ignore_index=True)
        if parts
        else _empty(epoch=int, split=str, metric=str, value=float)
    )


def sources_table(history: History, row: int, epochs: int, is_corrupt: Array | None) -> pd.DataFrame:
    """Columns epoch, source, is_corrupt, mean_loss, unreliability, multiplier of one replica; NaN: none."""
    columns = ("mean_loss", "unreliability", "multiplier")
    losses = history.get("source/mean_loss")
    if losses is None:
        return _empty(epoch=int, source=int, is_corrupt=bool, **dict.fromkeys(columns, float))
    sources = losses.shape[2]
    unknown = np.full_like(losses, np.nan)
    values = {name: history.get(f"source/{name}", unknown)[row, :epochs].reshape(-1) for name in columns}
    flags = np.zeros(sources, dtype=bool) if is_corrupt is None else is_corrupt
    return pd.DataFrame(
        {
            "epoch": np.repeat(np.arange(1, epochs + 1), sources),
            "source": np.tile(np.arange(sources), epochs),
            "is_corrupt": np.tile(flags, epochs),
            **values,
        }
    )


def _empty(**columns: type) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})
