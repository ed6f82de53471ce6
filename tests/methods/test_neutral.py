"""Methods at the setting at which they change nothing follow standard training, step by step.

This is the best single test of the trainer (spec other-methods 9.2): float64, 34 steps, relative 1e-9.
"""

import dataclasses

import numpy as np
import pytest
import torch

from tests.training import conftest
from tests.training.conftest import SEEDS, run

LAP = {"history_length": 3, "warmup_iters": 0, "depression_strength": 0.0, "leniency": 0.1}
NEUTRAL = {
    "lap loss": ("lap", {"form": "loss", **LAP}),
    "lap gradient": ("lap", {"form": "gradient", **LAP}),
    "nls": ("nls", {"rate": 0.0}),
    "cdr": ("cdr", {"noise_rate": 0.0}),
    "coteaching": ("coteaching", {"forget_rate": 0.0}),
    "idpa in its first phase": ("idpa", {"warmup_epochs": 99}),
}
OPTIMISERS = {
    "adam": {"name": "adam", "learning_rate": 0.01},
    "sgd": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 1e-4},
}


def trajectory(training, epochs=2):
    """The parameters of the first network after each step."""
    found = []
    for _ in range(epochs):
        training.method.on_epoch_start(training)
        for batch in training.batches():
            training.step(batch)
            network = training.networks[0]
            found.append({name: p.detach().clone() for name, p in network.parameters.items()})
        training.epoch += 1
    return found


def assert_same(ours, theirs):
    assert len(ours) == len(theirs) >= 20
    for one, other in zip(ours, theirs, strict=True):
        for name in other:
            torch.testing.assert_close(one[name], other[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimiser", OPTIMISERS.values(), ids=OPTIMISERS.keys())
@pytest.mark.parametrize(("network", "backend"), [("mlp", "native"), ("norm", "vmap")])
@pytest.mark.parametrize(("method", "options"), NEUTRAL.values(), ids=NEUTRAL.keys())
def test_a_neutral_setting_is_standard_training(make, method, options, network, backend, optimiser):
    conditions = {"network": network, "backend": backend, "layout": "blocks", "optimiser": optimiser}
    training, _ = make(SEEDS[:3], method=method, options=options, **conditions)
    standard, _ = make(SEEDS[:3], **conditions)
    assert_same(trajectory(training), trajectory(standard))


def of_one_source(seed):
    """All samples belong to the first of two sources."""
    decided = make_replica(seed)
    return dataclasses.replace(decided, source=np.zeros_like(decided.source))


make_replica = conftest.replica


@pytest.mark.parametrize(("network", "backend"), [("mlp", "native"), ("norm", "vmap")])
def test_arfl_with_one_client_is_standard_training(make, monkeypatch, network, backend):
    """Without momentum: a round begins with a fresh optimiser. In `blocks` the client keeps the order."""
    monkeypatch.setattr(conftest, "replica", of_one_source)
    conditions = {"optimiser": {"name": "sgd", "learning_rate": 0.1}, "layout": "blocks"}
    conditions |= {"network": network, "backend": backend}
    training, test = make(SEEDS[:3], method="arfl", **conditions)
    standard, _ = make(SEEDS[:3], **conditions)
    for _ in range(2):
        run(training, test, 1)
        run(standard, test, 1)
        assert training.steps == standard.steps
        ours, theirs = training.state(), standard.state()
        for name in theirs:
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-9, atol=1e-12)
