"""What every registered method must withstand (spec other-methods 9.2)."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from lapwing.errors import UserError
from lapwing.methods import methods
from tests.methods.test_needs import settings_of
from tests.training.conftest import SEEDS
from tests.training.test_company import METHODS

RIVALS = ["arfl", "cdr", "coteaching", "idpa", "nls"]
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())


def test_every_registered_method_is_among_those_that_are_tested():
    assert {case["method"] for case in METHODS.values()} == set(methods.names())


def only_first(batch):
    return batch_with(batch, lambda tensor: tensor[:, :1])


def all_equal(batch):
    return batch_with(batch, lambda tensor: tensor[:, :1].expand_as(tensor).clone(), keep=("index",))


def without_a_class(batch):
    return dataclasses.replace(batch, targets=batch.targets.clamp(max=3))


def batch_with(batch, change, keep=()):
    """A batch whose tensors are changed, but for those to keep."""
    tensors = {
        name: getattr(batch, name) for name in ("inputs", "targets", "index", "source") if name not in keep
    }
    return dataclasses.replace(batch, **{name: change(tensor) for name, tensor in tensors.items()})


@pytest.mark.parametrize("change", [only_first, all_equal, without_a_class])
@pytest.mark.parametrize(("network", "backend"), [("mlp", "native"), ("norm", "vmap")])
@every_method
def test_odd_batches_leave_everything_finite(make, method, network, backend, change):
    training, test = make(SEEDS[:2], network=network, backend=backend, **method)
    training.train_epoch(test)
    training.method.on_epoch_start(training)
    for batch in list(training.batches())[:3]:
        training.step(change(batch))
    assert all(tensor.isfinite().all() for tensor in training.state().values())


@every_method
def test_a_batch_is_never_changed(make, method):
    training, test = make(SEEDS[:2], **method)
    training.train_epoch(test)
    training.method.on_epoch_start(training)
    batch = next(training.batches())
    before = batch_with(batch, torch.clone)
    training.step(batch)
    for name in ("inputs", "targets", "index", "source"):
        assert torch.equal(getattr(batch, name), getattr(before, name))


@every_method
def test_an_input_that_is_not_a_number_stops_its_run_and_no_other(make, method):
    training, test = make(SEEDS[:2], **method)
    clean = training.batches

    def poisoned(*arguments):
        for number, batch in enumerate(clean(*arguments)):
            inputs = batch.inputs.clone()
            if number == 0:
                inputs[0, 0] = float("nan")
            yield dataclasses.replace(batch, inputs=inputs)

    training.batches = poisoned
    training.train_epoch(test)
    assert training.diverged == [(1, 1), None]
    assert training.alive.tolist() == [False, True]


@pytest.mark.parametrize("method", RIVALS)
def test_rivals_refuse_regression(method):
    kind = methods.get(method)
    regression = SimpleNamespace(task="regression")
    with pytest.raises(UserError, match=f"table_1: method {method} needs a classification task"):
        kind.check(kind.Hyperparameters(), settings_of(method), regression, "table_1")
    kind.check(kind.Hyperparameters(), settings_of(method), SimpleNamespace(task="classification"), "table_1")


def test_arfl_refuses_a_single_source():
    kind, alone = methods.get("arfl"), {"number": 1, "corrupt": 0, "assignment": "blocks", "size": 32}
    with pytest.raises(UserError, match="method arfl needs at least two sources"):
        kind.check(
            kind.Hyperparameters(), settings_of("arfl", alone), SimpleNamespace(task="classification"), "t"
        )
