"""What is measured, as sums on the device; and the measurements of a run as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lapwing.files import Array
from lapwing.training.distributed import ALONE, Processes

History = dict[str, Array]
"""What every epoch measured: name → [K, epochs], [K, epochs, S] for `source/…`, and for the records of single
steps [K, R] steps and [K, R, S] `record/…`."""


def train_metrics(
    losses: Tensor,
    correct: Tensor | None,
    source: Tensor | None,
    sources: int,
    processes: Processes = ALONE,
) -> dict[str, Tensor]:
    """Mean loss, accuracy, and mean loss of each source.

    Args:
        losses: [K, N] in any order.
        correct: [K, N] bool; None for regression.
        source: [K, N] in the order of the losses; None where there are none.
        sources: S.
        processes: those that share the samples.

    Returns:
        `train/loss` and `train/top_1` [K], `source/mean_loss` [K, S] (NaN for a source that gave nothing).
    """
    values, each = losses.double(), torch.ones_like(losses, dtype=torch.float64)
    number = processes.sum(each.sum(1))
    found = {"train/loss": processes.sum(values.sum(1)) / number}
    if correct is not None:
        found["train/top_1"] = processes.sum(correct.double().sum(1)) / number
    if source is not None:
        zeros = torch.zeros(len(losses), sources, dtype=torch.float64, device=losses.device)
        total, count = (zeros.scatter_add(1, source, what) for what in (values, each))
        found["source/mean_loss"] = processes.sum(total) / processes.sum(count)
    return found


def mean_objective(objectives: Tensor, sizes: Tensor, processes: Processes = ALONE) -> Tensor:
    """Mean over the samples of an epoch of what was minimised: [K], NaN of no steps.

    Args:
        objectives: [K, T] of each step, over the samples of this process.
        sizes: [T] how many of the samples this process counts.
        processes: those that share the samples.
    """
    total = (objectives.double() * sizes).sum(1)
    return processes.sum(total) / processes.sum(sizes.sum())


Groups = Mapping[str, Tensor]
"""Name → classes whose accuracy is measured apart."""


def evaluation_sums(
    losses: Tensor, outputs: Tensor, targets: Tensor, classes: int | None, groups: Groups | None = None
) -> dict[str, Tensor]:
    """Sums over samples: losses [K, B], outputs [K, B, C], targets [K, B] → metric → [K].

    Of classes with equal outputs the first ranks first, so that a network without an opinion gets no credit;
    nor does one get any for a sample with an output that is not finite.
    """
    found = {"loss": losses.double().sum(1)}
    if classes is None:
        return found
    mine = outputs.gather(-1, targets.unsqueeze(-1))
    before = torch.arange(classes, device=outputs.device) < targets.unsqueeze(-1)
    rank = ((outputs > mine) | ((outputs == mine) & before)).sum(-1)
    rank = rank.where(outputs.isfinite().all(-1), classes)
    tops = (1, 2, 5) if classes > 5 else (1, 2)
    found |= {f"top_{k}": (rank < k).double().sum(1) for k in tops}
    inside = _inside(targets, groups or {})
    return found | {name: ((rank < 1) & mask).double().sum(1) for name, mask in inside.items()}


def two_class_metrics(outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """How well class 1 is told from class 0 (spec lap-experiments 6.2), from all samples at once.

    `auc_pr` and `auc` rank the samples by the raw output of class 1, as published, `auc_pr_softmax` by its
    probability. A sample is called 1 where that output is the larger one. Samples of equal score count
    together; every value is scikit-learn's.

    Args:
        outputs: [K, M, 2].
        targets: [K, M] classes 0 and 1.

    Returns:
        Metric → [K]. An area is NaN where a class that it needs is absent, or an output is not finite;
        `precision`, `recall` and `f1` are 0 where there is nothing to divide by.
    """
    positive, raw = targets == 1, outputs.double()
    probability_rank = raw[..., 1] - raw[..., 0]  # ranks as the probability does, and never saturates
    curve, curve_of_probability = _counts(raw[..., 1], positive), _counts(probability_rank, positive)
    known = raw.flatten(1).isfinite().all(1) & (raw.shape[1] > 0)
    areas = {
        "auc_pr": _area_of_precision_and_recall(*curve),
        "auc_pr_softmax": _area_of_precision_and_recall(*curve_of_probability),
        "auc": _area_of_rates(*curve),
    }
    called = probability_rank > 0
    hits, of_called, of_positive = (mask.sum(1).double() for mask in (called & positive, called, positive))
    return {name: area.where(known, math.nan) for name, area in areas.items()} | {
        "precision": hits / of_called.clamp(min=1),
        "recall": hits / of_positive.clamp(min=1),
        "f1": 2 * hits / (of_called + of_positive).clamp(min=1),
    }


def _counts(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """How many positives and how many negatives score at least as high as the sample of each rank.

    Args:
        scores: [K, M].
        positive: [K, M] bool.

    Returns:
        Both [K, M], ranks in order of falling score; where scores are equal, so are the counts.
    """
    falling, order = scores.neg().sort(1)
    last = torch.searchsorted(falling, falling, right=True) - 1  # of the samples that share the score
    counts = positive.gather(1, order).cumsum(1)  # integers: a GPU adds up floats in any order
    hits = counts.gather(1, last).double()
    return hits, last + 1 - hits


def _area_of_precision_and_recall(hits: Tensor, misses: Tensor) -> Tensor:
    """[K] by the trapezoid rule, from precision 1 at recall 0 on."""
    return _area(hits / hits[:, -1:], hits / (hits + misses), start=1.0)


def _area_of_rates(hits: Tensor, misses: Tensor) -> Tensor:
    """[K], the area under the receiver's operating characteristic."""
    return _area(misses / misses[:, -1:], hits / hits[:, -1:], start=0.0)


def _area(x: Tensor, y: Tensor, start: float) -> Tensor:
    """[K] under y [K, M] over x [K, M], from (0, start) on."""
    begin = torch.zeros_like(x[:, :1])
    return torch.trapezoid(torch.cat((begin + start, y), 1), torch.cat((begin, x), 1), dim=1)


def of_groups(targets: Tensor, groups: Groups) -> dict[str, Tensor]:
    """How many of the targets [K, M] are of each group, [K] by the name of its metric."""
    return {name: mask.double().sum(1) for name, mask in _inside(targets, groups).items()}


def _inside(targets: Tensor, groups: Groups) -> dict[str, Tensor]:
    return {f"top_1_of_{name}": torch.isin(targets, members) for name, members in groups.items()}


def extended(history: History, epoch: Mapping[str, Tensor]) -> History:
    """The history with one more epoch; of records an epoch has several.

    What the epochs before did not measure, because a version from before it was thought of trained them, is
    NaN there.
    """
    before = next((values.shape[1] for name, values in history.items() if not name.startswith("record/")), 0)
    new = {
        name: values.numpy() if name.startswith("record/") else values.numpy()[:, None]
        for name, values in epoch.items()
    }
    return {
        name: np.concatenate([_known(history, name, values, before), values], 1)
        for name, values in new.items()
    }


def _known(history: History, name: str, like: Array, before: int) -> Array:
    """What was measured before under a name, of `before` epochs; none of records."""
    if name in history:
        return history[name]
    epochs = 0 if name.startswith("record/") else before
    return np.full((len(like), epochs, *like.shape[2:]), np.nan)


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
        for name, values in sorted(history.items())  # a checkpoint knows no order
        if not name.startswith(("source/", "record/"))
    ]
    return (
        pd.concat(parts, ignore_index=True)
        if parts
        else _empty(epoch=int, split=str, metric=str, value=float)
    )


SOURCE_VALUES = ("mean_loss", "unreliability", "multiplier")


def sources_table(
    history: History, row: int, epochs: int, is_corrupt: Array | None, steps_per_epoch: int
) -> pd.DataFrame:
    """What was seen of the sources by one replica, in its first `epochs` epochs.

    Returns:
        Columns epoch (1-based), step (from the beginning of training), source, is_corrupt, mean_loss,
        unreliability, multiplier; NaN: none. A row per source at the end of each epoch, and one for each
        record within it; of very many sources only every so many epochs, the last among them.
    """
    losses = history.get("source/mean_loss")
    if losses is None:
        return _empty(epoch=int, step=int, source=int, is_corrupt=bool, **dict.fromkeys(SOURCE_VALUES, float))
    sources = losses.shape[2]
    flags = np.zeros(sources, dtype=bool) if is_corrupt is None else is_corrupt
    shown = _shown_epochs(epochs, sources)
    ends = {name: history[f"source/{name}"][row] for name in SOURCE_VALUES if f"source/{name}" in history}
    ends = {name: values[shown] for name, values in ends.items()}
    table = _rows_of_sources(shown + 1, (shown + 1) * steps_per_epoch, ends, flags)
    if "record/step" not in history:
        return table
    at = history["record/step"][row].astype(int)
    within = (at <= epochs * steps_per_epoch) & (at % steps_per_epoch > 0)  # the end of an epoch is there
    records = {name: history[f"record/{name}"][row][within] for name in SOURCE_VALUES[1:]}
    inside = _rows_of_sources(at[within] // steps_per_epoch + 1, at[within], records, flags)
    return pd.concat([table, inside]).sort_values(["step", "source"], ignore_index=True)


MOST_ROWS = 200_000
"""Of one run, at the ends of its epochs: a hundred epochs of two thousand sources."""


def _shown_epochs(epochs: int, sources: int) -> Array:
    """The epochs (0-based) that are kept of a run with so many sources."""
    most = max(1, MOST_ROWS // sources)
    stride = max(1, -(-epochs // most))
    return np.arange(epochs)[::-1][::stride][::-1]


def _rows_of_sources(epoch: Array, step: Array, values: Mapping[str, Array], flags: Array) -> pd.DataFrame:
    """A row per moment and source; `values` are [moments or more, S] each."""
    moments, sources = len(epoch), len(flags)
    unknown = np.full(moments * sources, np.nan)
    found = {
        name: values[name][:moments].reshape(-1) if name in values else unknown for name in SOURCE_VALUES
    }
    return pd.DataFrame(
        {
            "epoch": np.repeat(epoch, sources),
            "step": np.repeat(step, sources),
            "source": np.tile(np.arange(sources), moments),
            "is_corrupt": np.tile(flags, moments),
            **found,
        }
    )


def _empty(**columns: type) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})
