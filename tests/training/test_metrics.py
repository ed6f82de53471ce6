"""Metrics of two classes: scikit-learn's, whatever ties there are."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sklearn

from lapwing.conditions import OF_TWO_CLASSES
from lapwing.methods.standard import Standard
from lapwing.training.data import Replica, Rows, TestData, TrainingData
from lapwing.training.engine import Training
from lapwing.training.metrics import two_class_metrics
from tests.training.conftest import run, settings_of
from tests.training.test_company import METHODS


def theirs(outputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """What scikit-learn says of outputs [M, 2] and targets [M] that have both classes."""
    raw, called = outputs[:, 1], outputs[:, 1] > outputs[:, 0]
    of_logit = sklearn.precision_recall_curve(targets, raw)
    probability = torch.from_numpy(outputs).double().softmax(1)[:, 1].numpy()
    of_probability = sklearn.precision_recall_curve(targets, probability)
    rest = {"zero_division": 0}
    return {
        "auc_pr": sklearn.auc(of_logit[1], of_logit[0]),
        "auc_pr_softmax": sklearn.auc(of_probability[1], of_probability[0]),
        "auc": sklearn.roc_auc_score(targets, raw),
        "precision": sklearn.precision_score(targets, called, **rest),
        "recall": sklearn.recall_score(targets, called, **rest),
        "f1": sklearn.f1_score(targets, called, **rest),
    }


def found(outputs: np.ndarray, targets: np.ndarray) -> list[dict[str, float]]:
    """Ours, of outputs [K, M, 2] and targets [K, M], by replica."""
    measured = two_class_metrics(torch.from_numpy(outputs), torch.from_numpy(targets))
    return [{name: float(values[k]) for name, values in measured.items()} for k in range(len(outputs))]


quarters = st.integers(-8, 8).map(lambda number: number / 4)  # exact in the probability too: ties stay ties
samples = st.integers(2, 40).flatmap(
    lambda number: st.tuples(
        arrays(np.float32, (2, number, 2), elements=quarters),
        arrays(np.int64, (2, number), elements=st.integers(0, 1)).map(lambda targets: with_both(targets)),
    )
)


def with_both(targets: np.ndarray) -> np.ndarray:
    targets[:, 0], targets[:, 1] = 0, 1
    return targets


@settings(deadline=None)
@given(samples)
def test_two_class_metrics_are_those_of_scikit_learn_with_many_ties(drawn):
    outputs, targets = drawn
    for ours, *replica in zip(found(outputs, targets), outputs, targets, strict=True):
        assert ours == pytest.approx(theirs(*replica), abs=1e-12)


def test_two_class_metrics_of_many_samples_without_ties():
    draw = np.random.default_rng(0)
    targets = draw.integers(0, 2, (1, 3000))
    outputs = draw.normal(size=(1, 3000, 2))
    outputs[..., 1] += targets
    assert found(outputs, targets)[0] == pytest.approx(theirs(outputs[0], targets[0]), abs=1e-12)


def test_an_area_without_a_class_that_it_needs_is_nan_and_a_share_of_nothing_is_zero():
    outputs = np.array([[[0.0, 1.0], [2.0, 0.0]]])
    (without_positives,) = found(outputs, np.array([[0, 0]]))
    assert math.isnan(without_positives["auc_pr"])
    assert math.isnan(without_positives["auc"])
    assert [without_positives[name] for name in ("precision", "recall", "f1")] == [0, 0, 0]
    (without_negatives,) = found(outputs, np.array([[1, 1]]))
    assert without_negatives["auc_pr"] == 1
    assert math.isnan(without_negatives["auc"])
    (nothing_called,) = found(-outputs[..., ::-1] - [0.0, 9.0], np.array([[0, 1]]))
    assert [nothing_called[name] for name in ("precision", "recall", "f1")] == [0, 0, 0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_areas_of_outputs_that_are_not_finite_are_nan_for_that_replica_alone(bad):
    outputs = np.random.default_rng(0).normal(size=(2, 9, 2))
    outputs[1, 3, 1] = bad
    targets = np.tile([0, 1, 1], (2, 3))
    finite, broken = found(outputs, targets)
    assert np.isfinite(list(finite.values())).all()
    assert all(math.isnan(broken[name]) for name in ("auc_pr", "auc_pr_softmax", "auc"))


def test_without_samples_every_area_is_nan():
    (nothing,) = found(np.zeros((1, 0, 2)), np.zeros((1, 0), np.int64))
    assert all(math.isnan(nothing[name]) for name in ("auc_pr", "auc_pr_softmax", "auc"))
    assert [nothing[name] for name in ("precision", "recall", "f1")] == [0, 0, 0]


def test_saturated_probabilities_keep_their_order():
    outputs = np.array([[[-100.0, 0.0], [-101.0, 0.0], [-102.0, 0.0]]])
    assert found(outputs, np.array([[0, 1, 1]]))[0]["auc_pr_softmax"] == 1


def test_a_run_on_two_classes_measures_them_on_test_and_validation_in_chunks():
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(1400, 4)).astype(np.float32)
    targets = (inputs[:, 0] + draw.normal(size=1400) > 0).astype(np.int64)
    rows, everything = Rows(inputs), np.arange(1400)
    replicas = [Replica(seed, everything, targets) for seed in (1, 2)]
    data = TrainingData(rows, replicas, layout="mixed", dtype=torch.float64)
    training = Training(
        settings_of(batch_size=100),
        Standard(),
        lambda: torch.nn.Linear(4, 2),
        [1, 2],
        data,
        classes=2,
    )
    test = TestData(rows, [targets], dtype=torch.float64)
    measured = training.train_epoch(test, data)
    with torch.no_grad():
        outputs = training.networks[0](torch.from_numpy(inputs).double().expand(2, -1, -1)).numpy()
    for k in range(2):
        for name, value in theirs(outputs[k], targets).items():
            assert float(measured[f"test/{name}"][k]) == pytest.approx(value, abs=1e-12)
            assert float(measured[f"validation/{name}"][k]) == pytest.approx(value, abs=1e-12)
    assert {name for name in measured if name.startswith("train/")} == {
        "train/loss", "train/objective", "train/top_1"
    }  # fmt: skip


def test_a_run_on_more_classes_has_none_of_them(make):
    measured = run(*make([3]), epochs=1)[0]
    assert not {name for name in measured if name.partition("/")[2] in ("auc", "auc_pr", "f1")}


def test_the_objective_of_an_epoch_is_the_mean_over_its_samples_of_what_was_minimised(make):
    """The last batch is smaller; without weights the objective is the loss."""
    weighted, test = make([3, 14], **METHODS["lap loss"])
    plain, _ = make([3, 14], batch_size=47)
    for _ in range(4):
        with_weights, without = weighted.train_epoch(test), plain.train_epoch(test)
    torch.testing.assert_close(without["train/objective"], without["train/loss"], rtol=0, atol=1e-12)
    assert (with_weights["train/objective"] < 0.9 * with_weights["train/loss"]).all()
    means = [
        float((training.settings.batch_size * torch.stack(terms[:-1]) / 330).sum() + terms[-1] * last / 330)
        for training, last in ((weighted, 10), (plain, 1))
        for terms in [[each[0][1] for each in training._log.objectives]]
    ]
    assert [float(m["train/objective"][1]) for m in (with_weights, without)] == pytest.approx(means)


def test_of_two_networks_the_objective_is_that_of_the_first(make):
    training, test = make([3], method="coteaching", options={"forget_rate": 0.4, "ramp_epochs": 1})
    measured = run(training, test, epochs=2)[1]
    assert 0 < float(measured["train/objective"]) < float(measured["train/loss"])


def test_studies_may_ask_for_just_what_is_measured_of_two_classes():
    assert list(two_class_metrics(torch.zeros(1, 4, 2), torch.tensor([[0, 1, 0, 1]]))) == OF_TWO_CLASSES
