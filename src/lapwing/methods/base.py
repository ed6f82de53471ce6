"""The contract between a method and the trainer.

Every tensor of training carries a leading replica axis K: inputs [K, B, …], losses and weights
[K, B], objectives [K]. The trainer backpropagates the sum of the objectives; replicas are disjoint,
so each gets exactly the gradient that it would get alone. A step is, in this order: `forward`,
`sample_losses`, `objectives` (which calls `weights`), backward, `edit_gradients`, the optimisers,
`after_step`. Most methods override one hook:

| method | how it fits |
|---|---|
| standard | overrides nothing |
| LAP, both forms | `weights`: the multiplier of each sample's source; needs sources |
| ARFL | `run_epoch`: a round of local training per source and a weighted mean of parameters |
| IDPA | `on_epoch_start` (a full pass at the switch), `objectives` against soft targets, `after_step` |
| Co-teaching, co-PRL-L, co-PRL-G | `networks = 2`, `objectives`: each network learns what the other keeps |
| CDR | `edit_gradients`: zero where parameter × gradient is small |
| NLS | `sample_losses`: cross-entropy with label smoothing |
| RRL | `forward` returns logits and embedding, `on_epoch_start` a full pass, `objectives`; needs two views |
| L2RW | `weights` from a look-ahead on clean samples, reduction `sum`; needs a meta set |
| PRL-L, PRL-G | `weights`: 0 or 1, reduction `weight_sum` |
| IV, BIV | `weights`: inverse noise variance, reduction `batch` or `weight_sum`; needs noise variances |

What a method needs is compared with what a cell has (`offered`). No study offers clean samples, noise
variances or second views yet: no key of a study asks for them, so a method that needs them is refused.
`Training.meta_batch` and `Batch.noise_variance` serve artefacts that hold `meta_index` and `noise_variance`.

Importing a method imports no torch: a study is checked without it.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

from lapwing.errors import UserError
from lapwing.schema import Closed, validate

if TYPE_CHECKING:
    from torch import Tensor

    from lapwing.training.data import Replica
    from lapwing.training.distributed import Shard
    from lapwing.training.engine import Training
    from lapwing.training.settings import TrainingSettings
    from lapwing.training.stack import Stack

Reduction = Literal["batch", "weight_sum", "sum"]


class Need(enum.Enum):
    """What a method can ask of data, model and batch layout; the value completes "it needs …"."""

    SOURCES = "at least two sources"
    META_SET = "a set of clean samples"
    NOISE_VARIANCE = "the noise variance of each sample"
    SAMPLE_INDEX = "the position of each sample"
    TWO_VIEWS = "two views of each sample"
    SINGLE_SOURCE_BATCHES = (
        "batches of a single source: layout blocks, sources assigned in blocks, "
        "and a block size that is a multiple of the batch size"
    )
    DISTINCT_SAMPLES = "batches in which no sample stands twice: layout blocks or mixed"
    NO_BATCH_NORM = "a model without batch norm"
    CLASSIFICATION = "a classification task"
    REGRESSION = "a regression task"


@dataclass(frozen=True)
class Batch:
    """B samples for each of K replicas. Whether a sample is truly clean is not among what a method sees."""

    inputs: Tensor
    """[K, B, …]"""
    targets: Tensor
    """[K, B] classes or numbers."""
    index: Tensor
    """[K, B] positions in the training set."""
    source: Tensor | None = None
    """[K, B] source ids."""
    noise_variance: Tensor | None = None
    """[K, B]"""
    views: tuple[Tensor, ...] = ()
    """Further augmented inputs, [K, B, …] each."""
    shard: Shard | None = None
    """Which of a whole batch these samples are, where several processes share it."""


class Term(NamedTuple):
    """What one network minimises in one step."""

    value: Tensor
    """[K]"""
    active: Tensor | None = None
    """[K] bool; False: this replica sits the step out. None: all take it."""


class Diagnostics(NamedTuple):
    """What a method thinks of each source."""

    unreliability: Tensor
    """[K, S]"""
    multiplier: Tensor
    """[K, S]"""


class HasTask(Protocol):
    """A dataset, as far as a method asks."""

    @property
    def task(self) -> str:
        """`classification` or `regression`."""
        ...


class NoHyperparameters(Closed):
    """A method without hyperparameters."""


class Method:
    """One method. An object belongs to one stack of K replicas; `setup` allocates what it keeps.

    Attributes:
        title: its name in the published tables.
        version: raised when its numbers change.
        needs: what it asks for, whatever its hyperparameters.
        Hyperparameters: their closed class, the only source of defaults.
        networks: how many networks it trains.
        stacks: whether replicas may train together.
        reduction: how weighted losses become an objective, see `reduce`.
        state_names: attributes that outlive a step, tensors [K, …]: saved, resumed and sliced by the trainer.
    """

    title: ClassVar[str]
    version: ClassVar[int]
    needs: ClassVar[frozenset[Need]] = frozenset()
    Hyperparameters: ClassVar[type[Closed]] = NoHyperparameters
    networks: ClassVar[int] = 1
    stacks: ClassVar[bool] = True
    reduction: Reduction = "batch"
    state_names: tuple[str, ...] = ()

    def __init__(self, hyperparameters: Any = None) -> None:
        self.hyperparameters = self.Hyperparameters() if hyperparameters is None else hyperparameters

    # -- before anything runs -------------------------------------------------------------------------

    @classmethod
    def needs_of(cls, hyperparameters: Any) -> frozenset[Need]:
        """What the method needs with these hyperparameters."""
        return cls.needs

    @classmethod
    def check(cls, hyperparameters: Any, settings: TrainingSettings, dataset: HasTask, where: str) -> None:
        """Compare what the method needs with data, model and layout; imports no torch.

        Raises:
            UserError: names the method and the need that is not met.
        """
        unmet = cls.needs_of(hyperparameters) - offered(settings, dataset)
        if unmet:
            need = min(unmet, key=lambda need: need.name)
            raise UserError(f"{where}: method {settings.method.name} needs {need.value}.")

    @classmethod
    def shardable(cls, hyperparameters: Any) -> bool:
        """Whether processes may take a shard of each batch and average their gradients.

        They may where the objective is the mean over the batch of what each sample gives by itself, in every
        step, and where no state is made from anything that a process sees of its own shard alone.
        """
        return False

    @classmethod
    def alike(cls, replica: Replica) -> Hashable:
        """Seeds whose values are equal may train together; batches must be rectangular."""
        return len(replica.index)

    # -- once per training ------------------------------------------------------------------------------

    def setup(self, training: Training) -> None:
        """Allocate state for `training.replicas` replicas on `training.device`."""

    def state(self) -> Mapping[str, Tensor]:
        """Everything that outlives a step, by name, [K, …] each; a resumed run copies into these tensors."""
        return {name: getattr(self, name) for name in self.state_names}

    # -- a step, in order ---------------------------------------------------------------------------------

    def forward(self, training: Training, network: Stack, batch: Batch) -> Any:
        """Outputs of one network, [K, B, C]; called exactly once per network and step."""
        return network(batch.inputs)

    def sample_losses(self, training: Training, outputs: Any, batch: Batch) -> Tensor:
        """Losses [K, B] of one network."""
        return training.sample_losses(outputs, batch.targets)

    def weights(self, training: Training, batch: Batch, outputs: Any, losses: Tensor) -> Tensor | None:
        """Weights [K, B] ≥ 0 of the samples, None for all one. Outputs and losses are detached.

        Called once per step, so it may update state.
        """
        return None

    def objectives(
        self, training: Training, batch: Batch, outputs: Sequence[Any], losses: Sequence[Tensor]
    ) -> list[Term]:
        """What each network minimises, from outputs and losses of all of them."""
        from torch.utils._pytree import tree_map

        detached = tree_map(lambda tensor: tensor.detach(), outputs[0])
        weights = self.weights(training, batch, detached, losses[0].detach())
        return [reduce(losses[0], weights, self.reduction)]

    def edit_gradients(self, training: Training, batch: Batch, network: Stack, losses: Tensor) -> None:
        """Change the gradients [K, …] of `network.parameters` in place."""

    def after_step(
        self, training: Training, batch: Batch, outputs: Sequence[Any], losses: Sequence[Tensor]
    ) -> None:
        """Look at what was just learnt."""

    # -- what the trainer measures --------------------------------------------------------------------------

    def predictions(self, outputs: Any) -> Tensor:
        """The part of the outputs that is compared with the targets, [K, B, C]."""
        found: Tensor = outputs
        return found

    def predict(self, training: Training, inputs: Tensor) -> Any:
        """Outputs of the trained model for inputs [K, B, …], in evaluation."""
        return training.networks[0](inputs)

    # -- around an epoch ------------------------------------------------------------------------------------

    def on_epoch_start(self, training: Training) -> None:
        """Before the first step of epoch `training.epoch` (0-based)."""

    def run_epoch(self, training: Training) -> None:
        """One pass over the data; federated methods replace it."""
        for batch in training.batches():
            training.step(batch)

    def on_epoch_end(self, training: Training) -> None:
        """After the last step of an epoch, before the test."""

    def source_diagnostics(self) -> Diagnostics | None:
        """Unreliability and multiplier of each source at the end of an epoch; None where there are none."""
        return None


def reduce(losses: Tensor, weights: Tensor | None, reduction: Reduction) -> Term:
    """Weighted losses [K, B] as an objective [K].

    `batch` divides by B, `weight_sum` by the sum of the weights, `sum` not at all. With the last
    two a replica whose weights are all zero sits the step out.
    """
    if reduction == "batch":
        return Term((losses if weights is None else losses * weights).mean(1))
    if weights is None:
        return Term(losses.mean(1) if reduction == "weight_sum" else losses.sum(1))
    total, norm = (weights * losses).sum(1), weights.sum(1)
    if reduction == "sum":
        return Term(total, norm > 0)
    return Term(total / norm.where(norm > 0, 1.0), norm > 0)


def check_processes(settings: TrainingSettings, processes: int, where: str) -> None:
    """Compare a cell's method with how many processes shall train one run; imports no torch.

    Raises:
        UserError: there are several, and they cannot share its batches.
    """
    from lapwing.methods import methods

    kind: type[Method] = methods.get(settings.method.name)
    chosen = validate(kind.Hyperparameters, settings.method.options, f"{where}: options of {kind.title}")
    if processes > 1 and not kind.shardable(chosen):
        raise UserError(
            f"{where}: method {settings.method.name} cannot train one run on {processes} GPUs, because what "
            "it does with a sample depends on others; set gpu to 1, or select other methods by only."
        )


def offered(settings: TrainingSettings, dataset: HasTask) -> frozenset[Need]:
    """Which needs data, model and layout of a cell meet."""
    from lapwing.models import models

    met = {Need.SAMPLE_INDEX, Need.CLASSIFICATION if dataset.task == "classification" else Need.REGRESSION}
    met |= {Need.DISTINCT_SAMPLES} if settings.layout != "balanced" else set()
    corruption = getattr(settings, "corruption", None)
    if corruption is not None:
        sources = corruption.sources
        whole_blocks = sources.assignment == "blocks" and sources.size % settings.batch_size == 0
        met |= {Need.SOURCES} if sources.number >= 2 else set()
        met |= {Need.SINGLE_SOURCE_BATCHES} if settings.layout == "blocks" and whole_blocks else set()
    if not models.get(settings.model.name).batch_norm:
        met.add(Need.NO_BATCH_NORM)
    return frozenset(met)
