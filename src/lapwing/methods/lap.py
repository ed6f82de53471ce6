"""LAP: sources whose losses stay above those of the others fade out. The algorithm is `lapwing.weighting`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from lapwing.errors import UserError
from lapwing.methods.base import Batch, Diagnostics, Method, Need
from lapwing.schema import Closed

if TYPE_CHECKING:
    from torch import Tensor

    from lapwing.training.engine import Training
    from lapwing.weighting import SourceGradientMultiplier, SourceLossWeighting

PUBLISHED = {
    "loss": {"history_length": 50, "warmup_iters": 100},
    "gradient": {"history_length": 10, "warmup_iters": 0},
}
"""Defaults in which the two published forms differ (spec lap-core 2.1 and 3.1)."""


class LapHyperparameters(Closed):
    """LAP's hyperparameters, under the names of the published API."""

    form: Literal["loss", "gradient"] = "loss"
    """`loss` weighs each sample; `gradient` weighs a whole batch, which must come from one source."""
    history_length: int = Field(50, ge=1)
    """Batch losses that are kept per source; 10 by default in the gradient form."""
    warmup_iters: int = Field(100, ge=0)
    """Steps before anything is counted; 0 by default in the gradient form."""
    depression_strength: float = Field(1.0, ge=0)
    """How strongly unreliability lowers the multiplier; 0 is standard training."""
    discrete_amount: float = Field(0.005, ge=0)
    """What one count of unreliability weighs."""
    leniency: float = 1.0
    """Standard deviations by which a source may lie above the others before it counts as unreliable."""
    compat: Literal["original"] | None = None
    """`original`: the reference implementation in every quirk."""

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_form(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {**PUBLISHED.get(str(values.get("form", "loss")), {}), **values}


class Lap(Method):
    """Multiply losses by 1 − tanh²(discrete_amount · depression_strength · unreliability) of their source.

    In the gradient form all samples of a batch have one source and so one factor; to multiply the mean
    loss by it is to multiply every gradient by it (spec lap-core 3.4), and costs less.
    """

    title = "LAP"
    version = 1
    needs = frozenset({Need.SOURCES})
    Hyperparameters = LapHyperparameters
    hyperparameters: LapHyperparameters
    weighting: SourceLossWeighting | SourceGradientMultiplier

    @classmethod
    def needs_of(cls, hyperparameters: LapHyperparameters) -> frozenset[Need]:
        """The gradient form also needs batches of a single source."""
        single = {Need.SINGLE_SOURCE_BATCHES} if hyperparameters.form == "gradient" else set()
        return cls.needs | single

    @classmethod
    def shardable(cls, hyperparameters: LapHyperparameters) -> bool:
        """In the loss form, whose sums and counts of each source add up."""
        return hyperparameters.form == "loss"

    def setup(self, training: Training) -> None:
        """Make the counters of K replicas and S sources.

        Raises:
            UserError: the data have no sources, or a batch has several where the form allows one.
        """
        from lapwing.weighting import SourceGradientMultiplier, SourceLossWeighting

        if training.sources < 2:
            raise UserError(f"method lap needs {Need.SOURCES.value} (there are {training.sources}).")
        self._by_batch = self.hyperparameters.form == "gradient"
        if self._by_batch and not training.data.single_source_batches(training.settings.batch_size):
            raise UserError(f"method lap in its gradient form needs {Need.SINGLE_SOURCE_BATCHES.value}.")
        options = self.hyperparameters.model_dump(exclude={"form"})
        options |= {"num_sources": training.sources, "replicas": training.replicas, "device": training.device}
        if self._by_batch:
            options["warm_up"] = options.pop("warmup_iters")
            self.weighting = SourceGradientMultiplier(**options)
        else:
            processes = training.processes
            total = None if processes.alone else processes.sum
            self.weighting = SourceLossWeighting(**options, sum_over_processes=total)

    def state(self) -> Mapping[str, Tensor]:
        """Histories and counters."""
        return self.weighting.replica_state()

    def weights(self, training: Training, batch: Batch, outputs: Any, losses: Tensor) -> Tensor:
        """The multiplier of each sample's source, [K, B]; counts this batch."""
        source = training.source_of(batch)
        if self._by_batch:
            return self.weighting.multipliers(losses.mean(1), source[:, 0]).to(losses.dtype).unsqueeze(1)
        return self.weighting.multipliers(losses, source)

    def source_diagnostics(self) -> Diagnostics:
        """Counter and multiplier of each source, [K, S]."""
        return Diagnostics(self.weighting.unreliability, self.weighting.multiplier)


METHOD = Lap
