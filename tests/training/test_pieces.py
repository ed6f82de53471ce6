"""Randomness, metrics, schedules, data: the small pieces on their own."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lapwing.errors import UserError
from lapwing.methods.standard import Standard
from lapwing.training import data as data_module
from lapwing.training.data import Arranged, Replica, Rows, Shared, TestData, TrainingData, widest_stack
from lapwing.training.engine import Training
from lapwing.training.job import Trainee, prepare
from lapwing.training.layers import Dropout
from lapwing.training.library import Samples, train_arrays
from lapwing.training.metrics import evaluation_sums as measure
from lapwing.training.optimisers import learning_rate
from lapwing.training.randomness import derive, generator, random_bits
from lapwing.training.settings import Optimiser, Schedule
from lapwing.training.stack import Stack, build_replica
from tests.training.conftest import settings_of


def keys(*values):
    return torch.tensor(values, dtype=torch.int32)


def test_streams_of_other_seeds_purposes_and_epochs_differ():
    names = [(2, "order", 0), (2, "order", 1), (4, "order", 0), (2, "meta", 0)]
    assert len({derive(*name) for name in names}) == 4
    assert torch.equal(torch.rand(3, generator=generator(2, "a")), torch.rand(3, generator=generator(2, "a")))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=4), st.integers(0, 10**6), st.integers(1, 99))
def test_random_bits_of_a_key_do_not_depend_on_other_keys_or_calls(seeds, call, number):
    calls = torch.arange(call, call + 3, dtype=torch.int32)
    together = random_bits(keys(*seeds), calls[:, None], number)
    for row, seed in enumerate(seeds):
        assert torch.equal(
            together[1, row], random_bits(torch.tensor(seed, dtype=torch.int32), calls[1], number)
        )


def test_random_bits_are_uniform_and_uncorrelated():
    bits = random_bits(keys(*range(10)), torch.arange(20, dtype=torch.int32)[:, None], 10_000).double()
    uniform = bits.add(2**15).div(2**16)
    assert abs(float(uniform.mean()) - 0.5) < 0.002
    assert abs(float(uniform.var()) - 1 / 12) < 0.001
    rows = uniform.flatten(0, 1)
    correlation = torch.corrcoef(rows) - torch.eye(200, dtype=torch.float64)
    assert float(correlation.abs().max()) < 0.06
    beside = torch.corrcoef(torch.stack([rows[:, 1:].flatten(), rows[:, :-1].flatten()]))[0, 1]
    assert abs(float(beside)) < 0.005


def test_dropout_keeps_the_share_and_the_mean_it_should():
    stack = Stack(lambda: torch.nn.Sequential(Dropout(0.2)), [1, 2], backend="loop")
    outputs = stack(torch.ones(2, 100, 1000))
    assert float((outputs == 0).double().mean()) == pytest.approx(0.2, abs=0.005)
    assert float(outputs.mean()) == pytest.approx(1, abs=0.005)
    assert not torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs, stack(torch.ones(2, 100, 1000)))
    stack.train(False)
    assert torch.equal(stack(torch.ones(2, 3, 4)), torch.ones(2, 3, 4))


def test_top_k_counts_the_rank_of_the_target_and_gives_no_credit_for_ties():
    outputs = torch.tensor([[[0.1, 0.5, 0.4, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]]])
    found = measure(torch.zeros(1, 2), outputs, torch.tensor([[2, 5]]), 6)
    assert {name: values.item() for name, values in found.items()} == {
        "loss": 0.0,
        "top_1": 0.0,
        "top_2": 1.0,
        "top_5": 1.0,
    }


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_top_k_agrees_with_sorting(seed):
    outputs = torch.rand(2, 20, 10, generator=generator(seed, "outputs"))
    targets = torch.randint(0, 10, (2, 20), generator=generator(seed, "targets"))
    found = measure(torch.zeros(2, 20), outputs, targets, 10)
    for k in (1, 2, 5):
        hits = (outputs.topk(k).indices == targets[..., None]).any(-1).sum(1)
        assert torch.equal(found[f"top_{k}"], hits.double())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("classes", [2, 10])
def test_outputs_that_are_not_finite_are_a_miss(bad, classes):
    outputs = torch.zeros(1, 2, classes)
    outputs[0, 0], outputs[0, 1, 0] = bad, bad
    found = measure(torch.zeros(1, 2), outputs, torch.zeros(1, 2, dtype=torch.int64), classes)
    assert all(values.item() == 0 for name, values in found.items() if name != "loss")


def test_learning_rates_follow_their_schedule():
    optimiser = Optimiser(learning_rate=1.0)
    cosine, step = Schedule(name="cosine", minimum=0.2), Schedule(name="step", every=2, factor=0.5)
    assert [learning_rate(optimiser, Schedule(), e, 4) for e in range(4)] == [1.0] * 4
    assert [learning_rate(optimiser, step, e, 4) for e in range(5)] == [1, 1, 0.5, 0.5, 0.25]
    assert [learning_rate(optimiser, cosine, e, 4) for e in (0, 2, 4)] == pytest.approx([1.0, 0.6, 0.2])


def test_arguments_of_the_other_optimiser_are_refused():
    with pytest.raises(ValueError, match="momentum belongs to sgd"):
        Optimiser(name="adam", momentum=0.9)
    for schedule, argument in (("constant", "every"), ("step", "minimum"), ("cosine", "factor")):
        with pytest.raises(ValueError, match=f"{argument} belongs to .*, the schedule is {schedule}"):
            Schedule.model_validate({"name": schedule, argument: 2})


def images(alter=False):
    draw = np.random.default_rng(0)
    rows = Rows(draw.integers(0, 256, (30, 3, 4, 4), dtype=np.uint8), 1 / 255)
    kind = {
        "altered": np.array([3, 7]),
        "alter": lambda inputs, positions: inputs + positions[:, None, None, None],
    }
    replicas = [
        Replica(
            seed,
            draw.permutation(30)[:20],
            draw.integers(0, 5, 20),
            np.arange(20) // 5 % 2,
            **(kind if alter else {}),
        )
        for seed in (1, 2)
    ]
    return rows, replicas


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize(
    ("layout", "alter", "holder"),
    [("blocks", False, Arranged), ("mixed", False, Shared), ("mixed", True, Arranged)],
)
def test_inputs_are_those_of_the_index_scaled_and_altered(layout, alter, holder, channels_last):
    rows, replicas = images(alter)
    held = TrainingData(rows, replicas, layout=layout, channels_last=channels_last)
    assert isinstance(held.inputs, holder)
    positions = torch.tensor([[3, 0, 19], [7, 3, 1]])
    found = held.inputs.gather(held.inputs.prepare(positions)).numpy()
    for k, replica in enumerate(replicas):
        expected = rows.inputs[replica.index[positions[k].numpy()]] / np.float32(255)
        if alter:
            hit = np.isin(positions[k], replica.altered)
            expected[hit] += positions[k].numpy()[hit][:, None, None, None]
        np.testing.assert_allclose(found[k], expected, rtol=1e-6)


def test_rows_that_do_not_fit_are_shared_and_stacks_of_altered_rows_get_narrower(monkeypatch):
    rows, replicas = images()
    monkeypatch.setattr(data_module, "ARRANGED_BYTES", 20 * 48 * 4 * 1.5)
    assert isinstance(TrainingData(rows, replicas, layout="blocks").inputs, Shared)
    assert isinstance(TrainingData(rows, replicas[:1], layout="blocks").inputs, Arranged)
    assert widest_stack(rows, images(alter=True)[1][0], "mixed", torch.float32) == 1


def test_the_published_sizes_stay_within_the_memory_they_are_given():
    mnist, cifar = (
        Rows(np.empty((60_000, 1, 28, 28), np.uint8)),
        Rows(np.empty((50_000, 3, 32, 32), np.uint8)),
    )
    replica = Replica(2, np.arange(45_000), np.zeros(45_000))
    assert widest_stack(mnist, replica, "blocks", torch.float32) >= 10
    assert 37_500 * cifar.bytes_as(torch.float32) < data_module.ARRANGED_BYTES


def test_the_trainer_works_on_plain_arrays():
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(200, 6)).astype(np.float32)
    samples = Samples(inputs, (inputs[:, 0] > 0).astype(np.int64), np.arange(200) // 20 % 2)
    lap = {"history_length": 2, "warmup_iters": 0}
    runs = train_arrays(settings_of("lap", lap, epochs=20), samples, samples, [1, 2], classes=2)
    for run in runs:
        last = run.metrics.query("split == 'test' and metric == 'top_1'")["value"].iloc[-1]
        outputs = run.network.eval()(torch.from_numpy(inputs).double()).argmax(-1).numpy()
        assert (outputs == samples.targets).mean() == last > 0.8
        assert len(run.sources) == 20 * 2
        assert run.diverged is None


def test_plain_arrays_that_do_not_fit_are_refused():
    inputs = np.zeros((4, 2), np.float32)
    with pytest.raises(UserError, match="targets must have one value for each of the 4 inputs"):
        train_arrays(settings_of(), Samples(inputs, np.zeros(3)), Samples(inputs, np.zeros(4)), [1])
    mixed = Samples(inputs, np.zeros(4, np.int64), np.array([0, 1, 0, 1]))
    with pytest.raises(UserError, match="gradient form needs batches of a single source"):
        train_arrays(settings_of("lap", {"form": "gradient"}, layout="blocks"), mixed, mixed, [1], classes=2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_holders_of_inputs_scale_alike_in_the_type_of_the_network(dtype):
    rows, replicas = images()
    expected = torch.from_numpy(rows.inputs).to(dtype) * (1 / 255)
    positions = torch.arange(20).expand(2, -1)
    for layout in ("blocks", "mixed"):
        held = TrainingData(rows, replicas, layout=layout, dtype=dtype).inputs
        found = held.gather(held.prepare(positions))
        assert all(torch.equal(found[k], expected[replica.index]) for k, replica in enumerate(replicas))
    assert torch.equal(TestData(rows, [np.zeros(30)], dtype=dtype).take(1, 0, 30)[0][0], expected)


@pytest.mark.parametrize("layer", [torch.nn.Dropout, torch.nn.Dropout2d, torch.nn.AlphaDropout])
def test_dropout_of_torch_is_refused(layer):
    with pytest.raises(UserError, match=f"{layer.__name__}.*lapwing.training.layers.Dropout"):
        build_replica(lambda: torch.nn.Sequential(torch.nn.Linear(2, 2), layer(0.5)), 1, 0)


def norms():
    torch_norm = torch.nn.BatchNorm1d(3, track_running_stats=False)
    return torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch_norm, Dropout(0.5))


def test_quiet_passes_may_be_nested_and_leave_everything_as_it_was():
    stack, inputs = Stack(norms, [1, 2], backend="vmap"), torch.rand(2, 8, 3)
    one, other, dropout = stack.module
    with stack.quiet():
        with stack.quiet():
            stack(inputs)
        with stack.evaluating():
            pass
        assert not dropout.training
        stack(inputs)
    assert (one.track_running_stats, other.track_running_stats, dropout.training) == (True, False, True)
    assert stack.buffers["0.num_batches_tracked"].tolist() == [0, 0]
    assert stack.calls == 0
    stack(inputs)
    assert stack.buffers["0.num_batches_tracked"].tolist() == [1, 1]


class Halves(torch.nn.Linear):
    """A network with two outputs."""

    def forward(self, inputs):
        return tuple(super().forward(inputs).chunk(2, -1))

    def forward_stacked(self, inputs, tensors):
        whole = torch.baddbmm(tensors["bias"][:, None], inputs, tensors["weight"].transpose(1, 2))
        return tuple(whole.chunk(2, -1))


@pytest.mark.parametrize("backend", ["loop", "vmap", "native"])
@pytest.mark.parametrize("seeds", [[1], [1, 2, 3]])
def test_a_network_may_return_a_tuple(backend, seeds):
    inputs = torch.rand(len(seeds), 5, 4)
    found = Stack(lambda: Halves(4, 6), seeds, backend=backend)(inputs)
    assert isinstance(found, tuple)
    for row, seed in enumerate(seeds):
        expected = build_replica(lambda: Halves(4, 6), seed, 0)(inputs[row])
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours[row], theirs)


@pytest.mark.parametrize("layout", ["blocks", "mixed"])
def test_what_artefacts_know_of_noise_reaches_the_batches(layout):
    rows, replicas = images()
    known = [dataclasses.replace(r, noise_variance=np.arange(20.0) + k) for k, r in enumerate(replicas)]
    data = TrainingData(rows, known, layout=layout)
    settings = settings_of(layout=layout, batch_size=5, precision="float32")
    build = lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 5))  # noqa: E731
    training = Training(settings, Standard(), build, [1, 2], data, classes=5)
    for batch in training.batches():
        assert torch.equal(batch.noise_variance, batch.index + torch.tensor([[0.0], [1.0]]))
    assert TrainingData(rows, [known[0], replicas[1]], layout=layout).noise_variance is None


def test_rows_that_artefacts_set_aside_become_the_meta_set_with_true_targets():
    rows, replicas = images()
    rows = Rows(rows.inputs[:, :1], rows.scale)
    chosen = {r.seed: dataclasses.replace(r, meta_index=np.array([21, 4, 9]) + r.seed) for r in replicas}
    true = np.arange(30) % 5
    trainee = Trainee(settings_of(), rows, rows, true, chosen, classes=5, train_targets=true)
    training, _ = prepare(trainee, [1, 2], torch.device("cpu"))
    batch = training.meta_batch(3)
    for k, seed in enumerate((1, 2)):
        index = chosen[seed].meta_index[batch.index[k].numpy()]
        assert sorted(index) == sorted(chosen[seed].meta_index)
        np.testing.assert_array_equal(batch.targets[k], true[index])
        np.testing.assert_array_equal(batch.inputs[k], rows.inputs[index] * (1 / 255))
