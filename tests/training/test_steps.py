"""What a step does and what it never does."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lapwing.methods.base import Method, Term
from tests.training.conftest import SEEDS, difference, run
from tests.training.test_company import METHODS

SYNCS = {
    "aten._local_scalar_dense",
    "aten.nonzero",
    "aten.masked_select",
    "aten.item",
    "aten.is_nonzero",
    "aten._unique2",
}


class CountSyncs(TorchDispatchMode):
    """Counts the operations that would make the host wait for a device, and copies between devices."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func).rsplit(".", 1)[0]
        boolean_index = name.startswith("aten.index") and any(
            isinstance(i, torch.Tensor) and i.dtype == torch.bool
            for i in (args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else [])
        )
        if name in SYNCS or boolean_index or (name == "aten._to_copy" and "device" in (kwargs or {})):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


BLOCKS = {name: {**case, "layout": "blocks"} for name, case in METHODS.items()}
CASES = {**METHODS, **{f"{name}, blocks": case for name, case in BLOCKS.items()}}


@pytest.mark.parametrize("seeds", [SEEDS[:1], SEEDS], ids=["alone", "stacked"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_no_step_waits_for_the_device(make, seeds, case):
    training, test = make(seeds, backend="native", **case)
    run(training, test, 1)
    training.method.on_epoch_start(training)
    batches = training.batches()
    with CountSyncs() as counted:
        for _ in range(3):
            training.step(next(batches))
    assert counted.found == []


@pytest.mark.parametrize("case", METHODS.values(), ids=METHODS.keys())
def test_no_method_waits_for_the_device_around_its_steps(make, case):
    training, test = make(SEEDS, backend="native", **case)
    run(training, test, 1)
    with CountSyncs() as counted:
        training.method.on_epoch_start(training)
        training.method.run_epoch(training)
        training.method.source_diagnostics()
    assert counted.found == []


def test_the_counter_of_syncs_sees_one():
    with CountSyncs() as counted:
        torch.ones(1).item()
        torch.ones(3)[torch.tensor([True, False, True])]
    assert len(counted.found) == 2


class EveryOther(Method):
    """Replica 1 sits every second step out."""

    title, version = "every other", 1

    def objectives(self, training, batch, outputs, losses):
        active = torch.ones(training.replicas, dtype=torch.bool)
        active[-1] = training.steps % 2 == 0
        return [Term(losses[0].mean(1), active)]


@pytest.mark.parametrize(
    "optimiser",
    [{"name": "adam", "weight_decay": 0.1}, {"name": "sgd", "momentum": 0.9, "weight_decay": 0.1}],
)
def test_a_replica_that_sits_a_step_out_does_not_move(make, optimiser):
    training, test = make(SEEDS[:2], method=EveryOther, backend="native", optimiser=optimiser)
    batches = training.batches()
    for step in range(4):
        before = {
            n: t.clone() for n, t in training.state().items() if n != "alive" and not n.endswith("/step")
        }
        training.step(next(batches))
        after = training.state()
        moved = [not torch.equal(after[n][1], t[1]) for n, t in before.items() if "/parameter/" in n]
        assert all(moved) if step % 2 == 0 else not any(moved)
        if step % 2:
            assert all(torch.equal(after[n][1], t[1]) for n, t in before.items() if "/optimiser/" in n)


def test_a_replica_sits_out_alone_as_it_does_in_company(make):
    together, test = make(SEEDS[:3], method=EveryOther, backend="native")
    alone, test_alone = make(SEEDS[2:3], method=EveryOther, backend="native")
    run(together, test)
    run(alone, test_alone)
    assert difference(together, 2, alone, 0) <= 1e-10


def test_blocks_come_in_the_same_order_in_every_epoch_and_mixed_do_not(make):
    for layout, same in (("blocks", True), ("mixed", False)):
        training, _ = make(SEEDS[:2], layout=layout)
        first = torch.cat([batch.index for batch in training.batches()], 1)
        training.epoch += 1
        second = torch.cat([batch.index for batch in training.batches()], 1)
        assert torch.equal(first.sort(1).values, second.sort(1).values)
        assert torch.equal(first, second) is same
        assert torch.equal(first[0], torch.arange(330)) is same


def test_a_batch_holds_what_the_replicas_decided_about_its_positions(make):
    from tests.training.conftest import digits_rows, replica

    training, _ = make(SEEDS[:2])
    replicas, rows = [replica(seed) for seed in SEEDS[:2]], digits_rows()
    for batch in training.batches():
        for k, decided in enumerate(replicas):
            positions = batch.index[k].numpy()
            np.testing.assert_array_equal(batch.targets[k], decided.targets[positions])
            np.testing.assert_array_equal(batch.source[k], decided.source[positions])
            np.testing.assert_allclose(
                batch.inputs[k], rows.inputs[decided.index[positions]] / 16, atol=1e-12
            )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_replica_whose_only_step_breaks_it_has_diverged_in_that_epoch(make):
    wild = {"name": "sgd", "learning_rate": 1e38}
    single = {"batch_size": 330, "precision": "float32"}
    training, test = make(SEEDS[:2], network="norm", backend="vmap", optimiser=wild, **single)
    measured = training.train_epoch(test)
    assert not measured["test/loss"].isfinite().any()
    assert all(not measured[f"test/top_{k}"].any() for k in (1, 2, 5))
    assert training.diverged == [(1, 1), (1, 1)]
    assert not training.alive.any()


class Unstepped(Method):
    """Learns nothing at all."""

    title, version = "unstepped", 1

    def run_epoch(self, training):
        pass


def test_an_epoch_without_a_step_is_tested_and_measures_no_training(make):
    training, test = make(SEEDS[:2], method=Unstepped)
    measured = run(training, test, 2)[-1]
    assert measured["test/loss"].isfinite().all()
    assert measured["train/loss"].isnan().all()
    assert measured["source/mean_loss"].shape == (2, 5)
    assert training.diverged == [None, None]


class Ensemble(Method):
    """Predicts with both networks."""

    title, version, networks = "ensemble", 1, 2
    broken = False

    def objectives(self, training, batch, outputs, losses):
        return [Term(loss.mean(1)) for loss in losses]

    def predict(self, training, inputs):
        assert modes(training) == [False, False]
        if self.broken:
            raise ArithmeticError
        return sum(network(inputs) for network in training.networks)


def modes(training):
    return [network.module.training for network in training.networks]


def test_all_networks_are_evaluated_and_train_again_whatever_happens(make):
    training, test = make(SEEDS[:2], method=Ensemble)
    training.evaluate(test)
    assert modes(training) == [True, True]
    training.method.broken = True
    with pytest.raises(ArithmeticError):
        training.evaluate(test)
    assert modes(training) == [True, True]


def test_a_full_pass_leaves_networks_in_training_wherever_it_is_left(make):
    training, _ = make(SEEDS[:2], network="norm")
    calls = training.networks[0].calls
    for _, outputs in training.full_pass():
        assert modes(training) == [True]
        assert torch.is_grad_enabled()
        assert not outputs.requires_grad
        break
    assert training.networks[0].calls == calls
