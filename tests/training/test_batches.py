"""How samples become batches: every source equally often, and images mirrored at random."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lapwing.errors import UserError
from lapwing.training.augmentation import HorizontalFlip
from lapwing.training.data import Replica, Rows, TrainingData
from lapwing.training.randomness import random_words
from tests.training.conftest import SEEDS, difference, run
from tests.training.test_company import METHODS
from tests.training.test_steps import CountSyncs

REFUSE = ("lap gradient", "idpa")
"""One needs batches of a single source, the other batches in which no sample stands twice."""
BALANCED = {name: {**case, "layout": "balanced"} for name, case in METHODS.items() if name not in REFUSE}


def positions_of(training, epoch: int = 0, **chosen) -> torch.Tensor:
    """What the batches of an epoch hold, [K, …]."""
    training.epoch = epoch
    return torch.cat([batch.index for batch in training.batches(**chosen)], 1)


# -- every source equally often ------------------------------------------------------------------------


def of_sizes(*replicas: list[int]) -> TrainingData:
    """Data of replicas whose sources have these sizes, their positions in no order."""
    made = []
    for seed, sizes in enumerate(replicas):
        source = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
        flags = np.zeros(len(sizes), bool)
        made.append(Replica(seed, np.arange(sum(sizes)), np.zeros(sum(sizes), np.int64), source, flags))
    return TrainingData(Rows(np.zeros((sum(replicas[0]), 1), np.float32)), made, layout="balanced")


def test_every_source_that_is_there_is_drawn_equally_often():
    sizes = [1, 40, 0, 9, 950]
    data = of_sizes(sizes, [250, 250, 0, 500, 0])
    uniform = torch.rand(2, 2, 1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn = data.drawn_evenly(torch.arange(1000).expand(2, -1), uniform)
    first, second = (
        torch.bincount(s.gather(0, d), minlength=5) for s, d in zip(data.source, drawn, strict=True)
    )
    assert first.tolist() == pytest.approx([250, 250, 0, 250, 250], abs=45)  # three standard deviations
    assert second.tolist() == pytest.approx([333, 333, 0, 333, 0], abs=45)
    within = torch.bincount(drawn[1], minlength=1000)[data.source[1] == 3]
    assert within.max() <= 6  # 333 draws from 500 positions: all of them are drawn from
    assert (within > 0).double().mean() > 0.4


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=8).filter(any), st.data())
def test_any_numbers_give_positions_of_sources_that_are_there(sizes, data):
    """Also those at the very ends of [0, 1), where a product rounds up."""
    held, number = of_sizes(sizes), sum(sizes)
    ends = st.sampled_from([0.0, 0.5, 1 - 2.0**-53])
    uniform = torch.tensor(
        [[data.draw(st.lists(ends, min_size=number, max_size=number))] * 2], dtype=torch.float64
    )
    members = torch.randperm(number, generator=torch.Generator().manual_seed(number))[None]
    drawn = held.drawn_evenly(members, uniform)
    assert drawn.shape == (1, number)
    assert torch.isin(drawn, members).all()


def test_an_epoch_draws_as_many_samples_as_there_are_a_function_of_seed_and_epoch(make):
    together, _ = make(SEEDS[:3], layout="balanced")
    alone, _ = make(SEEDS[1:2], layout="balanced", batch_size=7)
    epochs = [positions_of(together, epoch) for epoch in (0, 1)]
    assert epochs[0].shape == (3, 330)
    assert all(len(row.unique()) < 330 for row in epochs[0])  # with replacement
    assert not torch.equal(*epochs)
    for epoch, drawn in enumerate(epochs):
        assert torch.equal(positions_of(alone, epoch)[0], drawn[1])


def test_from_some_members_only_they_are_drawn(make):
    training, _ = make(SEEDS[:2], layout="balanced")
    members = torch.stack([torch.arange(40, 90), torch.arange(200, 250)])
    drawn = positions_of(training, members=members, purpose="client")
    assert drawn.shape == members.shape
    assert all(torch.isin(row, allowed).all() for row, allowed in zip(drawn, members, strict=True))


@pytest.mark.parametrize("case", BALANCED.values(), ids=BALANCED.keys())
def test_methods_train_on_balanced_data_alone_as_in_company_and_wait_for_nothing(make, case):
    together, test = make(SEEDS[:3], backend="native", **case)
    alone, _ = make(SEEDS[1:2], **case)
    measured = run(together, test)
    run(alone, test)
    assert measured[-1]["test/loss"].isfinite().all()
    assert difference(together, 1, alone, 0) <= 1e-10
    with CountSyncs() as counted:
        together.method.on_epoch_start(together)
        together.method.run_epoch(together)
    assert counted.found == []


def test_balanced_data_need_sources():
    replica = Replica(1, np.arange(4), np.zeros(4, np.int64))
    with pytest.raises(UserError, match="layout balanced needs the source of each sample"):
        TrainingData(Rows(np.zeros((4, 1), np.float32)), [replica], layout="balanced")


# -- images mirrored at random ---------------------------------------------------------------------------


def mirrored(training, epoch: int = 0, row: int = 0) -> dict[int, bool]:
    """Position → whether its image is mirrored in an epoch; without images that are symmetric."""
    training.epoch = epoch
    found = {}
    for batch in training.batches():
        plain = training.data.inputs.gather(training.data.inputs.prepare(batch.index))
        for position, image, seen in zip(batch.index[row], plain[row], batch.inputs[row], strict=True):
            if not torch.equal(image, image.flip(-1)):
                assert torch.equal(seen, image) or torch.equal(seen, image.flip(-1))
                found[int(position)] = not torch.equal(seen, image)
    return found


FLIPPED = {"augmentation": "horizontal_flip"}


@pytest.mark.parametrize("layout", ["blocks", "mixed", "balanced"])
def test_half_of_the_images_are_mirrored_anew_in_every_epoch(make, layout):
    training, _ = make(SEEDS[:1], layout=layout, **FLIPPED)
    first, second = mirrored(training), mirrored(training, epoch=1)
    assert np.mean(list(first.values())) == pytest.approx(0.5, abs=0.1)
    both = first.keys() & second.keys()
    assert np.mean([first[position] == second[position] for position in both]) == pytest.approx(0.5, abs=0.15)


def test_who_is_mirrored_depends_on_seed_epoch_and_position_alone(make):
    together, _ = make(SEEDS[:3], **FLIPPED)
    others = [
        make(SEEDS[1:2], layout=layout, batch_size=size, **FLIPPED)[0]
        for layout, size in (("blocks", 33), ("mixed", 8))
    ]
    for epoch in (0, 3):
        expected = mirrored(together, epoch, row=1)
        assert all(mirrored(other, epoch) == expected for other in others)
    assert mirrored(together, 0, row=0) != mirrored(together, 0, row=1)


def test_only_batches_to_learn_from_are_mirrored(make):
    training, test = make(SEEDS[:2], **FLIPPED)
    plain, _ = make(SEEDS[:2])
    for ours, theirs in zip(training.full_pass(), plain.full_pass(), strict=True):
        assert torch.equal(ours[0].inputs, theirs[0].inputs)
    assert all(
        torch.equal(ours, theirs)
        for ours, theirs in zip(training.evaluate(test).values(), plain.evaluate(test).values(), strict=True)
    )


@pytest.mark.parametrize("layout", ["blocks", "mixed"])
def test_mirroring_waits_for_nothing(make, layout):
    training, test = make(SEEDS[:2], layout=layout, **FLIPPED)
    run(training, test, 1)
    with CountSyncs() as counted:
        training.method.run_epoch(training)
    assert counted.found == []


def test_mirrored_images_stay_channels_last():
    flip = HorizontalFlip([1, 2], torch.device("cpu"))
    images = torch.rand(2, 8, 5, 6, 3).movedim(-1, -3)
    seen = flip(images, 0, torch.arange(16).view(2, 8))
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=4),
    st.integers(0, 10**6),
    st.permutations(range(9)),
)
def test_random_words_of_a_position_depend_on_nothing_else(seeds, call, order):
    keys = torch.tensor(seeds, dtype=torch.int32)
    calls = torch.tensor(call, dtype=torch.int32)
    words = random_words(keys, calls, torch.arange(9, dtype=torch.int32))
    positions = torch.tensor(order, dtype=torch.int32)
    for row, key in enumerate(keys):
        assert torch.equal(random_words(key, calls, positions), words[row, positions.long()])


def test_targets_and_sources_are_those_of_the_drawn_positions(make):
    training, _ = make(SEEDS[:2], layout="balanced")
    for batch in training.batches():
        assert torch.equal(batch.targets, training.data.targets.gather(1, batch.index))
        assert torch.equal(batch.source, training.data.source.gather(1, batch.index))
