"""LAP: fade out the sources whose losses stay above those of the others.

Each source has a counter, its unreliability C, and a history of its last H batch losses. Whenever a
source supplied data, one decision moves its counter: down by one where the mean of its history lies below

    weighted mean of the others' histories + leniency * weighted standard deviation of them,

and up by one elsewhere. What the source contributes is then multiplied by `1 - tanh²(c·m·C)`, with the
discrete amount c and the depression strength m. The two published forms share all this:

| | `SourceLossWeighting` | `SourceGradientWeighting` |
|---|---|---|
| multiplies | the loss of each sample | the gradients of a batch from one source |
| weighs the others by | `1 - tanh²(c·m·C)` | `1 / (C + 1)` |
| warm-up counts | all calls | calls in which a decision was possible |

Every tensor of state has a leading replica axis K, one row per run that trains in the same process, and the
sums are kept in float64. With the sources named at construction no step waits for the device: shapes
are fixed, and nothing is read back. Not for choosing samples within a source, and not a training loop.

Paper symbols and facts: `lap-core` specification, sections 1 to 3 and quirks Q1-Q5, Q23-Q25.
"""

import functools
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

Compat = Literal["original"] | None
Device = str | int | torch.device | None

FLAT = 1e-8
"""A standard deviation of the others up to this decides nothing (specification, section 2.3)."""
ROUNDING = 1e-13
"""The share of a mean square that rounding in float64 may leave in a variance of equal values."""
FEW = 128
"""Up to so many sources a product with a constant matrix is the fastest exact sum over the others."""
NEVER = 2**62
"""The rank of a source that was not seen yet."""


# ---------------------------------------------------------------------------------------------------------
# The algorithm: one decision, two laws
# ---------------------------------------------------------------------------------------------------------


def tanh_law(depression: Tensor) -> Tensor:
    """Return `1 - tanh²(depression)`, which falls from 1 towards 0; the depression is c·m·C."""
    faded = torch.tanh(depression)
    return 1.0 - faded * faded


def inverse_law(unreliability: Tensor) -> Tensor:
    """Return `1 / (C + 1)`, the weight among the others in the gradient form."""
    return (unreliability + 1).reciprocal()


def others_mean_and_std(weights: Tensor, means: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
    """Compute, for each source, the weighted mean and standard deviation of all the others.

    Args:
        weights: [K, S], zero for a source that takes no part.
        means: [K, S] mean of each source's history.
        squares: [K, S] mean square of each source's history.

    Returns:
        Mean and population standard deviation, each [K, S]; NaN where the others weigh nothing.
    """
    terms = torch.stack((weights, weights * means, weights * squares), 1)
    weight, mean, square = sum_of_others(terms).unbind(1)
    mean = mean / weight
    variance = torch.addcmul(square / weight, mean, mean, value=-(1 + ROUNDING))
    return mean, variance.clamp_(min=0).sqrt_()


def sum_of_others(terms: Tensor) -> Tensor:
    """Sum over all sources but one, for each one: [K, terms, S] to the same shape.

    Never the total less the source's own part, which would lose everything where that source outweighs the
    rest. Rounding does not depend on K: each replica is a product, or a running sum, of its own.
    """
    replicas, _, size = terms.shape
    if size <= FEW:
        return torch.bmm(terms, all_but_one(size, terms.device).expand(replicas, size, size))
    padded = nn.functional.pad(terms, (1, 1))
    before = padded.cumsum(-1)[..., :-2]
    behind = padded.flip(-1).cumsum(-1).flip(-1)[..., 2:]
    return before + behind


@functools.lru_cache(maxsize=16)
def all_but_one(size: int, device: torch.device) -> Tensor:
    """The matrix that sums all but one: zeros on the diagonal, ones elsewhere."""
    return 1 - torch.eye(size, dtype=torch.float64, device=device)


@functools.lru_cache(maxsize=16)
def averaging_row(length: int, device: torch.device) -> Tensor:
    """[1, 1, length], 1 / length everywhere."""
    return torch.full((1, 1, length), 1 / length, dtype=torch.float64, device=device)


def decision(
    own: Tensor, mean: Tensor, std: Tensor, acting: Tensor, leniency: float, compat: Compat = None
) -> Tensor:
    """Decide how each counter moves: -1 below the threshold, +1 at or above it, 0 where nothing can be told.

    Nothing can be told where the others do not differ, or weigh nothing, so that their statistics are
    NaN. The original goes up at NaN (Q25).

    Args:
        own: [K, S] mean of each source's own history.
        mean: [K, S] weighted mean of the others.
        std: [K, S] weighted standard deviation of the others.
        acting: [K, S] whose turn it is; 0 for the rest.
        leniency: lambda, in standard deviations.
        compat: None, or "original".

    Returns:
        [K, S] in float64.
    """
    below = own < torch.add(mean, std, alpha=leniency)
    telling = ~(std <= FLAT) if compat == "original" else std > FLAT
    # explicit casts: arithmetic on masks makes a temporary copy in each operation
    return torch.rsub(below.double(), 1.0, alpha=2.0) * (telling & acting).double()


# ---------------------------------------------------------------------------------------------------------
# The counter store
# ---------------------------------------------------------------------------------------------------------


class SourceStore(nn.Module):
    """Histories and counters of the sources of K replicas, keyed by integer id, in ascending order of id.

    `ids` is [S]; every other buffer has the leading axis K: `history` [K, H, S] (a ring for each source),
    `updates` [K, S] (values that a source ever gave), `batches` [K, S] (those in which it was present),
    `counters` [K, S] and `calls` [K, 1].
    """

    ids: Tensor
    history: Tensor
    updates: Tensor
    counters: Tensor
    batches: Tensor
    calls: Tensor

    def __init__(
        self,
        history_length: int,
        device: Device,
        sources: Iterable[int] | None,
        num_sources: int | None,
        replicas: int | None,
        compat: Compat,
        sum_over_processes: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Start with no source seen, or with the named ones at zero."""
        super().__init__()
        if compat not in (None, "original"):
            raise ValueError(f"compat must be None or 'original', not {compat!r}.")
        self.history_length = whole_number("history_length", history_length, least=1)
        self.replicas = None if replicas is None else whole_number("replicas", replicas, least=1)
        self.compat = compat
        self.sum_over_processes = sum_over_processes
        self._follows_losses = device is None
        named = named_sources(sources, num_sources)
        self._named = named is not None
        if sum_over_processes is not None and not self._named:
            raise ValueError("sum_over_processes needs sources or num_sources: all processes know the same.")
        self._consecutive = named == list(range(len(named or ())))
        place = torch.device("cpu" if device is None else device)
        for name, tensor in self._fresh(named or [], place).items():
            self.register_buffer(name, tensor)

    def _fresh(self, ids: list[int], device: torch.device) -> dict[str, Tensor]:
        """State before the first call, for these ids."""
        shape = (self.replicas or 1, len(ids))

        def zeros(*shape: int, dtype: torch.dtype) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        return {
            "ids": torch.tensor(ids, dtype=torch.int64, device=device),
            "history": zeros(shape[0], self.history_length, shape[1], dtype=torch.float64),
            "updates": zeros(*shape, dtype=torch.int64),
            "counters": zeros(*shape, dtype=torch.float64),
            "batches": zeros(*shape, dtype=torch.float64),
            "calls": zeros(shape[0], 1, dtype=torch.int64),
        }

    # What a reader wants to know

    @property
    def sources(self) -> list[int]:
        """All source ids, ascending: the order of the last axis of `unreliability` and `multiplier`."""
        return [int(source) for source in self.ids.tolist()]

    @property
    def unreliability(self) -> Tensor:
        """The counter of each source, [S], or [K, S] with replicas."""
        return self._by_replica(self._unreliability(self.updates >= self.history_length).clone())

    @property
    def multiplier(self) -> Tensor:
        """The factor that each source's counter stands for, [S], or [K, S] with replicas."""
        return self._by_replica(self._multiplier(self._unreliability(self.updates >= self.history_length)))

    @property
    def skipped(self) -> Tensor:
        """How many batches of each source were skipped for a mean that is not finite, [S] or [K, S]."""
        return self._by_replica(self.batches.long() - self.updates)

    def replica_state(self) -> dict[str, Tensor]:
        """Return all state with a replica axis, by name: to copy rows out of, or in place into."""
        return {name: tensor for name, tensor in self.named_buffers() if name != "ids"}

    def _by_replica(self, per_source: Tensor) -> Tensor:
        return per_source[0] if self.replicas is None else per_source

    def _unreliability(self, complete: Tensor) -> Tensor:
        """The counter that holds for each source, [K, S]."""
        return self.counters

    def _multiplier(self, unreliability: Tensor) -> Tensor:
        raise NotImplementedError

    # Admission: from what a caller has to [K, B] values and rows

    def _admit(self, losses: Tensor, sources: Tensor) -> tuple[Tensor, Tensor]:
        """Losses [K, B] in float64 and the row of each sample's source [K, B], where the state lives."""
        device = self.ids.device
        if self._follows_losses and losses.device != device:
            device = losses.device
            self.to(device)
        values = losses.detach().to(device, torch.float64)
        rows = self._rows(sources.to(device))
        if not self._named and not bool(values.isfinite().all()):
            raise ValueError("losses must be finite; a NaN or an infinity was given.")
        return values, rows

    def _rows(self, sources: Tensor) -> Tensor:
        """The row of each id; an id that was not named gets the row S, which does not exist."""
        if self._consecutive and sources.dtype == torch.int64:
            return sources
        whole = sources.long()
        if not self._named:
            return self._look_up(whole, sources)
        rows, known = (whole, True) if self._consecutive else self._find(whole)
        return torch.where((whole == sources) & known, rows, len(self.ids))

    def _find(self, sources: Tensor) -> tuple[Tensor, Tensor]:
        rows = torch.searchsorted(self.ids, sources.contiguous()).clamp_(max=len(self.ids) - 1)
        return rows, self.ids.take(rows) == sources

    def _look_up(self, whole: Tensor, sources: Tensor) -> Tensor:
        if not bool((whole == sources).all()):
            raise ValueError("sources must be whole numbers; an id with a fraction was given.")
        if len(self.ids):
            rows, known = self._find(whole)
            if bool(known.all()):
                return rows
        self._grow(torch.cat((self.ids, whole.flatten())).unique())  # type: ignore[no-untyped-call]
        return self._find(whole)[0]

    def _grow(self, ids: Tensor) -> None:
        """Make room for new sources and carry the state of the old ones over."""
        old = dict(self.named_buffers())
        rows = torch.searchsorted(ids, old.pop("ids"))
        fresh = self._fresh(ids.tolist(), ids.device)
        for name, tensor in fresh.items():
            if name != "ids":
                new = old[name] if name == "calls" else tensor.index_copy_(-1, rows, old[name])
                setattr(self, name, new)
        self.ids = fresh["ids"]

    # Memory

    def _record(self, values: Tensor, rows: Tensor) -> Tensor:
        """Put the batch mean of every source that is present into its history; tell which got one, [K, S]."""
        updates, history = self.updates, self.history
        total, count = self._sums(values, rows)
        if self.sum_over_processes is not None:
            total, count = self.sum_over_processes(torch.stack((total, count))).unbind()
        mean = total / count
        valid = mean.abs() < math.inf  # false for NaN: no sample, or a loss that is none
        self.batches.add_(count.clamp_(max=1.0))
        slot = updates.remainder(self.history_length).unsqueeze(1)
        oldest = history.gather(1, slot).squeeze(1)
        history.scatter_(1, slot, torch.where(valid, mean, oldest).unsqueeze(1))
        updates.add_(valid)
        return valid

    def _sums(self, values: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Sum of the losses and number of samples of each source in the batch, both [K, S]."""
        zeros = torch.zeros_like(self.counters)
        try:
            total = zeros.scatter_add(1, rows, values)
        except RuntimeError as error:  # a look beforehand would cost every step
            if "out of bounds" not in str(error):
                raise
            raise ValueError(f"sources holds an id that is not among the {len(self.ids)} named.") from None
        return total, zeros.scatter_add_(1, rows, torch.ones_like(values))

    def _moments(self) -> tuple[Tensor, Tensor]:
        """Mean and mean square of every history, each [K, S].

        Summed afresh each time, which costs about a tenth of a step: nothing drifts, and a spike is gone when
        it leaves the history. A product with a row of 1 / H costs half of what `mean` does.
        """
        history = self.history
        row = averaging_row(self.history_length, history.device).expand(len(history), 1, -1)
        return torch.bmm(row, history).squeeze(1), torch.bmm(row, history * history).squeeze(1)

    # Movement and loading

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Follow the model to another device, but keep the dtypes: counters and sums need float64."""
        super()._apply(lambda tensor: tensor.to(fn(tensor).device), recurse)  # type: ignore[no-untyped-call]
        return self

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        ids = state_dict.get(f"{prefix}ids")
        if ids is not None and ids.tolist() != self.sources:
            if self._named:
                raise ValueError("the saved state belongs to other sources than those named at construction.")
            for name, tensor in self._fresh(ids.tolist(), self.ids.device).items():
                setattr(self, name, tensor)
        super()._load_from_state_dict(state_dict, prefix, *rest)


# ---------------------------------------------------------------------------------------------------------
# Front end 1: the loss of each sample
# ---------------------------------------------------------------------------------------------------------


class SourceLossWeighting(SourceStore):
    """Multiply each sample's loss by the factor of its source (specification, section 2).

    The buffer `factors` [K, S] holds what the counters stand for: the result of one step, and the weights
    of the next.

    Example:
        >>> loss_weighting = SourceLossWeighting(history_length=25)
        >>> loss = loss_weighting(losses, sources).mean()  # losses [B], unreduced; sources [B]

    Args:
        history_length: H, batch means kept per source (Q23: 50).
        warmup_iters: W, calls before any counter moves.
        depression_strength: m; with 0 the counters move but every factor is 1.
        discrete_amount: c, what one step of a counter adds to the depression.
        leniency: lambda, in standard deviations of the others.
        device: where the state lives; None: with the losses.
        sources: the ids of all sources; any whole numbers. Steps then never wait for the device.
        num_sources: short for the sources 0 ... num_sources - 1.
        replicas: K, if losses and sources come as [K, B].
        compat: "original" weighs in float32 and goes up at NaN, as published (Q25).
        sum_over_processes: sums a tensor over the processes that share each batch, an all-reduce; it gets the
            sums and counts of the sources, [2, K, S], and so all processes hold the state of the whole batch.
            The sources must be named.

    Raises:
        ValueError: a setting has no meaning.
    """

    factors: Tensor

    def __init__(
        self,
        history_length: int = 50,
        warmup_iters: int = 100,
        depression_strength: float = 1.0,
        discrete_amount: float = 0.005,
        leniency: float = 1.0,
        device: Device = None,
        *,
        sources: Iterable[int] | None = None,
        num_sources: int | None = None,
        replicas: int | None = None,
        compat: Compat = None,
        sum_over_processes: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Check the settings; see the class."""
        super().__init__(history_length, device, sources, num_sources, replicas, compat, sum_over_processes)
        self.warmup_iters = whole_number("warmup_iters", warmup_iters, least=0)
        self.depression_strength = finite_number("depression_strength", depression_strength, least=0)
        self.discrete_amount = finite_number("discrete_amount", discrete_amount, least=0)
        self.leniency = finite_number("leniency", leniency)

    def forward(
        self, losses: Tensor, sources: Tensor, writer: Any = None, prefix: str | None = None
    ) -> Tensor:
        """Return the weighted losses; the factor is a constant for autograd, the mean is the caller's (Q24).

        Args:
            losses: [B], or [K, B] with replicas, one value per sample, of any floating dtype.
            sources: the source id of each sample, same shape.
            writer: a TensorBoard `SummaryWriter`; reading the values out waits for the device.
            prefix: put before the names of the scalars.

        Raises:
            ValueError: shapes or ids do not fit, or, where ids are looked up, a loss is not finite.
        """
        weighted = losses * self.multipliers(losses, sources)
        if writer is not None and losses.numel():
            self._report(writer, f"{prefix}/" if prefix else "", losses.detach(), sources)
        return weighted

    def multipliers(self, losses: Tensor, sources: Tensor) -> Tensor:
        """Count one batch and return only the factor of each sample, in the shape and dtype of `losses`.

        Raises:
            ValueError: as for a call.
        """
        self._check(losses, sources)
        if not losses.numel() and self.sum_over_processes is None:
            return torch.ones_like(losses)
        batch = losses, sources
        if self.replicas is None:
            batch = losses.unsqueeze(0), sources.unsqueeze(0)
        values, rows = self._admit(*batch)
        acting = self._record(values, rows)
        self._move_counters(acting)
        return self.factors.gather(1, rows).view(losses.shape).to(losses.device, losses.dtype)

    def _move_counters(self, present: Tensor) -> None:
        """Move the counters of the sources that are present, all from the same old counters."""
        counters, factors, calls = self.counters, self.factors, self.calls
        complete = self.updates >= self.history_length
        acting = present & complete & (calls >= self.warmup_iters)
        calls.add_(1)
        if self.compat == "original":
            acting &= complete.sum(1, keepdim=True) >= 2
        means, squares = self._moments()
        mean, std = others_mean_and_std(factors * complete, means, squares)
        counters.add_(decision(means, mean, std, acting, self.leniency, self.compat)).clamp_(min=0)
        factors.copy_(self._multiplier(counters))

    def _multiplier(self, unreliability: Tensor) -> Tensor:
        depression = unreliability * (self.discrete_amount * self.depression_strength)
        if self.compat == "original":
            return tanh_law(depression.float()).double()
        return tanh_law(depression)

    def _fresh(self, ids: list[int], device: torch.device) -> dict[str, Tensor]:
        state = super()._fresh(ids, device)
        return state | {"factors": torch.ones_like(state["counters"])}

    def _check(self, losses: Tensor, sources: Tensor) -> None:
        shape, axes = ("[B]", 1) if self.replicas is None else (f"[{self.replicas}, B]", 2)
        if losses.dim() != axes or (self.replicas is not None and len(losses) != self.replicas):
            raise ValueError(
                f"losses must have the shape {shape}, one value per sample, not {list(losses.shape)};"
                " use reduction='none' and squeeze a last axis of 1."
            )
        if sources.shape != losses.shape:
            raise ValueError(
                f"sources must have the shape of losses, {list(losses.shape)}, not {list(sources.shape)}."
            )
        if not losses.is_floating_point():
            raise ValueError(f"losses must be floating-point numbers, not {losses.dtype}.")

    def _report(self, writer: Any, prefix: str, losses: Tensor, sources: Tensor) -> None:
        """Write three scalars for each source of the batch, at the number of the call."""
        if self.replicas is not None:
            raise ValueError("writer follows a single run; read unreliability and multiplier with replicas.")
        step = int(self.calls) - 1
        for row, source in enumerate(self.sources):
            own = losses[sources == source]
            if own.numel():
                values = {
                    "unreliability": self.counters[0, row],
                    "depression_multiplier": self.factors[0, row],
                    "loss": own.mean(),
                }
                for name, value in values.items():
                    writer.add_scalar(f"{prefix}{name}/source_{source}", float(value), step)


# ---------------------------------------------------------------------------------------------------------
# Front end 2: the gradients of a batch from one source
# ---------------------------------------------------------------------------------------------------------


class SourceGradientMultiplier(SourceStore):
    """The factor of the gradient form as pure state: one loss and one source per replica and step.

    For a trainer of stacked replicas, which scales gradients itself; different replicas may have different
    sources in the same step (specification, section 3.3).

    Args:
        history_length: H, losses kept per source.
        depression_strength: m.
        discrete_amount: c.
        leniency: lambda.
        warm_up: the first warm_up - 1 calls in which a decision was possible move nothing.
        function: applied to c·C, a tensor [K, S], before the strength; None: nothing.
        device: where the state lives; None: with the losses.
        sources: the ids of all sources. Steps then never wait for the device.
        num_sources: short for the sources 0 ... num_sources - 1.
        replicas: K; None: one.
        compat: "original" addresses counters by position among the complete sources, in order of first
            appearance (Q3), and takes a loss of exactly -1 for a missing one.

    Raises:
        ValueError: a setting has no meaning.
    """

    first_seen: Tensor

    def __init__(
        self,
        history_length: int = 10,
        depression_strength: float = 1.0,
        discrete_amount: float = 0.005,
        leniency: float = 1.0,
        warm_up: int = 0,
        function: Callable[[Tensor], Tensor] | None = None,
        device: Device = None,
        *,
        sources: Iterable[int] | None = None,
        num_sources: int | None = None,
        replicas: int | None = None,
        compat: Compat = None,
    ) -> None:
        """Check the settings; see the class."""
        super().__init__(history_length, device, sources, num_sources, replicas, compat)
        self.depression_strength = finite_number("depression_strength", depression_strength, least=0)
        self.discrete_amount = finite_number("discrete_amount", discrete_amount, least=0)
        self.leniency = finite_number("leniency", leniency)
        self.warm_up = whole_number("warm_up", warm_up, least=0)
        self.function = function

    def multipliers(self, losses: Tensor, sources: Tensor) -> Tensor:
        """Count one step and return the factor of each replica's gradients.

        Args:
            losses: [K] loss of each replica's batch.
            sources: [K] source id of each replica's batch.

        Returns:
            [K] in float64; 1 where no decision was made.

        Raises:
            ValueError: shapes or ids do not fit, or, where ids are looked up, a loss is not finite.
        """
        if losses.shape != self.calls.shape[:1] or sources.shape != losses.shape:
            raise ValueError(
                f"losses and sources must have the shape [{len(self.calls)}], one batch of one source per"
                f" replica, not {list(losses.shape)} and {list(sources.shape)}."
            )
        values, rows = self._admit(losses.unsqueeze(1), sources.unsqueeze(1))
        present = self._record(values, rows)
        complete = self.updates >= self.history_length
        able = present & complete & (complete.sum(1, keepdim=True) >= 2)
        self.calls.add_(able.any(1, keepdim=True))
        depression = self._depression(able, complete)
        factors = tanh_law(depression * self.depression_strength).gather(1, rows).squeeze(1)
        return factors.to(losses.device)

    def _depression(self, able: Tensor, complete: Tensor) -> Tensor:
        """Move the counters of the sources that can decide; d of each source, 0 without a decision."""
        acting = able & (self.calls >= self.warm_up)
        means, squares = self._moments()
        weights = inverse_law(self._unreliability(complete)) * complete
        mean, std = others_mean_and_std(weights, means, squares)
        move = decision(means, mean, std, acting, self.leniency, self.compat)
        self._move_counters(move, complete)
        return self._scaled(self._unreliability(complete)) * (move != 0)

    def _move_counters(self, move: Tensor, complete: Tensor) -> None:
        if self.compat == "original":
            move = torch.zeros_like(move).scatter_add_(1, self._positions(complete), move)
        self.counters.add_(move).clamp_(min=0)

    def _unreliability(self, complete: Tensor) -> Tensor:
        if self.compat == "original":
            return self.counters.gather(1, self._positions(complete)) * complete
        return self.counters

    def _positions(self, complete: Tensor) -> Tensor:
        """How many complete sources were first seen before each source, [K, S]."""
        earlier = self.first_seen.unsqueeze(1) < self.first_seen.unsqueeze(2)
        return (earlier & complete.unsqueeze(1)).sum(-1)

    def _scaled(self, unreliability: Tensor) -> Tensor:
        depression = unreliability * self.discrete_amount
        return depression if self.function is None else self.function(depression)

    def _multiplier(self, unreliability: Tensor) -> Tensor:
        return tanh_law(self._scaled(unreliability) * self.depression_strength)

    def _fresh(self, ids: list[int], device: torch.device) -> dict[str, Tensor]:
        state = super()._fresh(ids, device)
        if self.compat == "original":
            state["first_seen"] = torch.full_like(state["updates"], NEVER)
        return state

    def _record(self, values: Tensor, rows: Tensor) -> Tensor:
        present = super()._record(values, rows)
        if self.compat == "original":
            rank = (self.first_seen < NEVER).sum(1, keepdim=True)
            self.first_seen.copy_(torch.where(present & (self.first_seen == NEVER), rank, self.first_seen))
            missing = torch.zeros_like(self.counters).scatter_(1, rows, values) == -1
            for tensor in (self.updates, self.batches):
                tensor.masked_fill_(missing, 0)
        return present


class CustomGradientMultiplier(SourceGradientMultiplier):
    """The gradient form with a rule of the caller's own in place of the decision; it reads histories back."""

    def __init__(self, rule: Callable[[Any, int], float], **settings: Any) -> None:
        """Take the rule, and the settings of the state."""
        super().__init__(**settings)
        self.rule = rule

    def _depression(self, able: Tensor, complete: Tensor) -> Tensor:
        depression = torch.zeros_like(self.counters)
        for replica, row in able.nonzero().tolist():
            rows = complete[replica].nonzero().flatten().tolist()
            histories = np.stack([self._history(replica, other) for other in rows])
            depression[replica, row] = float(self.rule(histories, rows.index(row)))
        return depression

    def _history(self, replica: int, row: int) -> Any:
        """The ring of one source, oldest value first."""
        oldest = int(self.updates[replica, row]) % self.history_length
        return np.roll(self.history[replica, :, row].cpu().numpy(), -oldest)


class SourceGradientWeighting(torch.optim.Optimizer):
    """Wrap an optimiser: scale gradients by the factor of the batch's source (specification, section 3).

    A real optimiser: it shares `param_groups` and `state` with the wrapped one, so schedulers accept it; any
    other attribute is looked up in the wrapped one. Gradients are scaled in all groups, then it steps once.

    Example:
        >>> optimiser = SourceGradientWeighting(torch.optim.Adam, params=model.parameters(), lr=0.001)
        >>> loss.backward()
        >>> optimiser.step(loss, source)  # all samples of the batch come from this source

    Args:
        optimizer: the class of the optimiser to wrap.
        history_length: H, losses kept per source.
        depression_strength: m.
        depression_function: "discrete_ranking_std", the published rule, or a function of the complete
            histories (NumPy, [sources, H], oldest first) and this source's row, which returns the depression.
        depression_function_kwargs: `discrete_amount` 0.005, `leniency` 1.0, `warm_up` 0, `function` None
            of the published rule.
        source_is_bool: the source says whether the batch is corrupt; corrupt batches make no step, the
            others an ordinary one (an oracle).
        device: where the state lives; None: with the losses.
        sources: the ids of all sources. Steps then never wait for the device.
        num_sources: short for the sources 0 ... num_sources - 1.
        compat: "original" steps once per parameter group (Q2) and addresses counters by position (Q3).
        **settings: the wrapped optimiser's own, `params` and `lr` among them.

    Raises:
        ValueError: a setting has no meaning.
    """

    def __init__(
        self,
        optimizer: type[torch.optim.Optimizer],
        history_length: int = 10,
        depression_strength: float = 1.0,
        depression_function: str | Callable[[Any, int], float] = "discrete_ranking_std",
        depression_function_kwargs: Mapping[str, Any] | None = None,
        source_is_bool: bool = False,
        device: Device = None,
        *,
        sources: Iterable[int] | None = None,
        num_sources: int | None = None,
        compat: Compat = None,
        **settings: Any,
    ) -> None:
        """Build the wrapped optimiser; see the class."""
        rule = {"history_length": history_length, "depression_strength": depression_strength}
        self.weighting = gradient_multiplier(
            depression_function,
            dict(depression_function_kwargs or {}),
            {**rule, "device": device, "sources": sources, "num_sources": num_sources, "compat": compat},
        )
        self.optimizer = optimizer(**settings)
        self.source_is_bool = source_is_bool
        super().__init__(self.optimizer.param_groups, self.optimizer.defaults)
        self._share()

    def _share(self) -> None:
        self.param_groups = self.optimizer.param_groups
        self.state = self.optimizer.state

    @torch.no_grad()
    def step(  # type: ignore[override]
        self,
        loss: float | Tensor,
        source: int | Tensor,
        override_dep: bool | None = None,
        writer: Any = None,
        prefix: str | None = None,
        **settings: Any,
    ) -> None:
        """Scale the gradients by the factor of `source`, then step.

        Args:
            loss: of the batch, a number or a 0-d tensor.
            source: id of the batch's only source, a whole number or a tensor of one.
            override_dep: False forbids the factor for this step, True asks for it (also from the oracle); the
                counters move either way.
            writer: a TensorBoard `SummaryWriter`; reading the factor out waits for the device.
            prefix: put before the name of the scalar.
            **settings: handed to the wrapped optimiser's step.

        Raises:
            TypeError: `override_dep` is neither a truth value nor None.
            ValueError: the loss is not a single finite number, or the source is not a single named id.
            RuntimeError: a gradient is sparse.
        """
        if override_dep not in (None, True, False):
            raise TypeError(f"override_dep must be True, False or None, not {override_dep!r}.")
        if self.source_is_bool and bool(source):
            return
        losses, ids = single_loss(loss), single_source(source, self.weighting.ids.device)
        factor = self.weighting.multipliers(losses, ids)[0]
        if override_dep is False or (self.source_is_bool and override_dep is None):
            factor = torch.ones_like(factor)
        if writer is not None:
            self._report(writer, f"{prefix}/" if prefix else "", int(ids), float(factor))
        self._scaled_step(factor, settings)

    def _scaled_step(self, factor: Tensor, settings: Mapping[str, Any]) -> None:
        if self.weighting.compat == "original":
            for group in self.param_groups:
                scale_gradients([group], factor)
                self.optimizer.step(**settings)
        else:
            scale_gradients(self.param_groups, factor)
            self.optimizer.step(**settings)

    def _report(self, writer: Any, prefix: str, source: int, factor: float) -> None:
        count = int(self.weighting.updates[0, self.weighting.sources.index(source)])
        writer.add_scalars(f"{prefix}Actual Depression Value", {str(source): factor}, count)

    def state_dict(self) -> dict[str, Any]:
        """Return the wrapped optimiser's state, and LAP's under `weighting`."""
        return {**self.optimizer.state_dict(), "weighting": self.weighting.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned.

        Raises:
            ValueError: it belongs to other parameter groups or named sources.
        """
        rest = dict(state_dict)
        self.weighting.load_state_dict(rest.pop("weighting"))
        self.optimizer.load_state_dict(rest)
        self._share()

    def __getstate__(self) -> dict[str, Any]:
        """All of it, but not the `step` that a scheduler put in place of ours."""
        return {name: value for name, value in self.__dict__.items() if name != "step"}

    def __getattr__(self, name: str) -> Any:
        """Look up in the wrapped optimiser what is not here."""
        if name in ("optimizer", "weighting"):
            raise AttributeError(name)
        return getattr(self.optimizer, name)


def gradient_multiplier(
    rule: str | Callable[[Any, int], float], options: dict[str, Any], state: dict[str, Any]
) -> SourceGradientMultiplier:
    """Build the state behind the optimiser wrapper."""
    if callable(rule):
        return CustomGradientMultiplier(rule, **state)
    if rule != "discrete_ranking_std":
        raise ValueError(f"depression_function must be 'discrete_ranking_std' or callable, not {rule!r}.")
    known = ("discrete_amount", "leniency", "warm_up", "function")
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ValueError(f"depression_function_kwargs has no {unknown[0]!r}; known: {', '.join(known)}.")
    return SourceGradientMultiplier(**options, **state)


def scale_gradients(groups: Iterable[Mapping[str, Any]], factor: Tensor) -> None:
    """Multiply every gradient of the groups by `factor`, in place."""
    for group in groups:
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            if parameter.grad.is_sparse:
                raise RuntimeError("LAP cannot scale sparse gradients; use dense ones.")
            parameter.grad.mul_(factor)


# ---------------------------------------------------------------------------------------------------------
# Checks of what a caller gives
# ---------------------------------------------------------------------------------------------------------


def single_loss(loss: float | Tensor) -> Tensor:
    """`loss` as [1]; whether it is finite is asked only where that does not wait for a device."""
    value = loss.detach() if isinstance(loss, Tensor) else torch.tensor(float(loss), dtype=torch.float64)
    if value.dim():
        raise ValueError(f"loss must be one number or a 0-d tensor, not of shape {list(value.shape)}.")
    if value.device.type == "cpu" and not math.isfinite(value):
        raise ValueError(f"loss must be finite, not {float(value)}.")
    return value.unsqueeze(0)


def single_source(source: int | Tensor, device: torch.device) -> Tensor:
    """`source` as [1]."""
    ids = source if isinstance(source, Tensor) else torch.tensor(source, device=device)
    if ids.numel() != 1:
        raise ValueError(f"source must be one id, not {ids.numel()}: each batch comes from a single source.")
    return ids.reshape(1)


def named_sources(sources: Iterable[int] | None, num_sources: int | None) -> list[int] | None:
    """The ids named at construction, ascending; None if they are to be looked up."""
    if sources is None:
        return None if num_sources is None else list(range(whole_number("num_sources", num_sources, least=1)))
    if num_sources is not None:
        raise ValueError("sources and num_sources name the same thing; give one of them.")
    ids = sorted(whole_number("sources", source) for source in sources)
    if not ids or len(set(ids)) < len(ids):
        raise ValueError(f"sources must be different ids, at least one, not {ids}.")
    return ids


def whole_number(name: str, value: int, least: int | None = None) -> int:
    """`value` as an int of at least `least`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, not {value!r}.") from None
    if least is not None and number < least:
        raise ValueError(f"{name} must be at least {least}, not {number}.")
    return number


def finite_number(name: str, value: float, least: float = -math.inf) -> float:
    """`value` as a finite float of at least `least`."""
    number = float(value)
    if not math.isfinite(number) or number < least:
        bound = "" if least == -math.inf else f" of at least {least:g}"
        raise ValueError(f"{name} must be a finite number{bound}, not {value!r}.")
    return number
