"""What holds for LAP whatever the data: symmetries, replicas, saved state, no waiting for the device."""

import copy
import io
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lapwing.weighting import (
    FEW,
    SourceGradientMultiplier,
    SourceGradientWeighting,
    SourceLossWeighting,
    others_mean_and_std,
    sum_of_others,
)

COMMON: dict[str, Any] = {"history_length": 4, "discrete_amount": 0.05, "leniency": 0.5}
SETTINGS: dict[str, Any] = COMMON | {"warmup_iters": 3}
GRADIENT_SETTINGS: dict[str, Any] = COMMON | {"warm_up": 3}

seeds = st.integers(0, 2**31)
source_counts = st.integers(2, 9)


def stream(
    seed: int, sources: int, shape: tuple[int, ...], steps: int = 40
) -> Iterator[tuple[Tensor, Tensor]]:
    """Losses in float64, higher for higher ids, and ids that leave some sources out of each batch."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        ids = torch.randint(sources, shape, generator=generator)
        yield torch.rand(shape, generator=generator, dtype=torch.float64) * (1 + ids), ids


@given(seeds, source_counts)
@settings(max_examples=20, deadline=None)
def test_order_within_a_batch_changes_nothing(seed: int, sources: int) -> None:
    straight = SourceLossWeighting(**SETTINGS, num_sources=sources)
    shuffled = SourceLossWeighting(**SETTINGS, num_sources=sources)
    for losses, ids in stream(seed, sources, (12,)):
        order = torch.randperm(12, generator=torch.Generator().manual_seed(seed))
        expected = straight(losses, ids)[order]
        torch.testing.assert_close(shuffled(losses[order], ids[order]), expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(straight.unreliability, shuffled.unreliability)


@given(seeds, st.lists(st.integers(-(2**40), 2**40), min_size=2, max_size=9, unique=True))
@settings(max_examples=20, deadline=None)
def test_names_of_the_sources_change_nothing(seed: int, names: list[int]) -> None:
    by_number = SourceLossWeighting(**SETTINGS, num_sources=len(names))
    by_name = SourceLossWeighting(**SETTINGS, sources=names)
    looked_up = SourceLossWeighting(**SETTINGS)
    for losses, ids in stream(seed, len(names), (12,)):
        named = torch.tensor(names)[ids]
        expected = by_number(losses, ids)
        torch.testing.assert_close(by_name(losses, named), expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(looked_up(losses, named), expected, rtol=1e-12, atol=1e-12)
    order = torch.tensor(names).argsort()
    assert by_name.sources == sorted(names)
    assert torch.equal(by_name.unreliability, by_number.unreliability[order])


@given(seeds, st.sampled_from([None, "original"]))
@settings(max_examples=10, deadline=None)
def test_only_source_is_never_depressed(seed: int, compat: Any) -> None:
    weighting = SourceLossWeighting(**SETTINGS, compat=compat)
    for losses, ids in stream(seed, 1, (5,)):
        assert torch.equal(weighting(losses, ids), losses)
    assert weighting.unreliability.tolist() == [0]


@given(seeds, source_counts, st.sampled_from([None, "original"]))
@settings(max_examples=10, deadline=None)
def test_strength_zero_moves_counters_but_no_loss(seed: int, sources: int, compat: Any) -> None:
    weighting = SourceLossWeighting(**SETTINGS, depression_strength=0, num_sources=sources, compat=compat)
    for losses, ids in stream(seed, sources, (24,)):
        assert torch.equal(weighting(losses, ids), losses)
    assert weighting.unreliability.sum() > 0


@pytest.mark.parametrize("sources", [6, FEW, FEW + 1])
@pytest.mark.parametrize("compat", [None, "original"])
def test_stacked_replicas_equal_separate_ones_bit_for_bit(sources: int, compat: Any) -> None:
    shape = (5, 4 * sources)
    stacked = SourceLossWeighting(**SETTINGS, num_sources=sources, replicas=5, compat=compat)
    alone = [SourceLossWeighting(**SETTINGS, num_sources=sources, compat=compat) for _ in range(5)]
    for losses, ids in stream(1, sources, shape):
        expected = torch.stack([one(*pair) for one, *pair in zip(alone, losses, ids, strict=True)])
        assert torch.equal(stacked(losses, ids), expected)
    assert torch.equal(stacked.unreliability, torch.stack([one.unreliability for one in alone]))
    assert stacked.unreliability.max() > 0


@pytest.mark.parametrize("compat", [None, "original"])
def test_stacked_gradient_multipliers_equal_separate_ones_bit_for_bit(compat: Any) -> None:
    stacked = SourceGradientMultiplier(**GRADIENT_SETTINGS, num_sources=4, replicas=3, compat=compat)
    alone = [SourceGradientMultiplier(**GRADIENT_SETTINGS, num_sources=4, compat=compat) for _ in range(3)]
    smallest = 1.0
    for losses, ids in stream(2, 4, (3,), steps=300):
        parts = zip(alone, losses.split(1), ids.split(1), strict=True)
        expected = torch.cat([one.multipliers(*pair) for one, *pair in parts])
        assert torch.equal(stacked.multipliers(losses, ids), expected)
        smallest = min(smallest, float(expected.min()))
    assert smallest < 0.9


@pytest.mark.parametrize("named", [{}, {"sources": [-4, 0, 7]}])
@pytest.mark.parametrize("compat", [None, "original"])
def test_saved_loss_weighting_continues_identically(named: dict[str, Any], compat: Any) -> None:
    names = torch.tensor([0, 7, -4])
    first = SourceLossWeighting(**SETTINGS, **named, compat=compat)
    batches = list(stream(3, 3, (6,), steps=60))
    for losses, ids in batches[:30]:
        first(losses, names[ids])
    second = SourceLossWeighting(**SETTINGS, **named, compat=compat)
    second.load_state_dict(through_a_file(first.state_dict()))
    assert second.sources == [-4, 0, 7]
    for losses, ids in batches[30:]:
        assert torch.equal(first(losses, names[ids]), second(losses, names[ids]))
    assert first.unreliability.max() > 0


def through_a_file(state: Any) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_saved_state_of_other_named_sources_is_refused() -> None:
    state = SourceLossWeighting(sources=[1, 2]).state_dict()
    with pytest.raises(ValueError, match="other sources"):
        SourceLossWeighting(sources=[1, 3]).load_state_dict(state)


def test_one_replica_can_be_cut_out_of_the_stack_and_continues_identically() -> None:
    stacked = SourceLossWeighting(**SETTINGS, num_sources=3, replicas=4)
    batches = list(stream(4, 3, (4, 6), steps=60))
    for losses, ids in batches[:30]:
        stacked(losses, ids)
    alone = SourceLossWeighting(**SETTINGS, num_sources=3)
    for name, tensor in alone.replica_state().items():
        tensor.copy_(stacked.replica_state()[name][2:3])
    for losses, ids in batches[30:]:
        assert torch.equal(alone(losses[2], ids[2]), stacked(losses, ids)[2])


class ForbidWaiting(TorchDispatchMode):
    """Fail at any operation whose result the host would have to wait for."""

    waiting = (
        "_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "unique", "_unique", "_unique2",
        "unique_dim", "unique_consecutive", "item", "equal", "bincount", "repeat_interleave", "index",
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        name = func.overloadpacket.__name__
        assert name not in self.waiting, f"{name} waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("compat", [None, "original"])
@pytest.mark.parametrize("named", [{"num_sources": 200}, {"sources": list(range(-1, 9))}])
@pytest.mark.parametrize("replicas", [None, 3])
def test_step_with_named_sources_never_waits(
    named: dict[str, Any], replicas: int | None, compat: Any
) -> None:
    weighting = SourceLossWeighting(**SETTINGS, **named, replicas=replicas, compat=compat)
    for losses, ids in stream(5, 9, (replicas, 16) if replicas else (16,), steps=3):
        with ForbidWaiting() as mode:
            weighting(losses, ids)
        assert 0 < mode.operations < 100


@pytest.mark.parametrize("compat", [None, "original"])
def test_gradient_multiplier_with_named_sources_never_waits(compat: Any) -> None:
    state = SourceGradientMultiplier(**GRADIENT_SETTINGS, num_sources=3, replicas=2, compat=compat)
    for losses, ids in stream(6, 3, (2,), steps=3):
        with ForbidWaiting():
            state.multipliers(losses, ids)


def test_looking_ids_up_waits_so_the_check_can_fail() -> None:
    with pytest.raises(AssertionError, match="waits"), ForbidWaiting():
        SourceLossWeighting()(torch.rand(3), torch.tensor([0, 1, 1]))


@pytest.mark.parametrize("size", [2, 5, FEW, FEW + 1, 300])
def test_sum_of_others_keeps_what_a_dominant_source_would_swallow(size: int) -> None:
    terms = torch.full((1, 1, size), 1e-20, dtype=torch.float64)
    terms[..., 1] = 1.0
    others = sum_of_others(terms)[0, 0]
    assert float(others[1]) == pytest.approx(1e-20 * (size - 1), rel=1e-12)
    assert float(others[0]) == pytest.approx(1.0, rel=1e-12)


@given(seeds, st.integers(2, 7))
@settings(max_examples=25, deadline=None)
def test_statistics_of_the_others_equal_a_plain_weighted_mean_and_std(seed: int, sources: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    histories = torch.rand(sources, 5, generator=generator, dtype=torch.float64)
    weights = torch.rand(sources, generator=generator, dtype=torch.float64) + 0.01
    mean, std = others_mean_and_std(weights[None], histories.mean(1)[None], histories.square().mean(1)[None])
    for source in range(sources):
        other = torch.arange(sources) != source
        shares = (weights[other] / weights[other].sum() / 5)[:, None]
        expected = (shares * histories[other]).sum()
        spread = (shares * (histories[other] - expected) ** 2).sum().sqrt()
        torch.testing.assert_close(mean[0, source], expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(std[0, source], spread, rtol=1e-7, atol=1e-9)


def test_a_spike_leaves_no_trace_once_it_left_the_history() -> None:
    spiked = SourceLossWeighting(**SETTINGS, num_sources=3)
    clean = SourceLossWeighting(**SETTINGS, num_sources=3)
    for step, (losses, _) in enumerate(stream(7, 3, (3,), steps=12)):
        ids = torch.arange(3)
        clean(losses, ids)
        spiked(losses * (1e12 if step == 2 else 1), ids)
    for name in ("counters", "factors"):
        spiked.replica_state()[name].copy_(clean.replica_state()[name])
    for losses, ids in stream(8, 3, (6,)):
        assert torch.equal(spiked(losses, ids), clean(losses, ids))


@pytest.mark.parametrize("value", [0.7, 123.4, 1e-3])
@pytest.mark.parametrize("sources", [3, 50, FEW + 50])
def test_equal_losses_decide_nothing(value: float, sources: int) -> None:
    weighting = SourceLossWeighting(**SETTINGS, num_sources=sources)
    for _ in range(20):
        weighting(torch.full((sources,), value), torch.arange(sources))
    assert weighting.unreliability.max() == 0
    weighting.counters.fill_(5)
    weighting(torch.full((sources,), value), torch.arange(sources))
    assert weighting.unreliability.min() == 5


def test_state_keeps_its_precision_when_the_model_is_halved() -> None:
    weighting = SourceLossWeighting(num_sources=2)
    torch.nn.Sequential(weighting).half()
    assert weighting.counters.dtype == torch.float64
    assert weighting.updates.dtype == torch.int64


def test_copied_optimiser_continues_identically() -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    optimiser = SourceGradientWeighting(torch.optim.Adam, params=[parameter], lr=0.1)
    parameter.grad = torch.ones(3)
    optimiser.step(0.5, 1)
    twin = copy.deepcopy(optimiser)
    assert twin.param_groups is twin.optimizer.param_groups
    assert twin.weighting.sources == [1]
