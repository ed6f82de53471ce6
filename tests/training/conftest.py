"""Small trainings on scikit-learn's digits."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from lapwing.methods import methods
from lapwing.models import models
from lapwing.training.data import Replica, Rows, TestData, TrainingData
from lapwing.training.engine import DTYPES, Training
from lapwing.training.layers import Dropout
from lapwing.training.settings import TrainingSettings

torch.set_num_threads(1)

SEEDS = [3, 14, 15, 92, 65]
SAMPLES, BLOCK, SOURCES = 330, 20, 5


def norm_network() -> nn.Module:
    """Convolution, batch norm and dropout; no bias in front of the norm, where it has no true gradient."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        Dropout(0.25),
        nn.Flatten(),
        nn.Linear(36, 10),
    )


def replica(seed: int) -> Replica:
    """Digits of a seed: five sources in blocks, two of them with random labels."""
    draw = np.random.default_rng(seed)
    index = draw.permutation(1000)[:SAMPLES]
    source = np.arange(SAMPLES) // BLOCK % SOURCES
    corrupt = np.isin(np.arange(SOURCES), draw.choice(SOURCES, 2, replace=False))
    targets = load_digits().target[index].astype(np.int64)
    targets[corrupt[source]] = draw.integers(0, 10, corrupt[source].sum())
    return Replica(seed, index, targets, source, corrupt)


def settings_of(method: str = "standard", options: dict | None = None, **changes) -> TrainingSettings:
    """Settings of a short training."""
    kind = methods.get(method)
    conditions = {
        "model": {"name": "mlp", "version": 1, "options": {}},
        "method": {"name": method, "version": kind.version, "options": options or {}},
        "layout": "mixed",
        "batch_size": BLOCK,
        "epochs": 3,
        "optimiser": {"learning_rate": 0.01},
        "precision": "float64",
    }
    return TrainingSettings.model_validate({**conditions, **changes})


def digits_rows() -> Rows:
    """All digits as uint8 images."""
    return Rows(load_digits().images[:, None].astype(np.uint8), 1 / 16)


Make = Callable[..., tuple[Training, TestData]]


@pytest.fixture
def make() -> Make:
    """A function that makes a training and its test data."""

    def make(
        seeds: Sequence[int],
        *,
        method: str | type = "standard",
        options: dict | None = None,
        network: str = "mlp",
        backend: str = "loop",
        meta: bool = False,
        **changes,
    ) -> tuple[Training, TestData]:
        settings = settings_of(method if isinstance(method, str) else "standard", options, **changes)
        kind = methods.get(method) if isinstance(method, str) else method
        rows, dtype = digits_rows(), DTYPES[settings.precision]
        data = TrainingData(rows, [replica(seed) for seed in seeds], layout=settings.layout, dtype=dtype)
        digits = load_digits()
        last = np.arange(1400, 1500)
        test = TestData(Rows(rows.inputs[last], rows.scale), [digits.target[last]], dtype=dtype)
        clean = [Replica(seed, np.arange(1000, 1100), digits.target[1000:1100]) for seed in seeds]
        built = models.get(network) if network != "norm" else None
        training = Training(
            settings,
            kind(kind.Hyperparameters.model_validate(options or {})),
            norm_network if built is None else lambda: built.build(built.Options(), rows.shape, 10),
            seeds,
            data,
            classes=10,
            backend=backend,
            meta=TrainingData(rows, clean, layout="mixed", dtype=dtype) if meta else None,
        )
        return training, test

    return make


def difference(one: Training, row: int, other: Training, other_row: int) -> float:
    """The largest difference in anything that a seed owns."""
    ours, theirs = one.state(), other.state()
    assert ours.keys() == theirs.keys()
    return max(float((ours[n][row].double() - theirs[n][other_row].double()).abs().max()) for n in ours)


def run(training: Training, test: TestData, epochs: int = 2) -> list[dict[str, torch.Tensor]]:
    """Train some epochs."""
    return [training.train_epoch(test) for _ in range(epochs)]
