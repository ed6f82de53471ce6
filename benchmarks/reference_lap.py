"""LAP's loss form the plain way: dictionaries, lists, and a loop over the sources of the batch.

The yardstick of `lap_step.py` and a second opinion in the tests; nothing in the package uses it.
"""

from collections import deque

import torch
from torch import Tensor


class ReferenceLap:
    """Histories as queues, counters as numbers; one source after another."""

    def __init__(
        self,
        history_length: int = 50,
        warmup_iters: int = 100,
        depression_strength: float = 1.0,
        discrete_amount: float = 0.005,
        leniency: float = 1.0,
    ) -> None:
        """Start with no source seen."""
        self.history_length = history_length
        self.warmup_iters = warmup_iters
        self.scale = depression_strength * discrete_amount
        self.leniency = leniency
        self.histories: dict[int, deque[Tensor]] = {}
        self.unreliability: dict[int, float] = {}
        self.calls = 0

    def multiplier(self, source: int) -> Tensor:
        """What a loss of this source is multiplied by."""
        return 1 - torch.tanh(torch.tensor(self.scale * self.unreliability[source])) ** 2

    def __call__(self, losses: Tensor, sources: Tensor) -> Tensor:
        """Weighted losses [B] of losses [B] and source ids [B]."""
        present = [int(source) for source in sources.unique()]
        for source in present:
            self.remember(source, losses.detach()[sources == source].mean())
        complete = [s for s, history in self.histories.items() if len(history) == self.history_length]
        ready = len(complete) > 1 and self.calls >= self.warmup_iters
        acting = [source for source in present if source in complete] if ready else []
        self.move(acting, complete)
        self.calls += 1
        factors = torch.ones_like(losses)
        for source in acting:
            factors[sources == source] = self.multiplier(source).to(factors.dtype)
        return losses * factors

    def remember(self, source: int, mean: Tensor) -> None:
        """Append a batch mean to a source's history."""
        if source not in self.histories:
            self.histories[source] = deque(maxlen=self.history_length)
            self.unreliability[source] = 0.0
        self.histories[source].append(mean)

    def move(self, acting: list[int], complete: list[int]) -> None:
        """Move the counters of the acting sources, all judged by the counters from before."""
        if not acting:
            return
        table = torch.stack([torch.stack(list(self.histories[source])) for source in complete]).double()
        weights = torch.stack([self.multiplier(source) for source in complete]).double()
        moves = {source: self.decide(complete.index(source), table, weights) for source in acting}
        for source, move in moves.items():
            self.unreliability[source] = max(0.0, self.unreliability[source] + move)

    def decide(self, row: int, table: Tensor, weights: Tensor) -> int:
        """Compare one row of the histories [S, H] with all the others."""
        is_other = torch.arange(len(table)) != row
        values = table[is_other]
        shares = weights[is_other][:, None].expand_as(values)
        mean = (shares * values).sum() / shares.sum()
        std = ((shares * (values - mean) ** 2).sum() / shares.sum()).sqrt()
        if not std > 1e-8:
            return 0
        return -1 if table[row].mean() < mean + self.leniency * std else 1
