"""ARFL: the weights of the clients, and a round against one that is made by hand of standard training."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lapwing.errors import UserError
from lapwing.methods import methods
from lapwing.methods.arfl import client_weights
from tests.methods.conftest import quick
from tests.training import conftest
from tests.training.conftest import SAMPLES, SEEDS, SOURCES, run

SIZES = st.lists(st.integers(1, 500), min_size=2, max_size=9)
CLIENTS = SIZES.flatmap(
    lambda sizes: st.tuples(
        st.just(sizes), st.lists(st.floats(0, 20), min_size=len(sizes), max_size=len(sizes))
    )
)


def weights_of(sizes, losses, factor=1.0):
    """Weights of one replica's clients."""
    sizes = torch.tensor(sizes, dtype=torch.float64)
    losses = torch.tensor([losses], dtype=torch.float64)
    return client_weights(losses, sizes, factor * float(sizes.sum()))[0]


# -- the closed form ---------------------------------------------------------------------------------


@quick
@given(CLIENTS, st.floats(0.01, 100))
def test_weights_are_not_negative_and_sum_to_one(clients, factor):
    weights = weights_of(*clients, factor)
    assert (weights >= 0).all()
    assert float(weights.sum()) == pytest.approx(1)


@quick
@given(CLIENTS, st.floats(0.01, 100))
def test_clients_fill_up_to_one_level(clients, factor):
    """The level at which size · (level − loss) of all clients below it sums to the resistance."""
    sizes, losses = (np.array(values, dtype=float) for values in clients)
    resistance = factor * sizes.sum()
    low, high = losses.min(), losses.max() + factor * sizes.sum()
    for _ in range(200):
        level = (low + high) / 2
        full = (sizes * np.clip(level - losses, 0, None)).sum() > resistance
        low, high = (low, level) if full else (level, high)
    expected = sizes * np.clip(level - losses, 0, None) / resistance
    np.testing.assert_allclose(weights_of(*clients, factor), expected, rtol=1e-6, atol=1e-9)


@quick
@given(SIZES, st.floats(0, 20))
def test_clients_with_equal_losses_weigh_as_much_as_they_have_samples(sizes, loss):
    expected = torch.tensor(sizes, dtype=torch.float64) / sum(sizes)
    torch.testing.assert_close(weights_of(sizes, [loss] * len(sizes)), expected)


@quick
@given(CLIENTS)
def test_of_two_clients_the_one_with_the_larger_loss_weighs_less_per_sample(clients):
    per_sample = weights_of(*clients) / torch.tensor(clients[0])
    order = np.argsort(clients[1])
    assert (np.diff(per_sample.numpy()[order]) <= 1e-12).all()


@quick
@given(CLIENTS)
def test_with_strong_resistance_weights_follow_sizes(clients):
    sizes, losses = clients
    expected = torch.tensor(sizes, dtype=torch.float64) / sum(sizes)
    torch.testing.assert_close(weights_of(sizes, losses, 1e9), expected, rtol=0, atol=1e-6)


def test_a_client_far_above_the_others_gets_no_weight():
    assert weights_of([100, 100, 100], [0.5, 0.5, 9.0]).tolist() == [0.5, 0.5, 0.0]


def test_replicas_are_weighed_apart():
    sizes = torch.tensor([10.0, 30.0, 20.0], dtype=torch.float64)
    losses = torch.tensor([[0.1, 2.0, 7.0], [5.0, 0.3, 0.2]], dtype=torch.float64)
    together = client_weights(losses, sizes, 60.0)
    for row in range(2):
        assert torch.equal(together[row], client_weights(losses[row : row + 1], sizes, 60.0)[0])


# -- a round -----------------------------------------------------------------------------------------


def floating(training):
    """Parameters and floating buffers of the network."""
    network = training.networks[0]
    tensors = {**network.parameters, **network.buffers}
    return {name: t.detach() for name, t in tensors.items() if t.is_floating_point()}


def members_of(training, client):
    rows = [np.flatnonzero(row == client) for row in training.data.source.numpy()]
    return torch.from_numpy(np.stack(rows))


def round_by_hand(plain, weights):
    """One round of a standard training: each client from the same start, then the weighted mean."""
    start = {name: t.clone() for name, t in floating(plain).items()}
    mean = {name: torch.zeros_like(t) for name, t in start.items()}
    for client in range(SOURCES):
        for name, tensor in floating(plain).items():
            tensor.copy_(start[name])
        plain.optimisers[0].restart()
        for batch in plain.batches(members_of(plain, client)):
            plain.step(batch)
        for name, tensor in floating(plain).items():
            shape = [-1] + [1] * (tensor.ndim - 1)
            mean[name] += weights[:, client].view(shape) / weights.sum(1).view(shape) * tensor
    for name, tensor in floating(plain).items():
        tensor.copy_(mean[name])


def losses_by_hand(plain):
    """Mean loss [K, S] of the network on each client, in evaluation."""
    losses = torch.cat(
        [plain.sample_losses(outputs, batch.targets) for batch, outputs in plain.full_pass()], 1
    )
    means = [losses.gather(1, members_of(plain, client)).mean(1) for client in range(SOURCES)]
    return torch.stack(means, 1)


@pytest.mark.parametrize(
    "optimiser", [{"learning_rate": 0.01}, {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9}]
)
def test_rounds_are_local_trainings_and_weighted_means(make, optimiser):
    conditions = {"network": "norm", "backend": "vmap", "layout": "blocks", "optimiser": optimiser}
    training, test = make(SEEDS[:2], method="arfl", options={"regularisation": 0.02}, **conditions)
    plain, _ = make(SEEDS[:2], **conditions)
    weights = torch.stack([torch.bincount(row) for row in plain.data.source]).double() / SAMPLES
    for _ in range(3):
        measured = training.train_epoch(test)
        round_by_hand(plain, weights)
        for name, tensor in floating(plain).items():
            torch.testing.assert_close(floating(training)[name], tensor, rtol=1e-9, atol=1e-12)
        losses, sizes = losses_by_hand(plain), torch.bincount(plain.data.source[0]).double()
        weights = client_weights(losses, sizes, 0.02 * SAMPLES)
        torch.testing.assert_close(measured["source/unreliability"], losses)
        torch.testing.assert_close(measured["source/multiplier"], weights * SAMPLES / sizes)
    assert (weights == 0).any()  # the test has seen clients drop out


def test_at_the_start_every_multiplier_is_one_and_no_loss_is_known(make):
    training, _ = make(SEEDS[:2], method="arfl")
    unreliability, multiplier = training.method.source_diagnostics()
    torch.testing.assert_close(multiplier, torch.ones(2, SOURCES, dtype=torch.float64))
    assert unreliability.isnan().all()


def test_corrupt_sources_lose_weight(make):
    training, test = make(SEEDS, method="arfl", network="norm", backend="vmap", epochs=8)
    multiplier = run(training, test, 8)[-1]["source/multiplier"]
    for row, seed in enumerate(SEEDS):
        corrupt = torch.from_numpy(conftest.replica(seed).is_corrupt_source)
        assert multiplier[row][corrupt].max() < multiplier[row][~corrupt].min()


def test_clients_pass_over_their_samples_as_often_as_asked_each_time_in_another_order(make):
    training, test = make(SEEDS[:1], method="arfl", options={"local_epochs": 2})
    seen, step = [], training.step
    training.step = lambda batch: (seen.append(batch.index), step(batch))
    run(training, test, 1)
    index = torch.cat(seen, 1)[0]
    assert torch.bincount(index).tolist() == [2] * SAMPLES
    first, second = index[:80], index[80:160]  # both of client 0
    assert torch.equal(first.sort().values, second.sort().values)
    assert not torch.equal(first, second)


def test_the_learning_rate_of_the_epoch_holds_for_every_client(make):
    schedule = {"name": "step", "every": 1, "factor": 1e-9}
    training, test = make(SEEDS[:1], method="arfl", schedule=schedule)
    run(training, test, 1)
    before = training.networks[0].parameters["output.weight"].detach().clone()
    run(training, test, 1)
    after = training.networks[0].parameters["output.weight"].detach()
    assert 0 < float((after - before).abs().max()) < 1e-8


def without_source(seed, missing=2):
    """Digits whose source 2 has nothing: what it had belongs to source 0."""
    decided = make_replica(seed)
    return dataclasses.replace(decided, source=np.where(decided.source == missing, 0, decided.source))


make_replica = conftest.replica


def test_a_source_without_samples_is_no_client(make, monkeypatch):
    monkeypatch.setattr(conftest, "replica", without_source)
    training, test = make(SEEDS[:2], method="arfl")
    measured = run(training, test, 2)[-1]
    for name in ("unreliability", "multiplier"):
        known = measured[f"source/{name}"].isfinite()
        assert known.tolist() == [[True, True, False, True, True]] * 2
    assert all(parameter.isfinite().all() for parameter in training.networks[0].parameters.values())


def test_seeds_with_clients_of_other_sizes_are_not_alike_and_train_apart(make, monkeypatch):
    arfl = methods.get("arfl")
    assert arfl.alike(make_replica(3)) == arfl.alike(make_replica(14)) == (80, 70, 60, 60, 60)
    assert arfl.alike(without_source(3)) != arfl.alike(make_replica(3))
    monkeypatch.setattr(conftest, "replica", lambda seed: without_source(seed, missing=seed % 2 + 1))
    with pytest.raises(ValueError, match="different sizes"):
        make([3, 14], method="arfl")


def test_data_without_sources_are_refused(make, monkeypatch):
    bare = {"source": None, "is_corrupt_source": None}
    monkeypatch.setattr(conftest, "replica", lambda seed: dataclasses.replace(make_replica(seed), **bare))
    with pytest.raises(UserError, match="method arfl needs at least two sources"):
        make(SEEDS[:1], method="arfl")
