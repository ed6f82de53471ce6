"""What decides the numbers of a run, or what is recorded of it; no torch is imported here."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from lapwing.corruption.base import CorruptionSettings
from lapwing.errors import UserError
from lapwing.methods import methods
from lapwing.models import models
from lapwing.schema import Closed, Name, validate

ENGINE_VERSION = 2
"""Raised when the engine itself gives other numbers: every run is then trained anew."""

Layout = Literal["blocks", "mixed", "balanced"]
"""`blocks`: every batch is one block of one source, in the same order in every epoch;
`mixed`: the samples are shuffled anew in every epoch;
`balanced`: every epoch draws as many samples as there are, with replacement, each source equally often."""

Augmentation = Literal["none", "horizontal_flip"]
"""What is done to the inputs of training batches, drawn anew for each sample in every epoch."""

TrainOn = Literal["all_sources", "clean_sources"]
"""`clean_sources`: those of corrupt sources are left out of training, which nobody could do who does not know
them: an upper bound."""

Task = Literal["classification", "regression"]
Precision = Literal["float32", "float64", "tf32", "bf16"]
"""`float32` is the reference. `tf32`: an accelerator rounds what it multiplies to 10 bits; `bf16`: networks
run in bfloat16 where torch holds that harmless. Both keep parameters and losses in float32."""

Device = Literal["auto", "cpu", "cuda"]
"""`auto`: a GPU where PyTorch sees one, else the CPU."""


def check_augmentation(augmentation: Augmentation, input_shape: Sequence[int], whose: str) -> None:
    """Refuse inputs of a shape that cannot be augmented so.

    Args:
        augmentation: what is done to them.
        input_shape: of one of them.
        whose: they are, for the sentence.

    Raises:
        UserError: they are no images.
    """
    if augmentation == "horizontal_flip" and len(input_shape) != 3:
        raise UserError(
            f"augmentation: horizontal_flip needs images (channels, height, width), and {whose} have the "
            f"shape {tuple(input_shape)}."
        )


class Optimiser(Closed):
    """The optimiser and its arguments; only those of the named one may differ from the defaults."""

    name: Literal["adam", "sgd"] = "adam"
    learning_rate: float = Field(0.001, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    momentum: float = Field(0.0, ge=0, lt=1)
    """SGD only."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam only."""

    @model_validator(mode="after")
    def _only_its_own_arguments(self) -> "Optimiser":
        if self.name == "adam" and self.momentum:
            raise ValueError("momentum belongs to sgd, the optimiser is adam")
        if self.name == "sgd" and self.betas != (0.9, 0.999):
            raise ValueError("betas belong to adam, the optimiser is sgd")
        return self


class Schedule(Closed):
    """How the learning rate changes from epoch to epoch."""

    name: Literal["constant", "cosine", "step", "linear"] = "constant"
    minimum: float = Field(0.0, ge=0)
    """Cosine: the learning rate at the end."""
    every: int = Field(30, ge=1)
    """Step: epochs between two changes."""
    factor: float = Field(0.1, gt=0)
    """Step: what the learning rate is multiplied by."""
    start: int = Field(0, ge=0)
    """Linear: the epoch (0-based) from which the learning rate falls in equal steps, to 0 at the end."""
    late_beta: float | None = Field(None, ge=0, lt=1)
    """Linear: Adam's first beta from `start` on; none: it stays."""

    @model_validator(mode="after")
    def _only_its_own_arguments(self) -> "Schedule":
        owners = {
            "minimum": "cosine",
            "every": "step",
            "factor": "step",
            "start": "linear",
            "late_beta": "linear",
        }
        for argument, owner in owners.items():
            default = type(self).model_fields[argument].default
            if self.name != owner and getattr(self, argument) != default:
                raise ValueError(f"{argument} belongs to {owner}, the schedule is {self.name}")
        return self


class Versioned(Closed):
    """A model or method: its key, the version of its numbers, its options."""

    name: Name
    version: int
    options: dict[str, Any]

    def whole(self, options: type[Closed]) -> "Versioned":
        """With the options that were left out, so that equal settings have equal keys."""
        filled = validate(options, self.options, f"options of {self.name}")
        return self.model_copy(update={"options": filled.model_dump(mode="json")})


class TrainingSettings(Closed):
    """How something is trained, whatever the data are."""

    model: Versioned
    method: Versioned
    layout: Layout
    batch_size: int = Field(ge=1)
    epochs: int = Field(ge=1)
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    precision: Precision = "float32"
    augmentation: Augmentation = Field("none", exclude_if=lambda value: value == "none")
    """Absent from dumps where there is none: runs from before it was thought of keep their keys."""
    record_every: int = Field(0, ge=0)
    """Steps between two records of what the method thinks of each source; 0: at the ends of epochs only."""
    engine: int = ENGINE_VERSION

    @field_validator("model")
    @classmethod
    def _whole_model(cls, model: Versioned) -> Versioned:
        return model.whole(models.get(model.name).Options)

    @field_validator("method")
    @classmethod
    def _whole_method(cls, method: Versioned) -> Versioned:
        return method.whole(methods.get(method.name).Hyperparameters)


class RunSettings(TrainingSettings):
    """A cell: all that decides the numbers of its runs, the seed aside.

    `finished.run_key` names its finished runs.
    """

    corruption: CorruptionSettings
    """Data set, split, sources and what is corrupted."""
    train_on: TrainOn = "all_sources"

    @property
    def training(self) -> TrainingSettings:
        """What a method may see of it: nothing about corruption."""
        return TrainingSettings(**{name: getattr(self, name) for name in TrainingSettings.model_fields})
