"""The result of a seed does not depend on its company, on the backend, or on what happens to others."""

import pytest
import torch

from lapwing.methods import methods
from tests.training.conftest import SEEDS, difference, run

ADAM = {"name": "adam", "learning_rate": 0.01}
SGD = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 1e-4}
LAP_LOSS = {
    "form": "loss",
    "history_length": 3,
    "warmup_iters": 0,
    "depression_strength": 30.0,
    "leniency": 0.1,
}
LAP_GRADIENT = {"form": "gradient", "history_length": 3, "depression_strength": 30.0, "leniency": 0.1}
METHODS = {
    "standard": {"method": "standard"},
    "lap loss": {"method": "lap", "options": LAP_LOSS},
    "lap gradient": {"method": "lap", "options": LAP_GRADIENT, "layout": "blocks"},
    "coteaching": {"method": "coteaching", "options": {"ramp_epochs": 2, "forget_rate": 0.4}},
    "idpa": {"method": "idpa", "options": {"warmup_epochs": 0}},
}
METHODS |= {name: {"method": name} for name in methods.names() if name not in {*METHODS, "lap"}}


@pytest.mark.parametrize("optimiser", [ADAM, SGD], ids=["adam", "sgd"])
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
@pytest.mark.parametrize(
    ("network", "backend"),
    [
        ("mlp", "native"),
        ("mlp", "vmap"),
        ("mlp", "loop"),
        ("norm", "vmap"),
        ("norm", "loop"),
        ("conv3net", "vmap"),
    ],
)
def test_a_seed_trains_the_same_alone_and_with_four_others(make, network, backend, method, optimiser):
    together, test = make(SEEDS, network=network, backend=backend, optimiser=optimiser, **method)
    measured = run(together, test)
    for row in (0, 3):
        alone, test = make([SEEDS[row]], network=network, optimiser=optimiser, **method)
        expected = run(alone, test)
        assert difference(together, row, alone, 0) <= 1e-10
        for ours, theirs in zip(measured, expected, strict=True):
            for name in ours:
                torch.testing.assert_close(ours[name][row], theirs[name][0], rtol=0, atol=1e-10)


def test_dropout_and_batch_norm_are_at_work_in_these_trainings(make):
    training, test = make(SEEDS[:1], network="norm")
    run(training, test, 1)
    assert training.networks[0].calls == training.steps == 17
    assert float(training.networks[0].buffers["1.running_var"].sub(1).abs().max()) > 0.01


def test_lap_moves_its_counters_in_these_trainings(make):
    for method in ("lap loss", "lap gradient"):
        training, test = make(SEEDS[:2], **METHODS[method])
        measured = run(training, test)
        assert float(measured[-1]["source/unreliability"].max()) >= 2
        assert float(measured[-1]["source/multiplier"].min()) < 0.99


def test_seeds_differ_from_each_other(make):
    training, test = make(SEEDS, backend="native")
    losses = run(training, test, 1)[0]["train/loss"]
    assert len(set(losses.tolist())) == len(SEEDS)


@pytest.mark.parametrize("backend", ["native", "vmap", "loop"])
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_a_replica_that_diverges_leaves_the_others_bit_equal(make, backend, method):
    undisturbed, test = make(SEEDS, backend=backend, **method)
    expected = run(undisturbed, test, 3)
    disturbed, test = make(SEEDS, backend=backend, **method)
    run(disturbed, test, 1)
    with torch.no_grad():
        for parameter in disturbed.networks[0].parameters.values():
            parameter[1] = float("nan")
    measured = run(disturbed, test, 2)
    assert disturbed.diverged == [None, (2, 1), None, None, None]
    for row in (0, 2, 3, 4):
        assert difference(undisturbed, row, disturbed, row) == 0
        assert all(torch.equal(measured[-1][n][row], expected[-1][n][row]) for n in measured[-1])


def test_a_replica_that_diverged_stands_still(make):
    training, test = make(SEEDS[:2], backend="native")
    run(training, test, 1)
    training.alive[1] = False
    training._all_alive = False
    before = {
        name: t[1].clone()
        for name, t in training.state().items()
        if "/parameter/" in name or "exp_avg" in name
    }
    run(training, test, 1)
    after = training.state()
    assert all(torch.equal(after[name][1], value) for name, value in before.items())
